/**
 * Asks live sellers now and then whether they answer. Evenly spread and bounded in every direction: so many questions a
 * second in all, one a minute and seller, a few a minute and network, and none that waits for another.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import type { Probe } from '../net/seller-probe.ts'
import { parseSellerBody } from '../wire/seller-record.ts'
import type { Entry } from './entry.ts'
import { afterProbe } from './health.ts'
import type { SellerIndex } from './seller-index.ts'

export interface ProberParts {
  index: SellerIndex
  probe: Probe
  now: Clock
  /** The most questions a second in all. */
  perSec?: number
  /** The least time between two questions to one seller. */
  everyMs?: number
}

const usualPerSec = 20
const usualEveryMs = 60_000
const mostAtOnce = 64

/** Starts asking. Runs until it is disposed of. */
export function openProber(parts: ProberParts): AsyncDisposable {
  const stop = new AbortController()
  const running = run(parts, stop.signal)
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
    },
  }
}

async function run(parts: ProberParts, signal: AbortSignal): Promise<void> {
  const { index, now, perSec = usualPerSec, everyMs = usualEveryMs } = parts
  const asking = new Set<Promise<void>>()
  const rest = (ms: number) => pause(ms, undefined, { signal, ref: false }).catch(() => undefined)
  const longestMs = everyMs / 60
  while (!signal.aborted) {
    const due = index.live().filter(({ askedMs }) => now() - askedMs >= everyMs)
    const paceMs = Math.max(1_000 / perSec, Math.min(longestMs, everyMs / Math.max(1, due.length)))
    if (due.length === 0) await rest(longestMs)
    for (const entry of due) {
      if (asking.size >= mostAtOnce) await Promise.race(asking)
      if (signal.aborted) break
      entry.askedMs = now()
      const question = ask(entry, parts, signal)
      asking.add(question)
      void question.then(() => asking.delete(question))
      await rest(paceMs)
    }
  }
  await Promise.all(asking)
}

async function ask(entry: Entry, { probe, now }: ProberParts, signal: AbortSignal): Promise<void> {
  const { body } = JSON.parse(entry.recordText) as { body: unknown }
  const { url, addrs } = parseSellerBody(body)
  const outcome = await probe({ peer: entry.peer, url, addrs }, signal).catch(() => null)
  if (outcome !== null && outcome.kind !== 'spared') entry.health = afterProbe(entry.health, outcome, now())
}
