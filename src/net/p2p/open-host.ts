/**
 * The peer-to-peer side of a node as the rest of the program sees it. libp2p is loaded when a host is opened and not
 * before: half a second and 50 MB that a node without one does not pay.
 */
import type { Duplex } from 'node:stream'
import type { Clock } from '../../base/clock.ts'
import type { NodeKey } from '../../wire/node-key.ts'
import type { SignedBinding } from '../../wire/peer-binding.ts'
import type { PeerId } from '../../wire/peer-id.ts'
import type { IndexRecord, SellerRecord } from '../../wire/record.ts'
import type { StoreLimits } from './bounded-store.ts'
import type { DhtRefusal } from './dht-records.ts'
import type { ResolveName } from './names.ts'

export interface HostOptions {
  key: NodeKey
  /** Multiaddrs to listen on; none for who only asks. */
  listen: readonly string[]
  /** Multiaddrs to be told to others instead of those listened on. */
  announce?: readonly string[]
  /** Multiaddrs of DHT servers, each with its /p2p/ part. Tried again until one answers; left out where unreadable. */
  bootstrap: readonly string[]
  /**
   * True to store records and answer others; for nodes that are reachable and stay. `when-public`: for as long as
   * others get in.
   */
  server: boolean | 'when-public'
  /** False for who asks something and is gone: it looks for no neighbours. True unless told. */
  stays?: boolean
  /** Lets the host meet loopback and private networks. */
  allowPrivate?: boolean
  /** Looks up what public names in multiaddrs lead to. Asks the machine's DNS servers unless told. */
  resolve?: ResolveName
  now?: Clock
  limits?: StoreLimits
  /** On how many nodes everything is stored: Kademlia's k, the same for all. 20 unless told. */
  replicas?: number
  /** Takes the HTTP connections that peers open to this host; absent for who serves none. */
  onConnection?: (socket: PeerSocket) => void
  /** Relays circuits to those that have a reservation here, and answers how a peer looks from outside. */
  relay?: RelayOptions
  /** Asks the router to hand on the ports listened on, in the background. Not unless told. */
  portMapping?: boolean
  /**
   * False keeps relayed connections relayed: making one direct tells the peer where this host is. True unless told.
   */
  punch?: boolean
  /** Announces itself on the local network, and meets who does. */
  lan?: { onPeer: (target: PeerTarget) => void }
}

export interface RelayOptions {
  /** Whether the peer may reserve; a registry says yes to live sellers. */
  mayReserve: (peer: PeerId) => boolean
  limits?: Partial<RelayLimits>
}

export interface RelayLimits {
  reservations: number
  /** Circuits between one pair of peers, and of one peer as the one that opens them. */
  circuitsPerPair: number
  circuitsPerBuyer: number
  circuits: number
  /** Of one circuit, both directions together. */
  bytes: number
  durationMs: number
  bytesPerSec: number
}

/** Where a peer may be met. */
export interface PeerTarget {
  peer: PeerId
  /** Multiaddrs, with or without the /p2p/ part; those over a relay name it. */
  addrs: readonly string[]
}

/** The way a connection takes: straight to the peer, or through somebody who passes it on. */
export type PeerPath = 'direct' | 'relayed'

export interface ConnectOptions {
  signal: AbortSignal
  /** For one question: no better path is sought, and a connection made for it ends with the socket. */
  brief?: boolean
}

/** One HTTP/1.1 connection to a peer whose identity is proved, as a socket. */
export interface PeerSocket extends Duplex {
  readonly remotePeer: PeerId
  readonly path: PeerPath
  /** Bytes that it took to send. */
  readonly bytesWritten: number
}

/** How others reach this host, as far as they told. `unknown` until a relay or registry was asked. */
export interface Reachability {
  state: 'public' | 'punchable' | 'relayed' | 'unreachable' | 'unknown'
  /** How the NAT in front of it names connections: the same port for everyone, another for each, or there is none. */
  nat: 'none' | 'cone' | 'symmetric' | 'unknown'
  /** As others see it: ip:port. */
  observed: string[]
  /** A port that the router opened for us: its outside multiaddr. */
  mapped: string | null
  /** Multiaddrs of relays that hold a reservation for this host. */
  relays: string[]
}

