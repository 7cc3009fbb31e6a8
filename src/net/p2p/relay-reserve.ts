/** Asking a relay for a place, and where that place can be met. */
import { RELAY_V2_HOP_CODEC } from '@libp2p/circuit-relay-v2'
import type { Connection } from '@libp2p/interface'
import { lpStream } from '@libp2p/utils'
import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import { judgeMultiaddr } from '../../wire/address-policy.ts'
import { decodeHopReply, relayStatus, reserveRequest } from './relay-messages.ts'

export interface Place {
  endsAtMs: number
  /** What the relay says of its own addresses, unchecked. */
  addrs: string[]
}

const mostAddrs = 16

/** Null when the relay refuses; throws when it does not answer as a relay does. */
export async function askForPlace(connection: Connection, signal: AbortSignal): Promise<Place | null> {
  const stream = await connection.newStream(RELAY_V2_HOP_CODEC, { signal })
  try {
    const hop = lpStream(stream, { maxDataLength: 4_096, maxBufferSize: 64 * 1024 })
    await hop.write(reserveRequest, { signal })
    const reply = decodeHopReply((await hop.read({ signal })).subarray())
    await stream.close({ signal })
    if (reply?.status !== relayStatus.ok || reply.reservation === null) return null
    const { endsAtSec, addrs } = reply.reservation
    return { endsAtMs: endsAtSec * 1000, addrs: addrs.slice(0, mostAddrs).flatMap(textOf) }
  } catch (error) {
    stream.abort(error as Error)
    throw error
  }
}

/**
 * Where others meet this peer over the relay: at the address it was reached at, unless that one is private and the
 * relay has told of one that is not. An address needs no resolver, which a name does.
 */
export function circuitAddr(
  connection: Connection,
  { wanted, told, self }: { wanted: readonly Multiaddr[]; told: readonly string[]; self: string },
): string {
  const dialled = connection.direction === 'outbound' ? [connection.remoteAddr] : []
  const addrs = [...[...dialled, ...wanted].map(String), ...told].filter(
    (addr) => !addr.includes('/p2p-circuit'),
  )
  const isPublic = (addr: string) => judgeMultiaddr(addr) === 'public'
  const best =
    addrs.find((addr) => isPublic(addr) && !addr.startsWith('/dns')) ?? addrs.find(isPublic) ?? addrs[0]
  return `${String(best).split('/p2p/', 1)[0]}/p2p/${connection.remotePeer.toString()}/p2p-circuit/p2p/${self}`
}

function textOf(bytes: Uint8Array): string[] {
  try {
    return [multiaddr(bytes).toString()]
  } catch {
    return []
  }
}
