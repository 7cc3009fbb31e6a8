import { RecentMap } from './recent-map.ts'

const keysRemembered = 100_000
const settledAfterMs = 30_000
const wideStep = 60_000

/**
 * The highest sequence number seen of every key. Stock nodes keep whatever came last, so that a record replaced long
 * ago, still validly signed, could be played back over its successor on every holder.
 */
export interface SequenceGuard {
  /** False when a newer record of this key was seen; otherwise remembers this one. */
  see(key: string, seq: number): boolean
  /**
   * Counts the newest record seen of this key as stored, and gives its sequence. Null when one was stored a moment ago
   * and this one is hardly newer: a key is not a channel to flood its holders through. The record that is stored
   * already may always come again.
   */
  settle(key: string): number | null
}

export function openSequenceGuard(now: () => number, limit = keysRemembered): SequenceGuard {
  const seen = new RecentMap<string, { seq: number; storedSeq: number; storedAtMs: number }>(limit)
  return {
    see(key, seq) {
      const known = seen.get(key)
      if (known === undefined) seen.set(key, { seq, storedSeq: -Infinity, storedAtMs: -Infinity })
      else if (seq < known.seq) return false
      else known.seq = seq
      return true
    },
    settle(key) {
      const known = seen.get(key)
      if (known === undefined) return null
      const nowMs = now()
      const hurried = nowMs - known.storedAtMs < settledAfterMs
      if (hurried && known.seq !== known.storedSeq && known.seq - known.storedSeq < wideStep) return null
      if (known.seq !== known.storedSeq) known.storedAtMs = nowMs
      known.storedSeq = known.seq
      return known.seq
    },
  }
}
