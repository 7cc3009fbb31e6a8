/** So many connections of one network at once: otherwise one machine could hold all there are, and say nothing. */
import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import { networkOf } from './rate-limit.ts'

export function capConnections(server: Server, most: number): void {
  const open = new Map<string, number>()
  server.on('connection', (socket: Socket) => {
    const network = networkOf(socket.remoteAddress ?? '')
    const others = open.get(network) ?? 0
    if (others >= most) {
      socket.destroy()
      return
    }
    open.set(network, others + 1)
    socket.once('close', () => {
      const left = open.get(network)! - 1
      if (left === 0) open.delete(network)
      else open.set(network, left)
    })
  })
}
