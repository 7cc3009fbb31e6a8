/**
 * How much may be said in the DHT. Stock code takes 4 MiB of anybody on each stream, and a message of that size keeps
 * its reader busy for seconds. Touches the internals of kad-dht, whose version is pinned exactly.
 */
import type { PeerInfo, Stream } from '@libp2p/interface'
import type { KadDHT } from '@libp2p/kad-dht'

interface Internals {
  network: { _writeReadMessage: (stream: Stream, ...more: unknown[]) => Promise<object> }
  rpc: { onIncomingStream: (stream: Stream, ...more: unknown[]) => Promise<void> }
  peerInfoMapper: (peer: PeerInfo) => PeerInfo
  peerRouting: { getClosestPeersOffline: (...question: unknown[]) => Promise<PeerInfo[]> }
}

/** Of one peer that is named; more are cut off where they are read as well. */
export const mostAddrs = 4
// A record, a full directory and twenty peers take less than a third of it.
const mostStreamBytes = 64 * 1024
const mostAddrBytes = 256

export function limitKad(dht: KadDHT): void {
  const { network, rpc, peerInfoMapper, peerRouting } = dht as unknown as Internals
  const talk = network._writeReadMessage.bind(network)
  network._writeReadMessage = (stream, ...more) => talk(bounded(stream), ...more)
  const listen = rpc.onIncomingStream.bind(rpc)
  rpc.onIncomingStream = (stream, ...more) => listen(bounded(stream), ...more)

  // What peers say of themselves is passed on, and must not make the answer one that is cut off.
  const closest = peerRouting.getClosestPeersOffline.bind(peerRouting)
  peerRouting.getClosestPeersOffline = async (...question) =>
    (await closest(...question)).map((peer) => {
      const { id, multiaddrs } = peerInfoMapper(peer)
      const short = multiaddrs.filter(({ bytes }) => bytes.length <= mostAddrBytes)
      return { id, multiaddrs: short.slice(0, mostAddrs) }
    })
}

/** Resets the stream when the other side has sent more than that. Must be the first to listen to it. */
function bounded(stream: Stream): Stream {
  let bytes = 0
  stream.addEventListener('message', (event) => {
    bytes += event.data.byteLength
    if (bytes <= mostStreamBytes) return
    event.stopImmediatePropagation()
    stream.abort(new Error('too long a message'))
  })
  return stream
}
