/**
 * What a DHT server does for others: it stores their records and lists them in directories. Touches the internals of
 * kad-dht, whose version is pinned exactly.
 */
import type { Connection, PeerId as Libp2pPeerId, PeerInfo } from '@libp2p/interface'
import type { KadDHT } from '@libp2p/kad-dht'
import { isPeerId, peerIdBytes } from '../../wire/peer-id.ts'
import type { BoundedStore } from './bounded-store.ts'
import type { DhtRefusal } from './dht-records.ts'
import { networkOf } from './network-of.ts'
import { PeerRates } from './peer-limits.ts'
import { RecordRefused } from './record-judge.ts'

interface Message {
  type: string
  key?: Uint8Array
  clusterLevel?: number
}

type Handle = (peer: Libp2pPeerId, message: Message) => Promise<object | undefined>

interface Internals {
  components: { connectionManager: { getConnections(peer: Libp2pPeerId): Connection[] } }
  peerInfoMapper: (peer: PeerInfo) => PeerInfo
  peerRouting: {
    getClosestPeersOffline(key: Uint8Array, options: { exclude: Libp2pPeerId[] }): Promise<PeerInfo[]>
  }
  rpc: { handlers: Record<'PUT_VALUE' | 'ADD_PROVIDER' | 'GET_PROVIDERS', { handle: Handle }> }
}

const directoryBytes = 32
// What honest peers meet with when they are late, told twice, or far away.
const forgiven: readonly DhtRefusal[] = ['expired', 'future', 'replayed', 'rollback', 'too_often', 'no_room']
const garbagePerSec = 2
const garbageAtOnce = 50

export function holdForOthers(dht: KadDHT, self: Libp2pPeerId, store: BoundedStore): void {
  const { components, peerInfoMapper, peerRouting, rpc } = dht as unknown as Internals
  const connectionsTo = (peer: Libp2pPeerId) => components.connectionManager.getConnections(peer)
  // An address costs something and a peer id nothing, so an address is who stores. Private ones are all the same.
  const sourceOf = (peer: Libp2pPeerId) => {
    const [connection] = connectionsTo(peer)
    return (connection && networkOf(connection.remoteAddr.toString())) ?? 'private'
  }
  const patience = new PeerRates(garbagePerSec, garbageAtOnce)

  const { handlers } = rpc
  const storeValue = handlers.PUT_VALUE.handle.bind(handlers.PUT_VALUE)
  handlers.PUT_VALUE.handle = async (peer, message) => {
    try {
      return await store.onBehalfOf(sourceOf(peer), () => storeValue(peer, message))
    } catch (error) {
      const isGarbage = !(error instanceof RecordRefused && forgiven.includes(error.reason))
      // To refuse costs more than to send: who goes on sending loses its connection.
      if (isGarbage && !patience.take(peer.toString())) {
        for (const connection of connectionsTo(peer)) connection.abort(new Error('too much garbage'))
      }
      throw error
    }
  }

  // Stock code wants addresses of who is listed and gives them to who asks, and fails for all who ask once it has lost
  // those of one. Here a directory is a list of names, and behind each name is a record.
  handlers.ADD_PROVIDER.handle = async (peer, message) => {
    const directory = directoryOf(message)
    const name = peer.toString()
    if (!isPeerId(name)) throw new Error('no seller has such a name')
    if (!store.enter(directory, name, sourceOf(peer))) throw new Error('no room in this directory')
    return { type: message.type, key: directory, closer: [], providers: [] }
  }
  handlers.GET_PROVIDERS.handle = async (peer, message) => {
    const directory = directoryOf(message)
    const near = await peerRouting.getClosestPeersOffline(directory, { exclude: [peer, self] })
    return {
      type: message.type,
      key: directory,
      closer: near
        .map(peerInfoMapper)
        .filter(({ multiaddrs }) => multiaddrs.length > 0)
        .map(({ id, multiaddrs }) => ({
          id: id.toMultihash().bytes,
          multiaddrs: multiaddrs.map(({ bytes }) => bytes),
        })),
      providers: store.listedAt(directory).map((name) => ({ id: peerIdBytes(name), multiaddrs: [] })),
    }
  }
}

function directoryOf({ key }: Message): Uint8Array {
  if (key?.length !== directoryBytes) throw new Error('no directory has such a key')
  return key
}
