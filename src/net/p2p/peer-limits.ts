/** What one peer may take of a host. libp2p limits connections by address and streams by connection, and no more. */
import type { PeerId } from '../../wire/peer-id.ts'
import { RecentMap } from './recent-map.ts'

export interface PeerLimits {
  /** Connections of one peer at once. */
  connections: number
  /** Streams of any protocol that a peer may open: a second, and at once after a pause. */
  streamsPerSec: number
  streamBurst: number
  /** HTTP streams open at once: of one peer, and of all. */
  openStreams: number
  openStreamsInAll: number
  /** HTTP streams that hold bytes which nobody here reads: of one peer, and of all. Each may hold 1 MiB. */
  unreadStreams: number
  unreadStreamsInAll: number
  /** One frame of the stream muxer; none is larger than the window of a stream. */
  frameBytes: number
}

export const peerLimits: PeerLimits = {
  connections: 16,
  streamsPerSec: 256,
  streamBurst: 2_048,
  openStreams: 1_024,
  openStreamsInAll: 4_096,
  unreadStreams: 64,
  unreadStreamsInAll: 256,
  frameBytes: 2 * 1024 * 1024,
}

const mostPeers = 10_000

/** Counts how often something happens to each peer: so many a second, and a burst after a pause. */
export class PeerRates {
  readonly #seen = new RecentMap<PeerId, { left: number; atMs: number }>(mostPeers)
  readonly #perSec: number
  readonly #burst: number
  readonly #nowMs: () => number

  constructor(perSec: number, burst: number, nowMs: () => number = () => performance.now()) {
    this.#perSec = perSec
    this.#burst = burst
    this.#nowMs = nowMs
  }

  /** False when the peer has had its share. */
  take(peer: PeerId): boolean {
    const nowMs = this.#nowMs()
    const { left, atMs } = this.#seen.get(peer) ?? { left: this.#burst, atMs: nowMs }
    const now = Math.min(this.#burst, left + ((nowMs - atMs) / 1000) * this.#perSec)
    if (now < 1) return false
    this.#seen.set(peer, { left: now - 1, atMs: nowMs })
    return true
  }
}

/** Counts what peers hold at once. */
export class PeerCounts {
  readonly #held = new Map<PeerId, number>()
  readonly #each: number
  readonly #inAll: number
  #total = 0

  constructor(each: number, inAll: number) {
    this.#each = each
    this.#inAll = inAll
  }

  /** False when the peer, or all together, hold as much as they may. */
  take(peer: PeerId): boolean {
    const held = this.#held.get(peer) ?? 0
    if (held >= this.#each || this.#total >= this.#inAll) return false
    this.#held.set(peer, held + 1)
    this.#total += 1
    return true
  }

  giveBack(peer: PeerId): void {
    const held = this.#held.get(peer) ?? 0
    if (held === 0) return
    if (held === 1) this.#held.delete(peer)
    else this.#held.set(peer, held - 1)
    this.#total -= 1
  }
}
