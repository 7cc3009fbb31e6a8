/** Keeps one peer from taking the whole host: by many connections, by streams faster than anybody needs, by endless frames. */
import type { Connection, ConnectionGater } from '@libp2p/interface'
import { muxerOf, type Node } from './libp2p-node.ts'
import { PeerRates, type PeerLimits } from './peer-limits.ts'

export interface PeerGuard {
  gater: ConnectionGater
  /** Counts from now on. A peer that floods loses the connection: one by one, its streams would still cost. */
  watch(node: Node): void
}

export function openPeerGuard(limits: PeerLimits): PeerGuard {
  const rates = new PeerRates(limits.streamsPerSec, limits.streamBurst)
  let connectionsOf: (peer: string) => number = () => 0
  return {
    gater: {
      denyInboundEncryptedConnection: (peer) => connectionsOf(peer.toString()) >= limits.connections,
    },
    watch(node) {
      const held = new Map<string, number>()
      connectionsOf = (peer) => held.get(peer) ?? 0
      node.addEventListener('connection:open', ({ detail }: CustomEvent<Connection>) => {
        const peer = detail.remotePeer.toString()
        held.set(peer, connectionsOf(peer) + 1)
        const muxer = muxerOf(detail)
        const incomingStream = muxer.incomingStream.bind(muxer)
        muxer.incomingStream = (id) => {
          if (!rates.take(peer)) throw new Error('too many streams in a short time')
          incomingStream(id)
        }
        // yamux collects a frame before it looks at it, and a head may promise 4 GiB.
        muxer.maConn.addEventListener('message', () => {
          if (muxer.decoder.buffer.byteLength > limits.frameBytes)
            detail.abort(new Error('too large a frame'))
        })
      })
      node.addEventListener('connection:close', ({ detail }: CustomEvent<Connection>) => {
        const peer = detail.remotePeer.toString()
        if (connectionsOf(peer) <= 1) held.delete(peer)
        else held.set(peer, connectionsOf(peer) - 1)
      })
    },
  }
}
