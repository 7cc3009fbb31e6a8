/** How far away a seller is, over its URL or over its peer-to-peer addresses. */
import type { Host, PeerPath } from '../net/p2p/open-host.ts'
import { measurePeerTrip, measureRoundTrip, type RoundTrip } from '../net/round-trip.ts'
import type { ProbePath } from '../search/listing.ts'
import { judgeMultiaddr } from '../wire/address-policy.ts'
import type { SellerRecord } from '../wire/record.ts'

/** `unreachable` also for a seller that tells no address. */
export type Probe =
  | { outcome: 'measured'; rttMs: number; path: ProbePath }
  | { outcome: 'unreachable' | 'refused' }

export interface TripOptions {
  allowPrivate: boolean
  /** Opened when the first seller is met that answers at no URL. */
  host: () => Promise<Pick<Host, 'connect'>>
  signal: AbortSignal
}

const deadlineMs = 3_000

/** Throws only the signal's reason. */
export function openTrips({
  allowPrivate,
  host,
  signal,
}: TripOptions): (seller: SellerRecord) => Promise<Probe> {
  async function overPeers({ peer, body }: SellerRecord): Promise<Probe | null> {
    const addrs = body.addrs.filter((addr) => isAllowed(addr, allowPrivate))
    if (addrs.length === 0) return body.addrs.length === 0 ? null : { outcome: 'refused' }
    const { connect } = await host()
    let path: PeerPath = 'relayed'
    const dial = async (within: AbortSignal) => {
      const socket = await connect({ peer, addrs }, { signal: within })
      path = socket.path
      return socket
    }
    return probeOf(await measurePeerTrip(dial, { deadlineMs, signal }), path)
  }

  return async (seller) => {
    const { url } = seller.body
    const overUrl =
      url === null ? null : probeOf(await measureRoundTrip(url, { allowPrivate, deadlineMs, signal }), 'url')
    if (overUrl?.outcome === 'measured') return overUrl
    const outcome = await overPeers(seller)
    return outcome?.outcome === 'measured' ? outcome : (overUrl ?? outcome ?? { outcome: 'unreachable' })
  }
}

function probeOf(trip: RoundTrip, path: ProbePath): Probe {
  return trip.kind === 'measured' ? { outcome: 'measured', rttMs: trip.rttMs, path } : { outcome: trip.kind }
}

function isAllowed(addr: string, allowPrivate: boolean): boolean {
  const verdict = judgeMultiaddr(addr)
  return verdict === 'public' || (verdict === 'private' && allowPrivate)
}
