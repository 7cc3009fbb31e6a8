/** The memory of a DHT node. Stock stores grow with whatever strangers send; this one has a size on every shelf. */
import { BaseDatastore } from 'datastore-core'
import { sellersPerDirectory } from './model-shards.ts'
import { ProviderShelf } from './provider-shelf.ts'
import { RecentMap } from './recent-map.ts'

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
  self: string
  now: () => number
  limits?: StoreLimits
  /** The name under which a peer's addresses lie below /peers/. */
  peerName: (peer: string) => string
  /** Throws for a record that may not be stored now. Its key is in the alphabet of the store's keys. */
  admitRecord: (key: string) => void
}

interface Kept extends Entry {
  atMs: number
}

const defaultLimits: StoreLimits = { records: 50_000, peers: 20_000, providers: 50_000 }
const directoriesPerPeer = 512
const otherEntries = 1_000
// The longest life of a record with a margin. Bindings live longer and are put again by their author.
const recordValidityMs = 65 * 60_000

export class BoundedStore extends BaseDatastore {
  readonly #peers: RecentMap<string, Kept>
  readonly #records: RecentMap<string, Kept>
  readonly #others = new RecentMap<string, Kept>(otherEntries)
  readonly #providers: ProviderShelf
  readonly #rules: StoreRules

  constructor(rules: StoreRules) {
    super()
    const { self, now, peerName, limits = defaultLimits } = rules
    this.#rules = rules
    this.#peers = new RecentMap(limits.peers)
    this.#records = new RecentMap(limits.records)
    this.#providers = new ProviderShelf({
      perKey: sellersPerDirectory,
      perPeer: directoriesPerPeer,
      total: limits.providers,
      now,
      self,
      isReachable: (peer) => this.#peers.has(`/peers/${peerName(peer)}`),
    })
  }

  get sizes(): StoreLimits {
    return { records: this.#records.size, peers: this.#peers.size, providers: this.#providers.size }
  }

  /** Who is listed here under a provided key, given as the base32 of its multihash. */
  listedAt(multihash: string): string[] {
    return [...this.#providers.list(`/dht/provider/${multihash}`)].map(
      ({ key }) => key.toString().split('/').at(-1) as string,
    )
  }

  override put(key: StoreKey, value: Uint8Array): StoreKey {
    const name = key.toString()
    if (name.startsWith('/dht/provider/')) {
      if (!this.#providers.put(key, value)) throw new Error('this directory is full')
      return key
    }
    if (name.startsWith(recordPrefix)) this.#rules.admitRecord(name.slice(recordPrefix.length))
    this.#shelfOf(name).set(name, { key, value, atMs: this.#rules.now() })
    return key
  }

  override get(key: StoreKey): Uint8Array {
    const name = key.toString()
    if (name.startsWith('/dht/provider/')) return this.#providers.get(key) ?? notFound(name)
    const kept = this.#shelfOf(name).get(name)
    if (kept === undefined) return notFound(name)
    if (name.startsWith(recordPrefix) && kept.atMs < this.#rules.now() - recordValidityMs) {
      this.#records.delete(name)
      return notFound(name)
    }
    return kept.value
  }

  override has(key: StoreKey): boolean {
    const name = key.toString()
    if (name.startsWith('/dht/provider/')) return this.#providers.get(key) !== undefined
    return this.#shelfOf(name).has(name)
  }

  override delete(key: StoreKey): void {
    const name = key.toString()
    if (name.startsWith('/dht/provider/')) this.#providers.delete(key)
    else this.#shelfOf(name).delete(name)
  }

  override async *_all({ prefix = '' }: { prefix?: string }): AsyncGenerator<Entry> {
    if (prefix.startsWith('/dht/provider')) {
      yield* this.#providers.list(prefix)
      return
    }
    for (const [, { key, value }] of this.#shelfOf(prefix)) yield { key, value }
  }

  override async *_allKeys(query: { prefix?: string }): AsyncGenerator<StoreKey> {
    for await (const { key } of this._all(query)) yield key
  }

  #shelfOf(name: string): RecentMap<string, Kept> {
    if (name.startsWith('/peers')) return this.#peers
    return name.startsWith('/dht/record') ? this.#records : this.#others
  }
}

const recordPrefix = '/dht/record/'

// libp2p knows a missing entry by this name.
function notFound(name: string): never {
  throw Object.assign(new Error(`nothing at ${name}`), { name: 'NotFoundError' })
}
