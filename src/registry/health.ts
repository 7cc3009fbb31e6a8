/** How a seller answered so far, in a few numbers that fade. */
import type { ProbeOutcome } from '../net/seller-probe.ts'
import type { Measured } from '../wire/seller-listing.ts'

export interface Health {
  atMs: number
  /** The last answer; null when the last question had none. */
  last: { via: 'url' | 'p2p'; rttMs: number } | null
  /** Questions and answers, each counting less as it ages. */
  asked: number
  answered: number
}

const halfLifeMs = 12 * 3_600_000
// Of the newest round trip in the smoothed one.
const newShare = 0.3

export function afterProbe(
  before: Health | null,
  outcome: Exclude<ProbeOutcome, { kind: 'spared' }>,
  nowMs: number,
): Health {
  const kept = before === null ? 0 : 2 ** (-Math.max(0, nowMs - before.atMs) / halfLifeMs)
  const asked = kept * (before?.asked ?? 0) + 1
  const answered = kept * (before?.answered ?? 0)
  if (outcome.kind === 'silent') return { atMs: nowMs, last: null, asked, answered }
  const { via, rttMs } = outcome
  const known = before?.last?.via === via ? before.last.rttMs : rttMs
  return {
    atMs: nowMs,
    last: { via, rttMs: known + newShare * (rttMs - known) },
    asked,
    answered: answered + 1,
  }
}

/** What the registry tells of it. */
export function measuredHealth({ atMs, last, asked, answered }: Health): Partial<Measured> {
  return {
    atMs,
    success: Math.round((answered / asked) * 1_000) / 1_000,
    ...(last !== null && { via: last.via, rttMs: Math.round(last.rttMs * 10) / 10 }),
  }
}