export interface Host extends AsyncDisposable {
  peerId: PeerId
  /** Where others reach this host, with the /p2p/ part. */
  addrs(): string[]
  /** DHT servers in the routing table. */
  peerCount(): number
  /** True once that many DHT servers are known; false when the signal comes first. */
  joined(count: number, signal: AbortSignal): Promise<boolean>
  /**
   * Opens an HTTP connection: over a connection there is, the direct one first, else dials, direct addresses with a
   * head start before relayed ones. A relayed connection is made direct in the background where NATs allow it.
   * Throws `seller_unreachable`.
   */
  connect(target: PeerTarget, options: ConnectOptions): Promise<PeerSocket>
  /** The best path there is to the peer now; null when there is no connection. */
  pathTo(peer: PeerId): PeerPath | null
  /** Called when a direct connection to a peer that was only relayed has come up; gives the way to stop listening. */
  onBetterPath(listener: (peer: PeerId) => void): () => void
  /** Keeps reservations at two of these relays for as long as the host lives; replaces what was wanted before. */
  useRelays(relays: readonly string[]): void
  reachability(): Reachability
  /** Called when `addrs()` or `reachability()` changed. */
  onReachability(listener: () => void): () => void
  /** Multiaddrs of DHT servers to begin with next time. */
  knownServers(most: number): Promise<string[]>
  dht: Dht
}

export interface Dht {
  /**
   * Stores a record under its author's peer id; anyone may, because the author signed it. Ends when `enough` holders
   * have it; the others are told in the background.
   */
  putRecord(record: SellerRecord | IndexRecord, options?: PutOptions): Promise<PutOutcome>
  /** One of another node must have that node's signature. */
  putBinding(binding: SignedBinding, options?: PutOptions): Promise<PutOutcome>
  getSeller(peer: PeerId, options?: SellerOptions): Promise<FoundSeller | null>
  getIndex(peer: PeerId, options?: GetOptions): Promise<Found<IndexRecord> | null>
  /** The node signed it; whether the wallet did is not judged. */
  getBinding(peer: PeerId, options?: GetOptions): Promise<Found<SignedBinding> | null>
  /** Lists this node as a seller of the model; every 10 minutes, or the entry is gone after 30. Gives the holders told. */
  provide(model: string, options?: PutOptions): Promise<number>
  /** Does not list it again; what others hold runs out. */
  withdraw(model: string): Promise<void>
  /** Who claims to sell the model. Claims only: what counts is the record. */
  findSellers(model: string, options?: FindOptions): Promise<PeerId[]>
  /**
   * Sellers of any of the models by their records: the first valid one of each unless told. Ends when whoever is listed
   * was looked up, or at the deadline with those found by then; slow lookups hold up no others.
   */
  sellersOf(models: readonly string[], options?: FindOptions & SellerOptions): Promise<MarketFound>
  /** How much this node stores for others. */
  stored(): StoreLimits
}

export interface WaitOptions {
  timeoutMs?: number
  signal?: AbortSignal
}

export interface PutOptions extends WaitOptions {
  enough?: number
}

export interface GetOptions extends WaitOptions {
  /**
   * 1 takes the first valid answer, which may be an older one, and believes as many as else must answer that there is
   * none; else as many must answer as makes an older one unlikely, and all of them that there is none.
   */
  agree?: 1
  /** The sequence of the newest one that is known already: nothing older is taken. */
  lastSeq?: number
}

export interface SellerOptions extends GetOptions {
  /** Looks for the binding of the wallet as well, at the same time. */
  binding?: boolean
}

export interface FindOptions extends WaitOptions {
  limit?: number
}

export type PutOutcome = { ok: true; holders: number } | { ok: false; reason: DhtRefusal }

export interface Found<Document> {
  document: Document
  /** How many holders gave just this one. */
  holders: number
}

export interface MarketFound {
  sellers: FoundSeller[]
  /** All that are listed were looked up. */
  isWhole: boolean
}

export interface FoundSeller extends Found<SellerRecord> {
  /** The record's address, unless it leads into a private network and that is not allowed. */
  url: string | null
  addrs: string[]
  /** Null where it was not looked for, or not found. The node signed it; whether the wallet did is not judged. */
  binding: SignedBinding | null
}

/** Starts a host. It comes up without any bootstrap peer answering and joins when one does. */
export async function openHost(options: HostOptions): Promise<Host> {
  const { startHost } = await import('./host.ts')
  return startHost(options)
}
