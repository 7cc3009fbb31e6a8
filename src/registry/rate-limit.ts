/** How much one address may ask: a bucket that fills evenly. Bounded, whoever comes. */
import { isIPv6 } from 'node:net'
import type { Clock } from '../base/clock.ts'

export interface Allowance {
  ok: boolean
  limit: number
  remaining: number
  /** Seconds until the bucket is full again. */
  resetSec: number
  /** Seconds until what was refused would pass; 0 when it passed. */
  retryAfterSec: number
}

interface Bucket {
  tokens: number
  filledAtMs: number
}

const mostAddresses = 65_536

export class RateLimit {
  readonly #perSec: number
  readonly #burst: number
  readonly #now: Clock
  readonly #buckets = new Map<string, Bucket>()

  constructor({ perSec, burst, now }: { perSec: number; burst: number; now: Clock }) {
    this.#perSec = perSec
    this.#burst = burst
    this.#now = now
  }

  /** Takes `cost` tokens of an address, or none when there are fewer. */
  take(address: string, cost: number): Allowance {
    const tokens = this.#fill(address)
    return this.#keep(address, tokens, cost, tokens >= cost)
  }

  /** Takes `cost` tokens though there may be fewer: later requests wait until they are back, at most for a full bucket. */
  owe(address: string, cost: number): Allowance {
    return this.#keep(address, Math.max(this.#fill(address), cost - this.#burst), cost, true)
  }

  #fill(address: string): number {
    const nowMs = this.#now()
    const old = this.#buckets.get(networkOf(address))
    // A clock that went back fills nothing.
    const passedMs = Math.max(0, nowMs - (old?.filledAtMs ?? nowMs))
    return Math.min(this.#burst, (old?.tokens ?? this.#burst) + (passedMs / 1_000) * this.#perSec)
  }

  #keep(address: string, before: number, cost: number, ok: boolean): Allowance {
    const key = networkOf(address)
    const tokens = ok ? before - cost : before
    // Whoever asked last stands last, so the first is the one to forget.
    this.#buckets.delete(key)
    this.#buckets.set(key, { tokens, filledAtMs: this.#now() })
    if (this.#buckets.size > mostAddresses) this.#forgetFirst()
    return {
      ok,
      limit: this.#burst,
      remaining: Math.max(0, Math.floor(tokens)),
      resetSec: Math.ceil((this.#burst - tokens) / this.#perSec),
      retryAfterSec: ok ? 0 : Math.max(1, Math.ceil((Math.min(cost, this.#burst) - tokens) / this.#perSec)),
    }
  }

  #forgetFirst(): void {
    for (const key of this.#buckets.keys()) {
      this.#buckets.delete(key)
      return
    }
  }
}

/** An IPv4 address, or the /64 of an IPv6 one: whoever has one of those has all of it. */
export function networkOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=\d+\.)/i, '')
  if (!isIPv6(plain)) return plain
  const [head = '', tail] = plain.split('%', 1)[0]!.split('::')
  const first = head === '' ? [] : head.split(':')
  const last = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length
  return [...first, ...Array<string>(Math.max(0, zeros)).fill('0'), ...last].slice(0, 4).join(':')
}
