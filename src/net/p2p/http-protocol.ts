/** HTTP/1.1 between two hosts: each stream is one connection, kept alive and used again like a TCP one. */
import type { Connection, Stream } from '@libp2p/interface'
import type { Node } from './libp2p-node.ts'
import type { PeerSocket } from './open-host.ts'
import { PeerCounts, type PeerLimits } from './peer-limits.ts'
import { socketOf } from './stream-socket.ts'

export const httpProtocol = '/openseed/http/1.0.0'

const mostPerConnection = 1_024
// Fewer than others allow, so that who keeps to it is never cut off.
const mostOpened = 1_000

/** Serves what peers open. Whoever takes more than its share is cut off, not queued. */
export async function serveHttp(
  node: Node,
  onConnection: (socket: PeerSocket) => void,
  limits: PeerLimits,
): Promise<void> {
  const open = new PeerCounts(limits.openStreams, limits.openStreamsInAll)
  const unread = new PeerCounts(limits.unreadStreams, limits.unreadStreamsInAll)
  const serve = (stream: Stream, connection: Connection) => {
    const peer = connection.remotePeer.toString()
    if (!open.take(peer)) return stream.abort(new Error('too many open streams'))
    const socket = socketOf(stream, connection, {
      mayHold: () => unread.take(peer),
      released: () => unread.giveBack(peer),
    })
    socket.once('close', () => open.giveBack(peer))
    onConnection(socket)
  }
  await node.handle(httpProtocol, serve, {
    runOnLimitedConnection: true,
    maxInboundStreams: mostPerConnection,
    maxOutboundStreams: mostOpened,
  })
}

/** Opens one more HTTP connection over a connection that stands. Throws what libp2p throws. */
export async function openHttp(connection: Connection, signal: AbortSignal): Promise<PeerSocket> {
  const stream = await connection.newStream(httpProtocol, {
    signal,
    runOnLimitedConnection: true,
    maxOutboundStreams: mostOpened,
  })
  return socketOf(stream, connection)
}
