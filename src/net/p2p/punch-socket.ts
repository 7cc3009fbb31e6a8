/** TCP sockets that come up from both ends at once, or from the unusual one. */
import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Endpoint } from './nat-type.ts'

const firstPauseMs = 50
const longestPauseMs = 800
const mostCallers = 8

/**
 * Connects, from a port if one is told, while the other side makes ready. A refusal may only mean that it was early. The
 * system repeats what nobody answers after one second and after three, so the signal decides how often it knocks.
 */
export async function connectBoth(
  to: Endpoint,
  localPort: number | null,
  signal: AbortSignal,
): Promise<Socket> {
  const from = localPort === null ? {} : { localPort }
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(longestPauseMs, pauseMs * 2)) {
    const socket = connect({ host: to.ip, port: to.port, ...from, noDelay: true, keepAlive: true })
    try {
      await once(socket, 'connect', { signal })
      return socket
    } catch (error) {
      socket.on('error', () => {})
      socket.destroy()
      signal.throwIfAborted()
      // A socket stands between just these two ports: trying again does not move it.
      if ((error as NodeJS.ErrnoException).code === 'EADDRNOTAVAIL') throw error
    }
    await sleep(pauseMs, undefined, { signal })
  }
}

/** Listens until the signal aborts and gives everyone who comes to `onSocket`. Resolves with the port. */
export async function listenBriefly(
  ip: string,
  onSocket: (socket: Socket) => void,
  signal: AbortSignal,
): Promise<number> {
  const server = createServer({ noDelay: true, keepAlive: true }, onSocket)
  server.maxConnections = mostCallers
  server.listen({ host: ip, port: 0, signal })
  await once(server, 'listening')
  server.on('error', () => {})
  return (server.address() as { port: number }).port
}
