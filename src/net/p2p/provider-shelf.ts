/** Who is listed in which directory, as a DHT node holds it for others. Bounded per directory, per peer and in all. */
import type { Clock } from '../../base/clock.ts'
import type { PeerId } from '../../wire/peer-id.ts'
import { FairShelf } from './fair-shelf.ts'

const validityMs = 30 * 60_000

export interface ProviderRules {
  perDirectory: number
  perPeer: number
  total: number
  now: Clock
  /** How far a directory is from this node. Of what one source brought, the farthest goes first. */
  farOf: (directory: string) => bigint
}

interface Entry {
  directory: string
  peer: PeerId
  source: string
  atMs: number
}

export class ProviderShelf {
  readonly #rules: ProviderRules
  readonly #all: FairShelf<Entry>
  readonly #directories = new Map<string, Map<PeerId, Entry>>()
  readonly #byPeer = new Map<PeerId, number>()

  constructor(rules: ProviderRules) {
    this.#rules = rules
    this.#all = new FairShelf(rules.total, (_, entry) => this.#forget(entry))
  }

  get size(): number {
    return this.#all.size
  }

  /** Lists the peer, or again; false when there is no room. Who is listed keeps its place against its like. */
  put(directory: string, peer: PeerId, source: string): boolean {
    const { now, perDirectory, perPeer, farOf } = this.#rules
    const listed = this.#fresh(directory)
    const known = listed.get(peer)
    if (known !== undefined) {
      known.atMs = now()
      return true
    }
    if ((this.#byPeer.get(peer) ?? 0) >= perPeer) return false
    const crowding = listed.size >= perDirectory ? lastOfMost(listed, source) : undefined
    if (crowding === null) return false
    if (crowding !== undefined) this.delete(directory, crowding.peer)
    const entry = { directory, peer, source, atMs: now() }
    this.#directories.set(directory, (this.#directories.get(directory) ?? new Map()).set(peer, entry))
    this.#count(peer, 1)
    const isKept = this.#all.set(nameOf(entry), { value: entry, source, badness: farOf(directory) })
    if (!isKept) this.#forget(entry)
    return isKept
  }

  delete(directory: string, peer: PeerId): void {
    const entry = this.#directories.get(directory)?.get(peer)
    if (entry === undefined) return
    this.#all.delete(nameOf(entry))
    this.#forget(entry)
  }

  list(directory: string): PeerId[] {
    return [...this.#fresh(directory).keys()]
  }

  #fresh(directory: string): Map<PeerId, Entry> {
    const oldestMs = this.#rules.now() - validityMs
    for (const { peer, atMs } of this.#directories.get(directory)?.values() ?? []) {
      if (atMs < oldestMs) this.delete(directory, peer)
    }
    return this.#directories.get(directory) ?? new Map()
  }

  #forget({ directory, peer }: Entry): void {
    const listed = this.#directories.get(directory)
    if (!listed?.delete(peer)) return
    if (listed.size === 0) this.#directories.delete(directory)
    this.#count(peer, -1)
  }

  #count(peer: PeerId, change: 1 | -1): void {
    const left = (this.#byPeer.get(peer) ?? 0) + change
    if (left === 0) this.#byPeer.delete(peer)
    else this.#byPeer.set(peer, left)
  }
}

/**
 * The newest entry of the source that has the most of them, if that is more than the newcomer's would have; else null.
 * So a directory filled from one place keeps room for everyone else.
 */
function lastOfMost(listed: ReadonlyMap<PeerId, Entry>, newcomer: string): Entry | null {
  const bySource = Map.groupBy(listed.values(), ({ source }) => source)
  const most = [...bySource.values()].reduce((a, b) => (b.length > a.length ? b : a), [])
  const own = bySource.get(newcomer)?.length ?? 0
  return most.length > own + 1 ? (most.at(-1) ?? null) : null
}

function nameOf({ directory, peer }: Entry): string {
  return `${directory}/${peer}`
}
