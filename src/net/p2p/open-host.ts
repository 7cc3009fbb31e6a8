/**
 * The peer-to-peer side of a node as the rest of the program sees it. libp2p is loaded when a host is opened and not
 * before: half a second and 50 MB that a node without one does not pay.
 */
import type { Clock } from '../../base/clock.ts'
import type { NodeKey } from '../../wire/node-key.ts'
import type { SignedBinding } from '../../wire/peer-binding.ts'
import type { PeerId } from '../../wire/peer-id.ts'
import type { IndexRecord, SellerRecord } from '../../wire/record.ts'
import type { StoreLimits } from './bounded-store.ts'
import type { DhtRefusal } from './dht-records.ts'

export interface HostOptions {
  key: NodeKey
  /** Multiaddrs to listen on; none for who only asks. */
  listen: readonly string[]
  /** Multiaddrs to be told to others instead of those listened on. */
  announce?: readonly string[]
  /** Multiaddrs of DHT servers, each with its /p2p/ part. Tried again until one answers. */
  bootstrap: readonly string[]
  /** True to store records and answer others; for nodes that are reachable and stay. */
  server: boolean
  /** Lets the host meet loopback and private networks. */
  allowPrivate?: boolean
  now?: Clock
  limits?: StoreLimits
  /** On how many nodes everything is stored: Kademlia's k, the same for all. 20 unless told. */
  replicas?: number
}

export interface Host extends AsyncDisposable {
  peerId: PeerId
  /** Where others reach this host, with the /p2p/ part. */
  addrs(): string[]
  /** DHT servers in the routing table. */
  peerCount(): number
  /** True once that many DHT servers are known; false when the signal comes first. */
  joined(count: number, signal: AbortSignal): Promise<boolean>
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
  putBinding(binding: SignedBinding, options?: PutOptions): Promise<PutOutcome>
  getSeller(peer: PeerId, options?: GetOptions): Promise<FoundSeller | null>
  getIndex(peer: PeerId, options?: GetOptions): Promise<Found<IndexRecord> | null>
  /** The node signed it; whether the wallet did is not judged. */
  getBinding(peer: PeerId, options?: GetOptions): Promise<Found<SignedBinding> | null>
  /** Lists this node as a seller of the model; every 10 minutes, or the entry is gone after 30. Gives the holders told. */
  provide(model: string, options?: WaitOptions): Promise<number>
  /** Does not list it again; what others hold runs out. */
  withdraw(model: string): Promise<void>
  /** Who claims to sell the model. Claims only: what counts is the record. */
  findSellers(model: string, options?: FindOptions): Promise<PeerId[]>
  /** The records of sellers of the model that a lookup found in time; the first valid one of each unless told. */
  sellersOf(model: string, options?: FindOptions & GetOptions): Promise<FoundSeller[]>
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
  /** Holders that must agree before the rest is not waited for; 3 unless told, 1 takes the first valid answer. */
  agree?: number
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

export interface FoundSeller extends Found<SellerRecord> {
  /** The record's address, unless it leads into a private network and that is not allowed. */
  url: string | null
  addrs: string[]
}

/** Starts a host. It comes up without any bootstrap peer answering and joins when one does. */
export async function openHost(options: HostOptions): Promise<Host> {
  const { startHost } = await import('./host.ts')
  return startHost(options)
}
