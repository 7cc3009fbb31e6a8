/** The memory of a DHT node. Stock stores grow with whatever strangers send; this one has a size on every shelf. */
import { AsyncLocalStorage } from 'node:async_hooks'
import { BaseDatastore } from 'datastore-core'
import { base32 } from 'multiformats/bases/base32'
import type { Clock } from '../../base/clock.ts'
import type { PeerId } from '../../wire/peer-id.ts'
import { farFrom } from './distance.ts'
import { FairShelf } from './fair-shelf.ts'
import { sellersPerDirectory } from './model-shards.ts'
import { ProviderShelf } from './provider-shelf.ts'
import { RecentMap } from './recent-map.ts'
import { RecordRefused } from './record-judge.ts'

export type StoreKey = Parameters<BaseDatastore['put']>[0]

export interface Entry {
  key: StoreKey
  value: Uint8Array
}

export interface StoreLimits {
  records: number
  peers: number
  providers: number
}

export interface StoreRules {
  self: PeerId
  now: Clock
  limits?: StoreLimits
  /** The sequence of a record that may be stored now; throws for one that may not. Its key is the store's name for it. */
  admitRecord: (key: string) => number
}

interface Kept extends Entry {
  atMs: number
  seq: number
}

const defaultLimits: StoreLimits = { records: 50_000, peers: 20_000, providers: 50_000 }
const directoriesPerPeer = 512
const otherEntries = 1_000
// The longest life of a record with a margin. Bindings live longer and are put again by their author.
const recordValidityMs = 65 * 60_000
const sweepEveryMs = 60_000
const recordPrefix = '/dht/record/'
const ownSource = 'self'

export class BoundedStore extends BaseDatastore {
  readonly #limits: StoreLimits
  readonly #peers: RecentMap<string, Entry>
  readonly #records: FairShelf<Kept>
  readonly #others = new RecentMap<string, Entry>(otherEntries)
  readonly #providers: ProviderShelf
  readonly #rules: StoreRules
  readonly #source = new AsyncLocalStorage<string>()
  readonly #far: (key: Uint8Array) => bigint
  #sweptAtMs = 0

  constructor(rules: StoreRules) {
    super()
    const { self, now, limits = defaultLimits } = rules
    this.#rules = rules
    this.#limits = limits
    this.#far = farFrom(self)
    this.#peers = new RecentMap(limits.peers)
    this.#records = new FairShelf(limits.records)
    this.#providers = new ProviderShelf({
      perDirectory: sellersPerDirectory,
      perPeer: directoriesPerPeer,
      total: limits.providers,
      now,
      farOf: (directory) => this.#far(Buffer.from(directory, 'hex')),
    })
  }

  get sizes(): StoreLimits {
    return { records: this.#records.size, peers: this.#peers.size, providers: this.#providers.size }
  }

  /** Whatever is stored while the work runs was brought by that source. */
  onBehalfOf<Result>(source: string, work: () => Result): Result {
    return this.#source.run(source, work)
  }

  /** Lists a peer in a directory; false when there is no room. */
  enter(directory: Uint8Array, peer: PeerId, source = ownSource): boolean {
    return this.#providers.put(Buffer.from(directory).toString('hex'), peer, source)
  }

  leave(directory: Uint8Array, peer: PeerId): void {
    this.#providers.delete(Buffer.from(directory).toString('hex'), peer)
  }

  /** Who is listed here in a directory. */
  listedAt(directory: Uint8Array): PeerId[] {
    return this.#providers.list(Buffer.from(directory).toString('hex'))
  }

  override put(key: StoreKey, value: Uint8Array): StoreKey {
    const name = key.toString()
    if (name.startsWith(recordPrefix)) this.#putRecord(name, key, value)
    else this.#shelfOf(name).set(name, { key, value })
    return key
  }

  override get(key: StoreKey): Uint8Array {
    const name = key.toString()
    const kept = name.startsWith(recordPrefix) ? this.#record(name) : this.#shelfOf(name).get(name)
    if (kept !== undefined) return kept.value
    // libp2p knows a missing entry by this name.
    throw Object.assign(new Error(`nothing at ${name}`), { name: 'NotFoundError' })
  }

  override has(key: StoreKey): boolean {
    const name = key.toString()
    return name.startsWith(recordPrefix) ? this.#record(name) !== undefined : this.#shelfOf(name).has(name)
  }

  override delete(key: StoreKey): void {
    const name = key.toString()
    if (name.startsWith(recordPrefix)) this.#records.delete(name)
    else this.#shelfOf(name).delete(name)
  }

  override async *_all({ prefix = '' }: { prefix?: string }): AsyncGenerator<Entry> {
    const shelf = prefix.startsWith('/dht/record') ? this.#records : this.#shelfOf(prefix)
    for (const [name, { key, value }] of shelf) if (name.startsWith(prefix)) yield { key, value }
  }

  override async *_allKeys(query: { prefix?: string }): AsyncGenerator<StoreKey> {
    for await (const { key } of this._all(query)) yield key
  }

  #putRecord(name: string, key: StoreKey, value: Uint8Array): void {
    const place = name.slice(recordPrefix.length)
    const seq = this.#rules.admitRecord(place)
    // Whatever else was forgotten in a flood of keys, what is here is not replaced by what was before it.
    if ((this.#records.get(name)?.seq ?? 0) > seq) throw new RecordRefused('rollback')
    const atMs = this.#rules.now()
    if (this.#records.size >= this.#limits.records) this.#sweep(atMs)
    const isKept = this.#records.set(name, {
      value: { key, value, atMs, seq },
      source: this.#source.getStore() ?? ownSource,
      badness: this.#far(base32.baseDecode(place)),
    })
    // What this node puts for itself is stored by others; here it is only one more.
    if (!isKept && this.#source.getStore() !== undefined) throw new RecordRefused('no_room')
  }

  #record(name: string): Kept | undefined {
    const kept = this.#records.get(name)
    if (kept === undefined || kept.atMs >= this.#rules.now() - recordValidityMs) return kept
    this.#records.delete(name)
    return undefined
  }

  #sweep(nowMs: number): void {
    if (nowMs - this.#sweptAtMs < sweepEveryMs) return
    this.#sweptAtMs = nowMs
    for (const [name] of this.#records) this.#record(name)
  }

  #shelfOf(name: string): RecentMap<string, Entry> {
    return name.startsWith('/peers') ? this.#peers : this.#others
  }
}
