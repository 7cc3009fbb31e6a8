/** A socket that came up in a way libp2p's TCP transport does not know, as the connection that transport would make. */
import type { Socket } from 'node:net'
import { once } from 'node:events'
import type { Connection, Logger } from '@libp2p/interface'
import { AbstractMultiaddrConnection, type SendResult } from '@libp2p/utils'
import { multiaddr } from '@multiformats/multiaddr'
import type { PeerId } from '../../wire/peer-id.ts'
import { multiaddrText } from './endpoint.ts'
import { internalsOf, type Node } from './libp2p-node.ts'
import type { Endpoint } from './nat-type.ts'

/** Of two that connected at once, one must open the handshake. */
export type PunchRole = 'opens' | 'answers'

/** Rejects when the one at the other end is not that peer; the socket is gone then. */
export async function connectionOver(
  socket: Socket,
  {
    node,
    peer,
    at,
    role,
    signal,
  }: { node: Node; peer: PeerId; at: Endpoint; role: PunchRole; signal: AbortSignal },
): Promise<Connection> {
  const raw = new SocketConnection(socket, {
    remoteAddr: multiaddr(multiaddrText(at, peer)),
    // yamux and noise take their roles from this, and would both take the same one.
    direction: role === 'opens' ? 'outbound' : 'inbound',
    log: node.logger.forComponent('openseed:punch'),
  })
  try {
    // Outbound for both: that upgrade checks who it is.
    return await internalsOf(node).upgrader.upgradeOutbound(raw, { signal, initiator: role === 'opens' })
  } catch (error) {
    raw.abort(error as Error)
    throw error
  }
}

class SocketConnection extends AbstractMultiaddrConnection {
  readonly #socket: Socket

  constructor(
    socket: Socket,
    init: { remoteAddr: ReturnType<typeof multiaddr>; direction: 'inbound' | 'outbound'; log: Logger },
  ) {
    super(init)
    this.#socket = socket
    socket.on('data', (bytes) => this.onData(bytes as Buffer))
    socket.on('drain', () => this.safeDispatchEvent('drain'))
    socket.on('error', (error) => this.abort(error))
    socket.once('end', () => this.onTransportClosed())
    socket.once('close', () => this.onTransportClosed())
  }

  sendData(data: Iterable<Uint8Array>): SendResult {
    let sentBytes = 0
    for (const bytes of data) {
      sentBytes += bytes.byteLength
      if (!this.#socket.write(bytes)) return { sentBytes, canSendMore: false }
    }
    return { sentBytes, canSendMore: true }
  }

  async sendClose(options?: { signal?: AbortSignal }): Promise<void> {
    if (this.#socket.destroyed) return
    this.#socket.destroySoon()
    await once(this.#socket, 'close', options)
  }

  sendReset(): void {
    if (this.#socket.writableEnded) this.#socket.destroy()
    else this.#socket.resetAndDestroy()
  }

  sendPause(): void {
    this.#socket.pause()
  }

  sendResume(): void {
    this.#socket.resume()
  }
}
