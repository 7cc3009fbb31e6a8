/** Relayed connections that are no longer needed. */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Connection } from '@libp2p/interface'
import type { Node } from './libp2p-node.ts'

// Who was given this connection a moment ago opens its stream in this time.
const graceMs = 1_000

/**
 * Closes relayed connections to peers that there is a direct one to, each when its last stream has ended: whatever
 * runs over it ends where it began. The one who opened it does that; the relay's limits do it for who does not.
 */
export function retireRelayed(node: Node, stopped: AbortSignal): void {
  const retiring = new WeakSet<Connection>()
  const onOpen = ({ detail: opened }: CustomEvent<Connection>) => {
    if (!opened.direct) return
    for (const connection of node.getConnections(opened.remotePeer)) {
      if (connection.direct || connection.direction !== 'outbound' || retiring.has(connection)) continue
      retiring.add(connection)
      retire(node, connection, stopped)
        .catch(() => {})
        .finally(() => retiring.delete(connection))
    }
  }
  node.addEventListener('connection:open', onOpen)
  stopped.addEventListener('abort', () => node.removeEventListener('connection:open', onOpen), { once: true })
}

async function retire(node: Node, connection: Connection, signal: AbortSignal): Promise<void> {
  while (connection.status === 'open' && !signal.aborted) {
    const { streams } = connection
    if (streams.length > 0) {
      await once(streams[0]!, 'close', { signal })
      continue
    }
    await sleep(graceMs, undefined, { signal, ref: false })
    if (connection.streams.length > 0) continue
    // The direct one may have gone meanwhile.
    if (!node.getConnections(connection.remotePeer).some(({ direct }) => direct)) return
    await connection.close()
  }
}
