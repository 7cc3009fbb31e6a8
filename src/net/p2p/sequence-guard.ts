import { RecentMap } from './recent-map.ts'

const keysRemembered = 100_000
const settledAfterMs = 30_000
const wideStep = 60_000

/**
 * The highest sequence number seen of every key. Stock nodes keep whatever came last, so that a record replaced long
 * ago, still validly signed, could be played back over its successor on every holder.
 */
export interface SequenceGuard {
  /** Of a record that is read: false when a newer one of this key was seen; otherwise remembers this one. */
  see(key: string, seq: number): boolean
  /** Of a record that is to be stored: the same, but that it is remembered only until `settle` refuses it. */
  offer(key: string, seq: number): boolean
  /**
   * Counts the newest record offered of this key as stored, and gives its sequence. Null when one was stored a moment
   * ago and this one is hardly newer: a key is not a channel to flood its holders through. The record that is stored
   * already may always come again, and what is refused leaves it as good as it was: it may be all there is.
   */
  settle(key: string): number | null
}

interface Sequences {
  seen: number
  offered: number
  stored: number
  storedAtMs: number
}

export function openSequenceGuard(now: () => number, limit = keysRemembered): SequenceGuard {
  const keys = new RecentMap<string, Sequences>(limit)
  const sequencesOf = (key: string): Sequences => {
    const known = keys.get(key)
    if (known !== undefined) return known
    const none = { seen: -Infinity, offered: -Infinity, stored: -Infinity, storedAtMs: -Infinity }
    keys.set(key, none)
    return none
  }
  return {
    see(key, seq) {
      const known = sequencesOf(key)
      if (seq < known.seen) return false
      known.seen = seq
      return true
    },
    offer(key, seq) {
      const known = sequencesOf(key)
      if (seq < known.seen || seq < known.offered) return false
      known.offered = seq
      return true
    },
    settle(key) {
      const known = keys.get(key)
      if (known === undefined || known.offered === -Infinity) return null
      const nowMs = now()
      const hurried = nowMs - known.storedAtMs < settledAfterMs
      const isNew = known.offered !== known.stored
      if (hurried && isNew && known.offered - known.stored < wideStep) {
        known.offered = known.stored
        return null
      }
      if (isNew) known.storedAtMs = nowMs
      known.stored = known.offered
      known.seen = Math.max(known.seen, known.stored)
      return known.stored
    },
  }
}
