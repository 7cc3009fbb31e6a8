/** What a relay has promised to whom, and what it still may. Pure: no connections, no timers, the time handed in. */
import type { Clock } from '../../base/clock.ts'
import type { RelayLimits } from './open-host.ts'

/** Stock clients refresh 5 minutes before the end; much shorter ones would lose their place. */
export const reservationMs = 60 * 60_000

export const defaultRelayLimits: RelayLimits = {
  reservations: 4_000,
  circuitsPerPair: 2,
  circuitsPerBuyer: 32,
  circuits: 1_000,
  bytes: 64 * 1024 * 1024,
  durationMs: 30 * 60_000,
  bytesPerSec: 2_000_000,
}

/** Peers are named by any text; `Way` is how a peer with a reservation is reached: the connection that it came over. */
export interface RelayBook<Way> {
  /** When the reservation ends, as a time of the clock; null when there is no place left. Again: renews it. */
  reserve(peer: string, way: Way): number | null
  /** Frees what was reserved over this way; a peer that reserved again over another one keeps its place. */
  release(peer: string, way: Way): void
  wayTo(peer: string): Way | null
  /** Takes a place for one circuit and gives the way to free it again; null when there is none. */
  openCircuit(from: string, to: string): (() => void) | null
}

export function openRelayBook<Way>(limits: RelayLimits, now: Clock): RelayBook<Way> {
  const reserved = new Map<string, { way: Way; endsAtMs: number }>()
  const perPair = new Map<string, number>()
  const perBuyer = new Map<string, number>()
  let circuits = 0

  const wayTo = (peer: string): Way | null => {
    const found = reserved.get(peer)
    if (found === undefined || found.endsAtMs > now()) return found?.way ?? null
    reserved.delete(peer)
    return null
  }

  return {
    reserve(peer, way) {
      if (!reserved.has(peer) && reserved.size >= limits.reservations) {
        for (const other of reserved.keys()) wayTo(other)
        if (reserved.size >= limits.reservations) return null
      }
      const endsAtMs = now() + reservationMs
      reserved.set(peer, { way, endsAtMs })
      return endsAtMs
    },
    release(peer, way) {
      if (reserved.get(peer)?.way === way) reserved.delete(peer)
    },
    wayTo,
    openCircuit(from, to) {
      const pair = `${from} ${to}`
      const full =
        circuits >= limits.circuits ||
        (perPair.get(pair) ?? 0) >= limits.circuitsPerPair ||
        (perBuyer.get(from) ?? 0) >= limits.circuitsPerBuyer
      if (full) return null
      circuits += 1
      add(perPair, pair, 1)
      add(perBuyer, from, 1)
      let open = true
      return () => {
        if (!open) return
        open = false
        circuits -= 1
        add(perPair, pair, -1)
        add(perBuyer, from, -1)
      }
    },
  }
}

function add(counts: Map<string, number>, name: string, change: 1 | -1): void {
  const count = (counts.get(name) ?? 0) + change
  if (count > 0) counts.set(name, count)
  else counts.delete(name)
}
