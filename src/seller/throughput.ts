/** How fast this seller has generated lately: what its heartbeats say, from streams that ended. */
import type { Clock } from '../base/clock.ts'

/** One stream: tokens after the first event, and the time they took. */
interface Run {
  tokens: number
  ms: number
  endedAtMs: number
}

const recentMs = 10 * 60_000
const mostRuns = 32
// Less says more of timers and buffers than of the engine.
const leastTokens = 8
const leastMs = 50

export class Throughput {
  readonly #now: Clock
  #runs: Run[] = []

  constructor(now: Clock) {
    this.#now = now
  }

  /** Counts a stream that has ended: its output tokens, and the milliseconds from its first event to its last. */
  add(tokens: number, ms: number): void {
    if (tokens < leastTokens || ms < leastMs) return
    this.#runs = [...this.#runs.slice(1 - mostRuns), { tokens, ms, endedAtMs: this.#now() }]
  }

  /** Tokens per second of one stream; null when none ran within ten minutes. */
  tokensPerSec(): number | null {
    this.#runs = this.#runs.filter(({ endedAtMs }) => this.#now() - endedAtMs < recentMs)
    if (this.#runs.length === 0) return null
    const tokens = this.#runs.reduce((sum, run) => sum + run.tokens, 0)
    const ms = this.#runs.reduce((sum, run) => sum + run.ms, 0)
    return Math.round((tokens / ms) * 10_000) / 10
  }
}
