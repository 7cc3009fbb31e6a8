/** The claims that a tower holds: in memory to decide on, on disk before their seller is told that they are there. */
import type { Clock } from '../base/clock.ts'
import type { TowerOperations } from '../store/operations.ts'
import type { TowerClaimRow } from '../store/tower-operations.ts'
import type { Writer } from '../store/writer.ts'
import type { Hex } from '../wire/hex.ts'
import type { TowerUpdate } from '../wire/tower.ts'

export type TowerStore = Writer<TowerOperations>

export interface ClaimBookOptions {
  now: Clock
  /** A seller may have so many channels with open claims here: who makes them up fills no disk. */
  mostChannels: number
}

export class ClaimBook {
  readonly #store: TowerStore
  readonly #now: Clock
  readonly #mostChannels: number
  readonly #held = new Map<Hex, TowerClaimRow>()
  readonly #counts = new Map<string, number>()

  constructor(store: TowerStore, { now, mostChannels }: ClaimBookOptions, rows: readonly TowerClaimRow[]) {
    this.#store = store
    this.#now = now
    this.#mostChannels = mostChannels
    for (const row of rows) this.#put(row)
  }

  find(channelId: Hex): TowerClaimRow | undefined {
    return this.#held.get(channelId)
  }

  ids(): Hex[] {
    return [...this.#held.keys()]
  }

  all(): TowerClaimRow[] {
    return [...this.#held.values()]
  }

  /** How many channels more of this seller have a place. */
  room(seller: string): number {
    return this.#mostChannels - (this.#counts.get(seller) ?? 0)
  }

  /** Resolves once all of it is on disk. Throws `store_unavailable`; then nothing of it is held. */
  async save(
    seller: string,
    cursor: string,
    updates: readonly { channelId: Hex; update: TowerUpdate }[],
  ): Promise<void> {
    const rows = updates.map(({ channelId, update }) => ({ ...update, channelId, seller, atMs: this.#now() }))
    await this.#store.run('saveClaims', { seller, cursor, rows })
    for (const row of rows) this.#put(row)
  }

  /** Lets go of claims that the chain has had for a while. */
  async forget(rows: readonly TowerClaimRow[]): Promise<void> {
    const still = rows.filter((row) => this.#held.get(row.channelId) === row)
    if (still.length === 0) return
    for (const row of still) this.#drop(row)
    await this.#store.run('forgetClaims', {
      rows: still.map(({ channelId, totalClaimed }) => ({ channelId, totalClaimed })),
    })
  }

  #put(row: TowerClaimRow): void {
    const before = this.#held.get(row.channelId)
    if (before !== undefined) this.#drop(before)
    this.#held.set(row.channelId, row)
    this.#count(row.seller, 1)
  }

  #drop(row: TowerClaimRow): void {
    this.#held.delete(row.channelId)
    this.#count(row.seller, -1)
  }

  #count(seller: string, by: number): void {
    this.#counts.set(seller, (this.#counts.get(seller) ?? 0) + by)
  }
}

/** The book as the disk has it. */
export async function loadClaimBook(store: TowerStore, options: ClaimBookOptions): Promise<ClaimBook> {
  return new ClaimBook(store, options, await store.read('loadClaims'))
}
