/** The registry's memory: who sells what, who was heard of, in the order queries want. A cache of signed records; judges none. */
import type { Clock } from '../base/clock.ts'
import type { SignedBinding } from '../wire/peer-binding.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { encodeRecord, type HeartbeatRecord, type SellerRecord } from '../wire/record.ts'
import { liveMs } from '../wire/seller-listing.ts'
import { ChangeLog } from './change-log.ts'
import { recordFields, type Entry, type EntryState } from './entry.ts'
import { cursorAfter, matches, type SellersQuery } from './query.ts'
import { Ranking, rankPrice, type Row } from './ranking.ts'

export interface SellerIndexOptions {
  now: Clock
  /** Names this run in versions: after a restart numbers begin again. */
  epoch: string
  mostSellers?: number
}

/** Who told it, and when the seller itself was heard. */
export interface Source {
  from: PeerId | null
  seenMs: number
}

export interface Page {
  entries: readonly Entry[]
  gone: readonly PeerId[]
  next: string | null
  /** There is another page at once: behind `next`, or since `version`. */
  more: boolean
  version: string
  reset: boolean
}

const usualMostSellers = 50_000
const mostGone = 2_000

export class SellerIndex {
  readonly #now: Clock
  readonly #epoch: string
  readonly #mostSellers: number
  readonly #entries = new Map<PeerId, Entry>()
  readonly #byModel = new Map<string, Ranking>()
  readonly #all = new Ranking()
  readonly #changes: ChangeLog
  readonly #counts: Record<EntryState, number> = { live: 0, stale: 0, left: 0 }

  constructor({ now, epoch, mostSellers = usualMostSellers }: SellerIndexOptions) {
    this.#now = now
    this.#epoch = epoch
    this.#mostSellers = mostSellers
    this.#changes = new ChangeLog(2 * mostSellers)
  }

  get counts(): Readonly<Record<EntryState, number>> {
    return this.#counts
  }

  get version(): number {
    return this.#changes.version
  }

  /** Rankings by model id. */
  get models(): ReadonlyMap<string, Ranking> {
    return this.#byModel
  }

  find(peer: PeerId): Entry | undefined {
    return this.#entries.get(peer)
  }

