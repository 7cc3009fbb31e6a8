/**
 * The queries of kad-dht with our own lookup under them. What stands here touches its internals, so its version is
 * pinned exactly.
 */
import { setMaxListeners } from 'node:events'
import type { Connection, PeerId as Libp2pPeerId, PeerInfo } from '@libp2p/interface'
import { EventTypes, type KadDHT, type QueryEvent } from '@libp2p/kad-dht'
import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import { isPeerId } from '../../wire/peer-id.ts'
import type { Hearing } from './agreement.ts'
import { distance, placeOf } from './distance.ts'
import { mostAddrs } from './kad-limits.ts'
import { sellersPerDirectory } from './model-shards.ts'
import { networkOf } from './network-of.ts'
import { Shortlist, type Contact } from './shortlist.ts'
import { walk, type Heard, type Told } from './walk.ts'

type PeerResponse = Extract<QueryEvent, { name: 'PEER_RESPONSE' }>

interface RequestOptions {
  signal: AbortSignal
  path: object
}

interface Internals {
  components: {
    connectionManager: {
      openConnection(addr: Multiaddr, options: { signal: AbortSignal }): Promise<Connection>
      getConnections(peer: Libp2pPeerId): Connection[]
    }
  }
  routingTable: EventTarget & {
    size: number
    kBucketSize: number
    closestPeers(place: Uint8Array, options: { count: number }): Libp2pPeerId[]
    queueRoutingTableUpdate(peer: Libp2pPeerId): void
    remove(peer: Libp2pPeerId): Promise<void>
  }
  network: {
    safeDispatchEvent: (type: string) => boolean
    sendRequest(to: Libp2pPeerId, message: object, options: RequestOptions): AsyncIterable<QueryEvent>
  }
  peerRouting: {
    getClosestPeers: (key: Uint8Array, options: { signal?: AbortSignal }) => AsyncIterable<QueryEvent>
  }
}

/** A question that goes from peer to peer. */
interface Question<Answer> {
  type: 'FIND_NODE' | 'GET_VALUE' | 'GET_PROVIDERS'
  key: Uint8Array
  read: (response: PeerResponse) => Answer
}

interface Walk<Answer> {
  list: Shortlist
  peers: ReadonlyMap<string, Libp2pPeerId>
  heard: AsyncIterable<Heard<Answer> | null>
}

export interface KadQueries {
  routingTable: Internals['routingTable']
  /** Has the nearest peers store the value, and says it of as many. */
  put(key: Uint8Array, value: Uint8Array, enough: number, signal: AbortSignal): Promise<number>
  /** Has the nearest peers list this one under the key. Ends with how many do, or as soon as `enough` do. */
  provide(key: Uint8Array, enough: number, signal: AbortSignal): Promise<number>
  /** Asks for the peers nearest to this node, which are thereby met. Never rejects. */
  meetNeighbours(signal: AbortSignal): Promise<void>
  /** Values as holders give them; null from those that have none. */
  values(key: Uint8Array, width: number, signal: AbortSignal): Hearing<Uint8Array | null>
  /** Who is listed under a key, as holders say. */
  providers(key: Uint8Array, signal: AbortSignal): Hearing<string[]>
}

const usualWidth = 10
// Honest peers name as many as hold a record.
const mostNamed = 40
// A peer that did not even take a connection in this time is not begun with again.
const silentMs = 2_000
// Who is to hold something is waited for longer than who is to answer: nobody waits for it.
const nearestMs = 10_000
const path = { index: 0, queued: 0, running: 0, total: 0 }

