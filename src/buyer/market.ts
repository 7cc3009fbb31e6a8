/** The sellers a buyer was told of or has found: what they offer and how they do. */
import { Changes } from '../base/changes.ts'
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { normaliseSellerUrl, type SellerClient } from '../net/seller-client.ts'
import { peerOfAddress } from '../wire/seller-address.ts'
import type { SellerTerms } from '../wire/terms.ts'
import type { AnnouncedSeller } from './announced.ts'
import { explainNone, type Discovery } from './explain-none.ts'
import type { ModelListing } from './exchange-types.ts'
import { afterReport, freshHealth, type SellerHealth, type SellerReport } from './health.ts'
import type { Candidate } from './route.ts'
import { SellerEntry } from './seller-entry.ts'
import type { TermsRules } from './terms-check.ts'
import { chooseWarm } from './warm-set.ts'

export interface MarketOptions extends TermsRules {
  /** Sellers the user named; whoever answers there is trusted to be the one. */
  urls: readonly string[]
  /** Where else sellers may come from; absent when nothing is asked. */
  discovery?: Discovery
  clientFor: (url: string) => SellerClient
  /** Terms as JSON text, kept for the next start. */
  saveTerms: (url: string, terms: string, atMs: number) => Promise<unknown>
  loadTerms: () => Promise<readonly { url: string; terms: string; atMs: number }[]>
  now: Clock
  log: Log
}

export interface Market {
  /** What registries announce, all of it; replaces what was announced before. Told sellers are not touched. */
  setSellers(sellers: readonly AnnouncedSeller[]): void
  /** Lowest price of each model that is offered or announced, by name. */
  listModels(): ModelListing[]
  /**
   * Offers of this model that can be paid now. With known terms it answers at once; else it waits for the sellers, a
   * few seconds at most. Throws `model_not_found`, `no_seller` or `seller_unreachable`.
   */
  candidates(model: string): Promise<Candidate[]>
  /** Told sellers that speak x402 alone and may serve this model, the best behaved first. */
  stockSellers(model: string): string[]
  /** Models that such sellers list, by name. */
  stockModels(): string[]
  /** The connection to a seller. Throws `no_seller` for one that was not told. */
  client(url: string): SellerClient
  /** Before money is brought to a seller: hears from it, unless that was within a minute. Throws `seller_…`. */
  probe(url: string): Promise<void>
  /** The last verified terms, offers expired or not; null when there are none or the seller is refused. */
  terms(url: string): SellerTerms | null
  health(): ReadonlyMap<string, SellerHealth>
  report(url: string, report: SellerReport): void
  close(): Promise<void>
}

// Whoever is slow to tell must not hold a client that could go elsewhere; with the terms' 2 s it is still bearable.
const discoverWithinMs = 1200
const mostRetired = 256