  /** Those that were heard of lately. */
  live(): Entry[] {
    return [...this.#entries.values()].filter(({ state }) => state === 'live')
  }

  /** Takes a judged record. `old`: a newer one is here. `full`: there is no room and nobody silent to forget. */
  upsert(record: SellerRecord, binding: SignedBinding, source: Source): 'ok' | 'old' | 'full' {
    const known = this.#entries.get(record.peer)
    if (known !== undefined && known.recordSeq >= record.seq) return 'old'
    if (known === undefined && this.#entries.size >= this.#mostSellers && !this.#forgetSilent()) return 'full'
    const entry = known ?? this.#newEntry(record, binding)
    this.#unlist(entry)
    Object.assign(entry, recordFields(record, binding))
    if (entry.state !== 'left') this.#list(entry)
    this.#see(entry, source)
    entry.recordVersion = this.#touch(entry, true)
    return 'ok'
  }

  /**
   * Takes a judged heartbeat of a seller whose record is here. `need_record`: it is not, or an older one is.
   * `superseded`: a newer one is, so that this is a process which another with the same key took over from.
   */
  beat(heartbeat: HeartbeatRecord, source: Source): 'ok' | 'old' | 'need_record' | 'superseded' {
    const entry = this.#entries.get(heartbeat.peer)
    const { leaving, recordSeq } = heartbeat.body
    if (entry === undefined) return leaving ? 'ok' : 'need_record'
    if (entry.recordSeq < recordSeq && !leaving) return 'need_record'
    if (entry.recordSeq > recordSeq) return 'superseded'
    if (entry.beatSeq !== null && entry.beatSeq >= heartbeat.seq) return 'old'
    const before = entry.state
    entry.beatText = encodeRecord(heartbeat)
    entry.beatSeq = heartbeat.seq
    entry.heartbeats += 1
    if (leaving) {
      entry.from = source.from
      this.#become(entry, 'left')
    } else this.#see(entry, source)
    this.#touch(entry, entry.state !== before)
    return 'ok'
  }

  /** Sellers that fell silent become stale, and those whose record expired are forgotten. Cheap: call it every second. */
  sweep(): void {
    const nowMs = this.#now()
    for (const entry of this.#entries.values()) {
      if (entry.goneAtMs <= nowMs) this.#forget(entry)
      else if (entry.state === 'live' && nowMs - entry.lastSeenMs >= liveMs) {
        this.#become(entry, 'stale')
        this.#touch(entry, true)
      }
    }
  }

  /** A page in the order of price, or with `since` of what changed. */
  query(query: SellersQuery): Page {
    const since = query.since === null ? null : this.readVersion(query.since)
    const page = since === null ? this.#cheapest(query) : this.#changed(query, since)
    return { ...page, reset: query.since !== null && since === null }
  }

  /** What names the answer to a query: it changes when the answer may have. */
  tagOf({ model }: Pick<SellersQuery, 'model'>): string {
    const { version } = model === null ? this : (this.#byModel.get(model) ?? { version: 0 })
    return `${this.#epoch}-${version}`
  }

  /** True when sellers came, left or changed their terms since; false while they only told their load. */
  hasNews({ model, since }: Pick<SellersQuery, 'model' | 'since'>): boolean {
    const version = since === null ? null : this.readVersion(since)
    // A model without a seller may have had one a moment ago.
    const { news } = (model === null ? null : this.#byModel.get(model)) ?? this.#all
    return version === null || news > version
  }

  /** Entries that changed after a version, oldest change first, with the version of that change. */
  *changedAfter(since: number): Generator<{ entry: Entry; version: number }> {
    for (const peer of this.#changes.after(since)) {
      const entry = this.#entries.get(peer)
      if (entry !== undefined) yield { entry, version: this.#changes.versionOf(peer) }
    }
  }

  /** The number of a version of this run; null when it is of another, or forgotten. */
  readVersion(text: string): number | null {
    const [epoch, number = ''] = text.split('-')
    const version = /^\d{1,16}$/.test(number) ? Number(number) : -1
    return epoch === this.#epoch && this.#changes.knows(version) ? version : null
  }

  versionText(version: number): string {
    return `${this.#epoch}-${version}`
  }

  #cheapest(query: SellersQuery): Omit<Page, 'reset'> {
    const ranking = query.model === null ? this.#all : this.#byModel.get(query.model)
    const rows = ranking?.rows ?? []
    const entries: Entry[] = []
    const version = this.versionText(this.version)
    let last: Row | null = null
    for (let at = query.after === null ? 0 : (ranking?.after(query.after) ?? 0); at < rows.length; at += 1) {
      const row = rows[at]!
      if (!matches(row, query)) continue
      if (last !== null && entries.length === query.limit)
        return { entries, gone: [], next: cursorAfter(last), more: true, version }
      entries.push(row.entry)
      last = row
    }
    return { entries, gone: [], next: null, more: false, version }
  }

  #changed(query: SellersQuery, since: number): Omit<Page, 'reset'> {
    const entries: Entry[] = []
    const gone: PeerId[] = []
    const all = { ...query, stale: true }
    for (const peer of this.#changes.after(since)) {
      if (entries.length === query.limit || gone.length === mostGone) {
        // What comes next begins with this change.
        const version = this.versionText(this.#changes.versionOf(peer) - 1)
        return { entries, gone, next: null, more: true, version }
      }
      const entry = this.#entries.get(peer)
      const row = entry && rowOf(entry, query.model)
      if (entry && row && matches(row, all)) entries.push(entry)
      // One that only told its load did not match before either.
      else if (!entry || entry.state === 'left' || entry.recordVersion > since) gone.push(peer)
    }
    return { entries, gone, next: null, more: false, version: this.versionText(this.version) }
  }

  #newEntry(record: SellerRecord, binding: SignedBinding): Entry {
    const entry: Entry = {
      peer: record.peer,
      ...recordFields(record, binding),
      beatText: null,
      beatSeq: null,
      state: 'stale',
      firstSeenMs: this.#now(),
      lastSeenMs: 0,
      heartbeats: 0,
      wasLiveMs: 0,
      liveFromMs: 0,
      recordVersion: 0,
      from: null,
      askedMs: 0,
      health: null,
    }
    this.#entries.set(entry.peer, entry)
    this.#counts.stale += 1
    return entry
  }

  #see(entry: Entry, { from, seenMs }: Source): void {
    entry.from = from
    entry.lastSeenMs = Math.max(entry.lastSeenMs, seenMs)
    this.#become(entry, this.#now() - entry.lastSeenMs < liveMs ? 'live' : 'stale')
  }

  #become(entry: Entry, state: EntryState): void {
    if (entry.state === state) return
    if (entry.state === 'live') entry.wasLiveMs += this.#now() - entry.liveFromMs
    if (state === 'live') entry.liveFromMs = this.#now()
    this.#counts[entry.state] -= 1
    this.#counts[state] += 1
    if (state === 'left') this.#unlist(entry)
    else if (entry.state === 'left') this.#list(entry)
    entry.state = state
  }

  // News is whatever moves a seller in or out of lists; the load of one that stays where it is can wait.
  #touch(entry: Entry, isNews: boolean): number {
    const version = this.#changes.touch(entry.peer)
    this.#all.note(version, isNews)
    for (const { id } of entry.models) this.#byModel.get(id)?.note(version, isNews)
    return version
  }

  #list(entry: Entry): void {
    this.#all.add({ price: 0n, entry, model: null })
    for (const model of entry.models) {
      let ranking = this.#byModel.get(model.id)
      if (ranking === undefined) this.#byModel.set(model.id, (ranking = new Ranking()))
      ranking.add({ price: rankPrice(model), entry, model })
    }
  }

  #unlist(entry: Entry): void {
    const { peer } = entry
    this.#all.remove({ price: 0n, peer })
    for (const model of entry.models) {
      const ranking = this.#byModel.get(model.id)
      ranking?.remove({ price: rankPrice(model), peer })
      if (ranking?.rows.length === 0) this.#byModel.delete(model.id)
      else ranking?.note(this.version + 1, true)
    }
  }

  #forget(entry: Entry): void {
    this.#unlist(entry)
    this.#entries.delete(entry.peer)
    this.#counts[entry.state] -= 1
    this.#all.note(this.#changes.touch(entry.peer), true)
  }

  // Whoever was silent longest goes first, so that a crowd of new names cannot push out those that work.
  #forgetSilent(): boolean {
    let silent: Entry | null = null
    for (const entry of this.#entries.values()) {
      if (entry.state !== 'live' && (silent === null || entry.lastSeenMs < silent.lastSeenMs)) silent = entry
    }
    if (silent === null) return false
    this.#forget(silent)
    return true
  }
}

/** The entry as a row of a model; null when it does not offer that. */
function rowOf(entry: Entry, id: string | null): Row | null {
  if (id === null) return { price: 0n, entry, model: null }
  const model = entry.models.find((one) => one.id === id)
  return model === undefined ? null : { price: 0n, entry, model }
}