export function openKadQueries(dht: KadDHT, self: Libp2pPeerId): KadQueries {
  const internals = dht as unknown as Internals
  const { routingTable, network, peerRouting, components } = internals
  const { connectionManager } = components
  // Every answer names strangers, and stock code notes the addresses of all of them and connects to each at once: a
  // flood in a network that starts, and a way to have others dial whatever one names. Who is asked in a lookup and
  // answers enters the table, and nobody else.
  network.safeDispatchEvent = () => true

  const isConnected = (peer: Libp2pPeerId) => connectionManager.getConnections(peer).length > 0

  async function request<Answer>(
    peer: Libp2pPeerId,
    addr: string | null,
    { type, key, read }: Question<Answer>,
    signal: AbortSignal,
  ): Promise<Omit<Told<Answer>, 'named'> & { closer: PeerInfo[] }> {
    const askedAtMs = performance.now()
    try {
      if (addr !== null && !isConnected(peer)) {
        // By address alone: by its name, it would wait for whatever else is tried to reach the same peer.
        const { remotePeer } = await connectionManager.openConnection(multiaddr(addr), { signal })
        if (!remotePeer.equals(peer)) throw new Error('somebody else is there')
      }
      for await (const event of network.sendRequest(peer, { type, key }, { signal, path })) {
        if (event.name === 'QUERY_ERROR') throw event.error
        if (event.name !== 'PEER_RESPONSE') continue
        routingTable.queueRoutingTableUpdate(peer)
        const [connection] = connectionManager.getConnections(peer)
        const network = connection === undefined ? null : networkOf(connection.remoteAddr.toString())
        return { answer: read(event), network, closer: event.closer.slice(0, mostNamed) }
      }
      throw new Error('no answer')
    } catch (error) {
      // Stock tables keep a dead peer until its bucket is full, and lookups begin with the nearest ones of the table.
      const isDead = !signal.aborted || performance.now() - askedAtMs > silentMs
      if (addr === null && isDead && !isConnected(peer)) await routingTable.remove(peer)
      throw error
    }
  }

  function ask<Answer>(question: Question<Answer>, width: number, signal: AbortSignal): Walk<Answer> {
    const place = placeOf(question.key)
    const list = new Shortlist(routingTable.kBucketSize)
    const peers = new Map<string, Libp2pPeerId>()
    const contactsOf = ({ id: peer, multiaddrs }: PeerInfo): Contact[] => {
      const addrs = multiaddrs
        .slice(0, mostAddrs)
        .map(bare)
        .filter((addr) => addr !== null)
      if (peer.equals(self) || addrs.length === 0) return []
      const id = peer.toString()
      const far = distance(place, placeOf(peer.toMultihash().bytes))
      peers.set(id, peer)
      return addrs.map((addr) => ({ id, far, addr, network: networkOf(addr) }))
    }
    // More than are wanted: some of them may be gone.
    for (const peer of routingTable.closestPeers(place, { count: 2 * routingTable.kBucketSize })) {
      peers.set(peer.toString(), peer)
      const far = distance(place, placeOf(peer.toMultihash().bytes))
      list.meet([{ id: peer.toString(), far, addr: null, network: null }])
    }
    setMaxListeners(0, signal)
    const heard = walk({
      list,
      width,
      ask: async ({ id, addr }, ended) => {
        setMaxListeners(0, ended)
        const told = await request(peers.get(id) as Libp2pPeerId, addr, question, ended)
        return { ...told, named: told.closer.flatMap(contactsOf) }
      },
      signal,
    })
    return { list, peers, heard }
  }

  async function* closest(key: Uint8Array, signal: AbortSignal): AsyncGenerator<Libp2pPeerId> {
    const question: Question<null> = { type: 'FIND_NODE', key, read: () => null }
    const brief = AbortSignal.any([signal, AbortSignal.timeout(nearestMs)])
    const { list, peers, heard } = ask(question, usualWidth, brief)
    for await (const _ of heard) {
      const { known, answered } = list.standing()
      if (answered === known) break
    }
    for (const id of list.found()) yield peers.get(id) as Libp2pPeerId
  }

  // What stock code puts somewhere it puts where this finds it.
  peerRouting.getClosestPeers = async function* (key, { signal = AbortSignal.timeout(30_000) }) {
    for await (const id of closest(key, signal)) {
      yield {
        name: 'FINAL_PEER',
        type: EventTypes.FINAL_PEER,
        from: self,
        peer: { id, multiaddrs: [] },
        path,
      }
    }
  }

  async function enter(key: Uint8Array, count: () => void, signal: AbortSignal): Promise<void> {
    // Without addresses: whoever lists this one knows it by its connection, and whoever reads it asks for its record.
    const providers = [{ id: self.toMultihash().bytes, multiaddrs: [] }]
    const message = { type: 'ADD_PROVIDER', key, providers }
    const tell = async (id: Libp2pPeerId) => {
      for await (const { name } of network.sendRequest(id, message, { signal, path })) {
        if (name === 'PEER_RESPONSE') count()
      }
    }
    const holders = await Array.fromAsync(closest(key, signal))
    await Promise.all(holders.map(tell))
  }

  return {
    routingTable,
    put: (key, value, enough, signal) =>
      countUpTo(enough, async (count) => {
        for await (const event of dht.put(key, value, { signal })) if (event.name === 'PEER_RESPONSE') count()
      }),
    provide: (key, enough, signal) => countUpTo(enough, (count) => enter(key, count, signal)),
    async meetNeighbours(signal) {
      try {
        for await (const _ of closest(self.toMultihash().bytes, signal));
      } catch {}
    },
    values(key, width, signal) {
      const read = ({ record }: PeerResponse) => record?.value ?? null
      const { list, heard } = ask({ type: 'GET_VALUE', key, read }, width, signal)
      return { heard, standing: () => list.standing() }
    },
    providers(key, signal) {
      const read = ({ providers }: PeerResponse) =>
        providers
          .map(({ id }) => id.toString())
          .filter(isPeerId)
          .slice(0, sellersPerDirectory)
      const { list, heard } = ask({ type: 'GET_PROVIDERS', key, read }, usualWidth, signal)
      return { heard, standing: () => list.standing() }
    },
  }
}

/** How many took it, as soon as that is enough. The rest is told all the same: replicas slow to reach are worth it. */
function countUpTo(enough: number, tell: (count: () => void) => Promise<void>): Promise<number> {
  return new Promise((resolve) => {
    let holders = 0
    const count = () => {
      holders += 1
      if (holders === enough) resolve(holders)
    }
    const end = () => resolve(holders)
    // It ends by throwing at its deadline and when the host stops; who was told until then counts.
    tell(count).then(end, end)
  })
}

/** An address to dial, whoever is there. Servers are public: who is named behind a relay is none. */
function bare(addr: Multiaddr): string | null {
  const text = addr.toString()
  return text.includes('/p2p-circuit') ? null : text.replace(/\/p2p\/[^/]+$/, '')
}
