/** The buyer's warm table of sellers: heard of from registries, the DHT and neighbours, merged, and kept on disk. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { asOpenSeedError, type OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { RegistryFeed } from '../net/registry-feed.ts'
import type { SellerNews } from '../net/seller-news.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { encodeRecord, parseRecord } from '../wire/record.ts'
import { KnownSellers, type KnownSeller } from './announced.ts'
import { openBindingCheck, type BindingCheckParts } from './binding-check.ts'
import { judgeNews } from './judge-news.ts'
import { reachOf, type ReachRules } from './reach.ts'

export interface DirectoryOptions extends ReachRules, BindingCheckParts {
  /** Called whenever the table changed. */
  onChange: (sellers: Iterable<KnownSeller>) => void
  /** The table of the last session as JSON text; null when there is none. */
  load: () => Promise<string | null>
  save: (text: string) => Promise<unknown>
  now: Clock
  log: Log
}

export interface Directory {
  /** Asks one registry more, for as long as the directory lives. */
  add(feed: RegistryFeed): void
  /**
   * What somebody else than a registry told of sellers, `from` names them. Resolves when it is in the table, with how
   * many of them can be used.
   */
  take(from: string, news: readonly SellerNews[]): Promise<number>
  /** The seller as its newest record says. */
  find(peer: PeerId): KnownSeller | null
  /** What keeps somebody from being asked at all; null when that is over. */
  blame(name: string, error: OpenSeedError | null): void
  /** Work that will lead to a registry or to none; `ready` and `settled` wait for it. */
  expect(work: Promise<void>): void
  /** Resolves when a seller is known, or `settled` does. */
  ready(): Promise<void>
  /** Resolves when all registries have answered or failed once. */
  settled(): Promise<void>
  /** How many registries answered the last time they were asked. */
  answering(): number
  /** What went wrong the last time, of each registry that gave no answer. */
  failures(): OpenSeedError[]
  close(): Promise<void>
}

// While few are known, a new one matters: it may be the only one that has the model.
const few = 200
const eagerMs = 1000
// However many there are, a new one or a new price is to be seen within three seconds.
const patientMs = 2000
const retryMs = 2000
// More than the longest list has.
const mostPieces = 200
const saveEveryMs = 60_000
const mostSaved = 256

