/** The sellers a buyer was told of: what they offer, how they do, and why a model cannot be had. */
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { normaliseSellerUrl, type SellerClient } from '../net/seller-client.ts'
import type { SellerTerms } from '../wire/terms.ts'
import type { ModelListing } from './exchange-types.ts'
import { afterReport, freshHealth, type SellerHealth, type SellerReport } from './health.ts'
import { nearNames } from './near-names.ts'
import type { Candidate } from './route.ts'
import { SellerEntry } from './seller-entry.ts'
import type { TermsRules } from './terms-check.ts'

export interface MarketOptions extends TermsRules {
  urls: readonly string[]
  clientFor: (url: string) => SellerClient
  /** Terms as JSON text, kept for the next start. */
  saveTerms: (url: string, terms: string, atMs: number) => Promise<unknown>
  loadTerms: () => Promise<readonly { url: string; terms: string; atMs: number }[]>
  now: Clock
  log: Log
}

export interface Market {
  /** Lowest price of each model that can be bought now, by name. */
  listModels(): ModelListing[]
  /**
   * Offers of this model that can be paid now. With known terms it answers at once; else it waits for the sellers, a
   * few seconds at most. Throws `model_not_found`, `no_seller` or `seller_unreachable`.
   */
  candidates(model: string): Promise<Candidate[]>
  /** The connection to a seller. Throws `no_seller` for one that was not told. */
  client(url: string): SellerClient
  /** The last verified terms, offers expired or not; null when there are none or the seller is refused. */
  terms(url: string): SellerTerms | null
  health(): ReadonlyMap<string, SellerHealth>
  report(url: string, report: SellerReport): void
  close(): Promise<void>
}

/** Starts with what was stored; asks the sellers in the background. An unreachable seller is no error here. */
export async function openMarket(options: MarketOptions): Promise<Market> {
  const { now } = options
  const urls = new Set(options.urls.map(normaliseSellerUrl))
  const sellers = new Map(
    [...urls].map((url) => [url, new SellerEntry({ ...options, client: options.clientFor(url) })]),
  )
  const health = new Map<string, SellerHealth>()
  for (const { url, terms, atMs } of await options.loadTerms()) sellers.get(url)?.remember(terms, atMs)

  const report = (url: string, seen: SellerReport) => {
    health.set(url, afterReport(health.get(url) ?? freshHealth, seen, now()))
  }

  async function refresh(seller: SellerEntry): Promise<void> {
    await seller.refresh()
    if (seller.failure !== null) report(seller.url, { kind: 'failed' })
  }

  function refreshStale(): void {
    for (const seller of sellers.values()) {
      const isCooling = (health.get(seller.url)?.coolUntilMs ?? 0) > now()
      if (seller.needsRefresh() && !isCooling) void refresh(seller)
    }
  }

  const allCandidates = () => [...sellers.values()].flatMap((seller) => seller.candidates())
  const offersOf = (model: string) =>
    allCandidates().filter(({ signedOffer }) => signedOffer.details.model === model)

  refreshStale()
  return {
    listModels() {
      refreshStale()
      return summariseModels(allCandidates())
    },
    async candidates(model) {
      refreshStale()
      let found = offersOf(model)
      const waiting = new Set<Promise<void>>()
      if (found.length === 0) {
        // Nobody to go to: now a seller that failed lately is worth asking too.
        for (const seller of sellers.values()) {
          if (!seller.needsRefresh()) continue
          const asked: Promise<void> = refresh(seller).then(() => void waiting.delete(asked))
          waiting.add(asked)
        }
      }
      while (found.length === 0 && waiting.size > 0) {
        await Promise.race(waiting)
        found = offersOf(model)
      }
      if (found.length > 0) return found
      throw explainNone(model, [...sellers.values()])
    },
    client(url) {
      const seller = sellers.get(url)
      if (seller === undefined)
        throw new OpenSeedError('no_seller', { message: `${url} is not a seller of this node.` })
      return seller.client
    },
    terms: (url) => sellers.get(url)?.terms ?? null,
    health: () => health,
    report,
    async close() {
      await Promise.all([...sellers.values()].map((seller) => seller.close()))
    },
  }
}

function summariseModels(candidates: readonly Candidate[]): ModelListing[] {
  const models = new Map<string, ModelListing>()
  for (const { signedOffer } of candidates) {
    const { offer, details } = signedOffer
    const known = models.get(details.model)
    const sellers = (known?.sellers ?? 0) + 1
    const isCheaper = known === undefined || offer.priceIn + offer.priceOut < known.priceIn + known.priceOut
    const { maxContext, maxOutput, priceIn, priceOut } = isCheaper ? offer : known
    models.set(details.model, { id: details.model, sellers, maxContext, maxOutput, priceIn, priceOut })
  }
  return [...models.values()].toSorted((a, b) => (a.id < b.id ? -1 : 1))
}

function explainNone(model: string, sellers: readonly SellerEntry[]): OpenSeedError {
  if (sellers.length === 0) {
    return new OpenSeedError('no_seller', {
      message: 'This node knows no seller.',
      hint: 'Start it with one: openseed buy --seller http://host:8403',
    })
  }
  const reasons = sellers.flatMap(({ url, refused, failure }) => {
    if (refused !== null) return [`${url} is refused: ${refused}.`]
    return failure === null ? [] : [failure.message]
  })
  const details = { param: 'model', model }
  const known = sellers.flatMap(({ terms }) => terms?.offers.map((signed) => signed.details.model) ?? [])
  if (known.includes(model)) {
    return new OpenSeedError('no_seller', {
      message: [`The offers for the model "${model}" have expired and were not renewed.`, ...reasons].join(
        ' ',
      ),
      hint: 'Check that the seller runs and that both clocks are right.',
      details,
    })
  }
  if (sellers.some((seller) => seller.failure === null && seller.terms !== null)) {
    const near = nearNames(model, [...new Set(known)])
    return new OpenSeedError('model_not_found', {
      message: [`No seller in reach offers the model "${model}".`, ...reasons].join(' '),
      hint:
        near.length > 0
          ? `Did you mean ${near.map((name) => `"${name}"`).join(', ')}?`
          : 'GET /v1/models lists what can be bought.',
      details: { ...details, near },
    })
  }
  const isUnreachable = sellers.every(({ failure }) => failure !== null)
  return new OpenSeedError(isUnreachable ? 'seller_unreachable' : 'no_seller', {
    message: reasons.join(' '),
    hint: isUnreachable
      ? 'Check the address, and that `openseed sell` runs there.'
      : 'Tell the node another seller with --seller.',
    details,
  })
}
