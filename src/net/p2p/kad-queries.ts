/**
 * The queries of kad-dht, cut short. What stands here touches its internals, so its version is pinned exactly.
 */
import type { KadDHT, QueryEvent } from '@libp2p/kad-dht'
import type { PeerId as Libp2pPeerId, PeerInfo } from '@libp2p/interface'
import type { CID } from 'multiformats/cid'

interface Step {
  peer: { id: Libp2pPeerId }
  signal: AbortSignal
  path: unknown
}

interface Internals {
  onPeerConnect(peer: PeerInfo): Promise<void>
  routingTable: EventTarget & { size: number; remove(peer: Libp2pPeerId): Promise<void> }
  network: {
    sendRequest(to: Libp2pPeerId, message: object, options: object): AsyncIterable<QueryEvent>
  }
  queryManager: {
    run(
      key: Uint8Array,
      ask: (step: Step) => AsyncIterable<QueryEvent>,
      options: { signal: AbortSignal },
    ): AsyncIterable<QueryEvent>
  }
}

export interface KadQueries {
  /**
   * Asks again when nothing was found and dead peers were met: a query begins at the nearest ones of the table and may
   * end there when those are gone. They are out of the table for the next.
   */
  insist<Answer>(ask: () => Promise<Answer | null>, signal: AbortSignal): Promise<Answer | null>
  put(key: Uint8Array, value: Uint8Array, signal: AbortSignal): AsyncIterable<QueryEvent>
  provide(directory: CID, signal: AbortSignal): AsyncIterable<QueryEvent>
  routingTable: Internals['routingTable']
  /** Asks for the peers nearest to this node, which are thereby met. Never rejects. */
  meetNeighbours(signal: AbortSignal): Promise<void>
  /** Values as holders give them. Stock `get` holds the best back until the last node has answered. */
  values(key: Uint8Array, signal: AbortSignal): AsyncIterable<{ from: string; value: Uint8Array }>
  /** Lists as holders give them. Stock `findProviders` ends with the first holder that names 20, honest or not. */
  providers(directory: CID, signal: AbortSignal): AsyncIterable<string[]>
}

const mostTries = 3

export function openKadQueries(
  dht: KadDHT,
  self: Libp2pPeerId,
  isConnected: (peer: Libp2pPeerId) => boolean,
): KadQueries {
  const internals = dht as unknown as Internals
  const { routingTable, network, queryManager } = internals
  // Every answer names strangers, and stock code connects to each of them at once: a flood in a network that starts,
  // and a way to have others dial whatever one names. Here only a node that knows few does so; later, who is asked in
  // a query and answers enters the table anyway.
  const take = internals.onPeerConnect.bind(dht)
  internals.onPeerConnect = async (peer) => {
    if (routingTable.size < dht.k || isConnected(peer.id)) await take(peer)
  }
  let evicted = 0
  // Stock tables keep a dead peer until its bucket is full, and every query begins with the nearest ones, dead or not.
  async function* heed(events: AsyncIterable<QueryEvent>, signal: AbortSignal): AsyncGenerator<QueryEvent> {
    for await (const event of events) {
      const failed = event.name === 'QUERY_ERROR' && !signal.aborted
      if (failed && !isConnected(event.from)) {
        evicted += 1
        await routingTable.remove(event.from)
      }
      yield event
    }
  }

  return {
    routingTable,
    async insist(ask, signal) {
      for (let tries = 1; ; tries++) {
        const before = evicted
        const answer = await ask()
        if (answer !== null || evicted === before || tries === mostTries || signal.aborted) return answer
      }
    },
    put: (key, value, signal) => heed(dht.put(key, value, { signal }), signal),
    provide: (directory, signal) => heed(dht.provide(directory, { signal }), signal),
    async meetNeighbours(signal) {
      const walk = dht.getClosestPeers(self.toMultihash().bytes, { signal })
      await countUpTo(Infinity, heed(walk, signal), 'FIND_NODE')
    },
    async *values(key, signal) {
      for await (const event of heed(dht.get(key, { signal }), signal)) {
        if (event.name !== 'PEER_RESPONSE' || event.record === undefined) continue
        yield { from: event.from.toString(), value: event.record.value }
      }
    },
    async *providers(directory, signal) {
      const key = directory.multihash.bytes
      async function* ask({ peer, ...step }: Step): AsyncGenerator<QueryEvent> {
        yield* network.sendRequest(peer.id, { type: 'GET_PROVIDERS', key }, step)
      }
      for await (const event of heed(queryManager.run(key, ask, { signal }), signal)) {
        if (event.name === 'PEER_RESPONSE') yield event.providers.map(({ id }) => id.toString())
      }
    },
  }
}

/** How many answered, as soon as that is enough. The walk goes on: replicas that are slow to reach are worth having. */
export function countUpTo(
  enough: number,
  events: AsyncIterable<QueryEvent>,
  messageName: 'PUT_VALUE' | 'ADD_PROVIDER' | 'FIND_NODE',
): Promise<number> {
  return new Promise((resolve) => {
    let holders = 0
    const walk = async () => {
      for await (const event of events) {
        if (event.name !== 'PEER_RESPONSE' || event.messageName !== messageName) continue
        holders += 1
        if (holders === enough) resolve(holders)
      }
    }
    // It ends by throwing at its deadline and when the host stops; who was told until then counts.
    walk().then(
      () => resolve(holders),
      () => resolve(holders),
    )
  })
}
