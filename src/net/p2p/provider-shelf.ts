/**
 * The entries "this peer provides this key" of a DHT node. Bounded per key, per peer and in all, and never listing an
 * entry that would make the node fail to answer.
 */
import { RecentMap } from './recent-map.ts'
import type { Entry, StoreKey } from './bounded-store.ts'

/** Matches the `reprovide.validity` that all nodes share. */
export const providerValidityMs = 30 * 60_000

export interface ProviderLimits {
  perKey: number
  perPeer: number
  total: number
}

export interface ProviderRules extends ProviderLimits {
  now: () => number
  /** This node: what it provides itself is never refused. */
  self: string
  /** False for a peer whose addresses are gone: one such entry would have the whole answer fail for everyone. */
  isReachable: (peer: string) => boolean
}

interface Provider extends Entry {
  peer: string
  atMs: number
}

export class ProviderShelf {
  readonly #rules: ProviderRules
  readonly #directories: RecentMap<string, Map<string, Provider>>
  readonly #byPeer = new Map<string, number>()
  #size = 0

  constructor(rules: ProviderRules) {
    this.#rules = rules
    this.#directories = new RecentMap(rules.total, (_, directory) => {
      for (const peer of directory.keys()) this.#count(peer, -1)
    })
  }

  get size(): number {
    return this.#size
  }

  /** Remembers, or renews; false when there is no room. Who is listed keeps its place against newcomers. */
  put(key: StoreKey, value: Uint8Array): boolean {
    const { directory: name, peer } = placeOf(key)
    const directory = this.#directories.get(name) ?? new Map<string, Provider>()
    const isNew = !directory.has(peer)
    if (isNew && peer !== this.#rules.self) {
      if (directory.size >= this.#rules.perKey) this.#dropStale(directory)
      if (directory.size >= this.#rules.perKey) return false
      if ((this.#byPeer.get(peer) ?? 0) >= this.#rules.perPeer) return false
      while (this.#size >= this.#rules.total) if (!this.#forgetOne(name)) return false
    }
    directory.set(peer, { key, value, peer, atMs: this.#rules.now() })
    this.#directories.set(name, directory)
    if (isNew) this.#count(peer, 1)
    return true
  }

  get(key: StoreKey): Uint8Array | undefined {
    const { directory, peer } = placeOf(key)
    return this.#directories.get(directory)?.get(peer)?.value
  }

  delete(key: StoreKey): void {
    const { directory: name, peer } = placeOf(key)
    const directory = this.#directories.get(name)
    if (directory?.delete(peer)) this.#count(peer, -1)
    if (directory?.size === 0) this.#directories.delete(name)
  }

  /** The entries below a prefix that are fresh and answerable. */
  *list(prefix: string): Generator<Entry> {
    const parts = prefix.split('/')
    const name = parts[3]
    if (name !== undefined && name !== '') {
      yield* this.#fresh(this.#directories.get(name))
      return
    }
    for (const [, directory] of this.#directories) yield* this.#fresh(directory)
  }

  *#fresh(directory: Map<string, Provider> | undefined): Generator<Entry> {
    if (directory === undefined) return
    this.#dropStale(directory)
    for (const { key, value, peer } of directory.values()) {
      if (peer === this.#rules.self || this.#rules.isReachable(peer)) yield { key, value }
    }
  }

  #dropStale(directory: Map<string, Provider>): void {
    const oldestMs = this.#rules.now() - providerValidityMs
    for (const [peer, { atMs }] of directory) {
      if (atMs >= oldestMs || peer === this.#rules.self) continue
      directory.delete(peer)
      this.#count(peer, -1)
    }
  }

  // The directory nobody asked for or entered for longest goes, but never the one being entered.
  #forgetOne(kept: string): boolean {
    for (const [name, directory] of this.#directories) {
      if (name === kept || directory.has(this.#rules.self)) continue
      this.#directories.delete(name)
      for (const peer of directory.keys()) this.#count(peer, -1)
      return true
    }
    return false
  }

  #count(peer: string, change: 1 | -1): void {
    this.#size += change
    const left = (this.#byPeer.get(peer) ?? 0) + change
    if (left === 0) this.#byPeer.delete(peer)
    else this.#byPeer.set(peer, left)
  }
}

// /dht/provider/<multihash>/<peer>
function placeOf(key: StoreKey): { directory: string; peer: string } {
  const [, , , directory = '', peer = ''] = key.toString().split('/')
  return { directory, peer }
}