export async function openDirectory(options: DirectoryOptions): Promise<Directory> {
  const { now, log } = options
  const stop = new AbortController()
  const known = new KnownSellers()
  const bindings = openBindingCheck(options)
  const judging = { rules: options, bindings }
  const feeds = new Map<string, RegistryFeed>()
  const failures = new Map<string, OpenSeedError>()
  const answering = new Set<string>()
  const loops = new Set<Promise<void>>()
  const firsts = new Set<Promise<void>>()
  const found = Promise.withResolvers<void>()
  let savedAtMs = -Infinity
  let isSaved = true
  let saving: Promise<void> | null = null

  const publish = () => {
    if (known.size > 0) found.resolve()
    options.onChange(known)
  }

  async function save(): Promise<void> {
    if (isSaved) return
    isSaved = true
    savedAtMs = now()
    await options.save(encodeKnown(known)).catch((err: unknown) => {
      log.warn({ err }, 'the known sellers could not be stored')
    })
  }

  async function take(
    from: string,
    news: readonly SellerNews[],
  ): Promise<{ changed: boolean; used: number }> {
    let changed = false
    let used = 0
    for (const one of news) {
      const again = () => void take(from, [one]).then((later) => adopt(later.changed))
      const seller = await judgeNews(one, known.get(one.record.peer), judging, again)
      if (seller === null) continue
      changed = known.merge(seller, from) || changed
      used += 1
    }
    if (used < news.length) log.debug({ from, unusable: news.length - used }, 'sellers that are not used')
    return { changed, used }
  }

  function adopt(changed: boolean): void {
    if (!changed || stop.signal.aborted) return
    isSaved = false
    publish()
    saveSoon()
  }

  /** What was heard is kept within a minute, from whomever: the process may end without a word. */
  function saveSoon(): void {
    saving ??= sleep(Math.max(0, savedAtMs + saveEveryMs - now()), undefined, {
      signal: stop.signal,
      ref: false,
    })
      .then(save)
      .catch(() => undefined)
      .finally(() => (saving = null))
  }

  /** True when the registry has more to tell at once. */
  async function refresh(feed: RegistryFeed): Promise<boolean> {
    const { listings, gone, refused, isPartial } = await feed.next(stop.signal)
    let { changed } = await take(feed.url, listings)
    if (refused > 0) log.debug({ registry: feed.url, refused }, 'listings that are not to be believed')
    for (const peer of gone) changed = known.unlist(peer, feed.url) || changed
    // Only while somebody answers: with all of them gone, old sellers are better than none.
    changed = known.forgetExpired(now() / 1000) || changed
    adopt(changed)
    return isPartial
  }

  async function follow(feed: RegistryFeed, first: PromiseWithResolvers<void>): Promise<void> {
    let pieces = 0
    while (!stop.signal.aborted) {
      let waitMs = retryMs
      try {
        pieces = (await refresh(feed)) ? pieces + 1 : 0
        failures.delete(feed.url)
        answering.add(feed.url)
        // A registry that always knows more keeps nobody waiting, and is asked no more often than others.
        const isPartial = pieces > 0 && pieces < mostPieces
        if (!isPartial) first.resolve()
        waitMs = isPartial ? 0 : known.size < few ? eagerMs : patientMs
      } catch (thrown) {
        if (stop.signal.aborted) break
        const err = asOpenSeedError(thrown)
        if (!failures.has(feed.url)) log.warn({ registry: feed.url, err }, 'a registry does not answer')
        failures.set(feed.url, err)
        answering.delete(feed.url)
        first.resolve()
      }
      await sleep(waitMs, undefined, { signal: stop.signal, ref: false }).catch(() => undefined)
    }
    first.resolve()
  }

  async function allAnswered(): Promise<void> {
    for (let count = -1; count < firsts.size;) {
      count = firsts.size
      await Promise.all(firsts)
    }
  }

  for (const seller of decodeKnown(await options.load(), options)) known.merge(seller, null)
  publish()
  return {
    add(feed) {
      if (feeds.has(feed.url)) return
      feeds.set(feed.url, feed)
      const first = Promise.withResolvers<void>()
      firsts.add(first.promise)
      loops.add(follow(feed, first))
    },
    async take(from, news) {
      const { changed, used } = await take(from, news)
      const hasForgotten = used > 0 && known.forgetExpired(now() / 1000)
      adopt(changed || hasForgotten)
      return used
    },
    find: (peer) => known.get(peer) ?? null,
    expect: (work) => void firsts.add(work),
    blame(name, error) {
      if (error === null) failures.delete(name)
      else failures.set(name, error)
    },
    ready: () => Promise.race([found.promise, allAnswered()]),
    settled: allAnswered,
    answering: () => answering.size,
    failures: () => [...failures.values()],
    async close() {
      stop.abort()
      bindings.close()
      await Promise.all(loops)
      await Promise.all([...feeds.values()].map((feed) => feed.close()))
      await saving
      await save()
    },
  }
}

function encodeKnown(known: KnownSellers): string {
  const newest = [...known].toSorted((a, b) => b.record.seq - a.record.seq).slice(0, mostSaved)
  return `[${newest.map(({ record }) => encodeRecord(record)).join(',')}]`
}

/** Records of the last session: verified before they were stored, and perhaps expired since. */
function decodeKnown(text: string | null, options: DirectoryOptions): KnownSeller[] {
  if (text === null) return []
  try {
    return (JSON.parse(text) as unknown[]).flatMap((input) => {
      const record = parseRecord(input)
      const reach = record.type === 'seller' ? reachOf(record, options) : null
      return record.type !== 'seller' || reach === null
        ? []
        : [{ record, heartbeat: null, metAt: [], ...reach }]
    })
  } catch (err) {
    options.log.warn({ err }, 'the sellers of the last session are unreadable')
    return []
  }
}
