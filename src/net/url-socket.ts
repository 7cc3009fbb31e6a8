import { once } from 'node:events'
import { connect as connectPlain, isIP, type LookupFunction, type Socket } from 'node:net'

/** Opens a connection to a URL's host, with TLS when it is https. Throws what the system says, or the signal's reason. */
export async function openUrlSocket(
  url: string,
  { lookup, signal }: { lookup?: LookupFunction; signal: AbortSignal },
): Promise<Socket> {
  signal.throwIfAborted()
  const { protocol, hostname, port } = new URL(url)
  const host = hostname.replace(/^\[|\]$/g, '')
  const options = { host, noDelay: true, ...(lookup && { lookup }) }
  const isSecure = protocol === 'https:'
  const socket = isSecure
    ? (await import('node:tls')).connect({
        ...options,
        port: Number(port || 443),
        ALPNProtocols: ['http/1.1'],
        ...(isIP(host) === 0 && { servername: host }),
      })
    : connectPlain({ ...options, port: Number(port || 80) })
  // It may break between two owners, when nobody listens.
  socket.on('error', () => {})
  try {
    await once(socket, isSecure ? 'secureConnect' : 'connect', { signal })
    return socket
  } catch (error) {
    socket.destroy()
    signal.throwIfAborted()
    throw error
  }
}
