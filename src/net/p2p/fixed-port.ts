/** Dials from one local port, so that what others tell about one connection holds for the next. */
import { randomInt } from 'node:crypto'
import type { Connection, Transport } from '@libp2p/interface'
import { tcp, type TCPComponents } from '@libp2p/tcp'

export interface DialPort {
  /** For libp2p's `transports`. */
  transport: (components: TCPComponents) => Transport
  /** The local port of a connection that was dialled here; null when it was not, or the port was not to be had. */
  portOf(connection: Connection): number | null
}

// Below the ports that Linux and others give to sockets that want none: those take a port for themselves alone.
const lowest = 16_384
const highest = 32_768

/**
 * Sockets that connect may share a local port as long as nothing listens there, so this is never a port to listen on.
 * A NAT then has one mapping for all of them, or shows that it makes one for each.
 */
export function openDialPort(): DialPort {
  let current = randomInt(lowest, highest)
  const ports = new WeakMap<Connection, number>()
  return {
    transport: (components) => {
      const transport = tcp()(components)
      const dial = transport.dial.bind(transport)
      transport.dial = async (addr, options) => {
        const from = async (localPort: number) => {
          // Handed on to net.connect, as all options are.
          const connection = await dial(addr, { ...options, localPort } as typeof options)
          ports.set(connection, localPort)
          return connection
        }
        const taken = current
        try {
          return await from(taken)
        } catch (error) {
          const code = codeOf(error)
          // A connection to the same place stands, or stood a minute ago.
          if (code === 'EADDRNOTAVAIL') return await dial(addr, options)
          if (code !== 'EADDRINUSE') throw error
          // Somebody else has the port.
          if (current === taken) current = randomInt(lowest, highest)
          return await from(current).catch((again: unknown) => {
            if (codeOf(again)?.startsWith('EADDR')) return dial(addr, options)
            throw again
          })
        }
      }
      return transport
    },
    portOf: (connection) => ports.get(connection) ?? null,
  }
}

function codeOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException).code
}