/** Starts with what was stored; asks the sellers in the background. An unreachable seller is no error here. */
export async function openMarket(options: MarketOptions): Promise<Market> {
  const { now, discovery } = options
  const told = new Set(options.urls.map(normaliseSellerUrl))
  const announced = new Map<string, AnnouncedSeller[]>()
  /** Sellers whose terms we have or want. Those no longer announced stay for what still runs there. */
  const entries = new Map<string, SellerEntry>()
  const wanted = new Set<string>()
  const health = new Map<string, SellerHealth>()
  const stored = new Map((await options.loadTerms()).map((row) => [row.url, row]))
  const news = new Changes<'announced'>()
  /** Whether the choice of whom to keep warm is to be made again. */
  let isOutdated = false
  let isClosed = false

  function enter(url: string): SellerEntry {
    const known = entries.get(url)
    if (known !== undefined) return known
    const identities = () => {
      const named = announced.get(url)
      // Whom the user named is whoever answers there; but a peer is held to what it signed itself.
      if (told.has(url) && (named === undefined || peerOfAddress(url) === null)) return null
      return named ?? []
    }
    const entry = new SellerEntry({ ...options, identities, client: options.clientFor(url) })
    const row = stored.get(url)
    if (row !== undefined) entry.remember(row.terms, row.atMs)
    entries.set(url, entry)
    return entry
  }

  const report = (url: string, seen: SellerReport) => {
    health.set(url, afterReport(health.get(url) ?? freshHealth, seen, now()))
    if (seen.kind !== 'failed') return
    // Asked for its terms as soon as it may be asked: no client has to find out whether it is back.
    entries.get(url)?.recheck()
    warmSoon()
  }

  async function refresh(seller: SellerEntry): Promise<void> {
    await seller.refresh()
    if (seller.failure !== null) report(seller.url, { kind: 'failed' })
    else if (health.get(seller.url)?.isSilent) report(seller.url, { kind: 'heard' })
    if (seller.refused !== null) warmSoon()
  }

  const isActive = (url: string) => told.has(url) || announced.has(url)
  const active = () => [...entries.values()].filter(({ url }) => isActive(url))

  const isRefused = (url: string) => (entries.get(url)?.refused ?? null) !== null
  const fails = (url: string) => (health.get(url)?.failures ?? 0) > 0 || isRefused(url)

  function warm(): void {
    isOutdated = false
    const sellers = [...announced.values()].flat()
    for (const { url } of chooseWarm(sellers, wanted, fails)) enter(url)
  }

  /** Somebody failed: in a large market another one may take the place. Sellers that fail together do so once. */
  function warmSoon(): void {
    if (isOutdated) return
    isOutdated = true
    setImmediate(() => {
      if (!isOutdated || isClosed) return
      warm()
      refreshStale()
    })
  }

  function refreshStale(): void {
    for (const seller of active()) {
      const isCooling = (health.get(seller.url)?.coolUntilMs ?? 0) > now()
      if (seller.needsRefresh() && !isCooling) void refresh(seller)
    }
  }

  function retire(): void {
    const retired = [...entries.keys()].filter((url) => !isActive(url))
    for (const url of retired.slice(0, -mostRetired)) {
      void entries.get(url)?.stop()
      entries.delete(url)
      health.delete(url)
    }
  }

  const candidatesOf = (seller: SellerEntry) => {
    const isFull = announced.get(seller.url)?.every((one) => one.isFull) ?? false
    return seller.candidates().map((candidate) => ({ ...candidate, isFull }))
  }
  const offersOf = (model: string) =>
    active()
      .flatMap(candidatesOf)
      .filter(({ signedOffer }) => signedOffer.details.model === model)

  const isAnnounced = (model: string) =>
    [...announced.values()].some((sellers) =>
      sellers.some(({ models }) => models?.some(({ id }) => id === model)),
    )

  /** Sellers of a model of which we keep no terms yet; from now on we do. */
  function want(model: string): void {
    if (wanted.has(model) || !isAnnounced(model)) return
    wanted.add(model)
    warm()
  }

  /**
   * Asks everybody, also those that failed lately, until one has the model; waits for further sellers until `looked`,
   * and not for long.
   */
  async function search(model: string, looked: Promise<void>): Promise<Candidate[]> {
    const over = new AbortController()
    const signal = AbortSignal.any([over.signal, AbortSignal.timeout(discoverWithinMs)])
    void looked.then(() => over.abort())
    const asked = new Set<SellerEntry>()
    const waiting = new Set<Promise<void>>()
    const endMs = performance.now() + discoverWithinMs
    for (;;) {
      want(model)
      if (isOutdated && performance.now() < endMs) warm()
      for (const seller of active()) {
        if (asked.has(seller) || !seller.needsRefresh()) continue
        asked.add(seller)
        const answered: Promise<void> = refresh(seller).then(() => void waiting.delete(answered))
        waiting.add(answered)
      }
      const found = offersOf(model)
      if (found.length > 0 || (waiting.size === 0 && signal.aborted)) return found
      const more = signal.aborted ? [] : [news.next('announced', signal)]
      await Promise.race([...waiting, ...more])
    }
  }

  for (const url of told) enter(url)
  refreshStale()
  return {
    setSellers(sellers) {
      const before = new Map(announced)
      announced.clear()
      for (const seller of sellers) announced.set(seller.url, [...(announced.get(seller.url) ?? []), seller])
      for (const [url, entry] of entries) {
        const [then, ones] = [before.get(url), announced.get(url)]
        if (then !== undefined && ones !== undefined && saidBy(then) !== saidBy(ones)) entry.recheck()
      }
      warm()
      retire()
      refreshStale()
      news.wake('announced')
    },
    listModels() {
      refreshStale()
      const believed = [...announced.values()].flat().filter(({ url }) => !isRefused(url))
      return summariseModels(active().flatMap(candidatesOf), believed)
    },
    async candidates(model) {
      // Told at every request: what is asked for is what is looked for.
      const looked = discovery?.look(model)
      want(model)
      refreshStale()
      const known = offersOf(model)
      if (known.length > 0) return known
      const found = await search(model, looked ?? Promise.resolve())
      if (found.length > 0) return found
      throw explainNone(model, active(), discovery)
    },
    stockSellers(model) {
      const coolUntil = (url: string) => Math.max(now(), health.get(url)?.coolUntilMs ?? 0)
      return active()
        .filter(({ stock }) => stock !== null && (stock.models?.includes(model) ?? true))
        .map(({ url }) => url)
        .toSorted((a, b) => coolUntil(a) - coolUntil(b))
    },
    stockModels: () => [...new Set(active().flatMap(({ stock }) => stock?.models ?? []))].toSorted(),
    client(url) {
      const seller = entries.get(url)
      if (seller === undefined)
        throw new OpenSeedError('no_seller', { message: `${url} is not a seller of this node.` })
      return seller.client
    },
    async probe(url) {
      const seller = entries.get(url)
      if (seller === undefined || !seller.needsRefresh()) return
      await refresh(seller)
      if (seller.failure !== null) throw seller.failure
    },
    terms: (url) => entries.get(url)?.terms ?? null,
    health: () => health,
    report,
    async close() {
      isClosed = true
      await Promise.all([...entries.values()].map((seller) => seller.close()))
    },
  }
}

/** Who is paid and what for: when that changes, the terms we have are not theirs any more. */
const saidBy = (sellers: readonly AnnouncedSeller[]) =>
  sellers
    .map(({ payTo, authorizer, models }) => {
      const terms = models?.map((model) => Object.values(model).join(' ')) ?? []
      return [payTo, authorizer, ...terms].join(' ')
    })
    .toSorted()
    .join()

/** Signed offers first; what is only announced counts where a seller's own terms are not known yet. */
function summariseModels(
  candidates: readonly Candidate[],
  announced: readonly AnnouncedSeller[],
): ModelListing[] {
  const models = new Map<string, ModelListing>()
  const add = (listing: Omit<ModelListing, 'sellers'>) => {
    const known = models.get(listing.id)
    const sellers = (known?.sellers ?? 0) + 1
    const isCheaper =
      known === undefined || listing.priceIn + listing.priceOut < known.priceIn + known.priceOut
    models.set(listing.id, { ...(isCheaper ? listing : known), sellers })
  }
  const known = new Set<string>()
  for (const { sellerUrl, signedOffer } of candidates) {
    const { offer, details } = signedOffer
    const { maxContext, maxOutput, priceIn, priceOut } = offer
    known.add(sellerUrl)
    add({ id: details.model, maxContext, maxOutput, priceIn, priceOut })
  }
  for (const { url, models } of announced) if (!known.has(url)) for (const model of models ?? []) add(model)
  return [...models.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1))
}
