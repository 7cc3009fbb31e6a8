/** `openseed search`: what registries or the DHT tell, what passes the filters, and what is measured from here. */
import { systemClock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import { passesAll, type Filter } from '../search/filter.ts'
import { parseQuery } from '../search/grammar.ts'
import { listingOf, rowsOf, type Listing, type ListingRules, type Row } from '../search/listing.ts'
import { asksOfState } from '../search/push-down.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { openCatalogues, type Filled } from './catalogues.ts'
import { readOwnRequests } from './own-requests.ts'
import type { BindingStatus } from './judge-binding.ts'
import type { Enough } from './registry-survey.ts'
import type { Probe } from './seller-trip.ts'
import { openSources, type Asked, type Gathered, type SearchSettings } from './search-sources.ts'

export interface Found extends Asked, Pick<Filled, 'failures' | 'unread'> {
  /** What passes every filter, in no order. */
  rows: Row[]
  /** There are more sellers than were read. */
  isPart: boolean
}

export interface Shown extends Asked, Pick<Filled, 'failures'> {
  listing: Listing
  /** Of the wallet's signature for this node. Record and heartbeat are valid, or would not be here. */
  binding: BindingStatus
}

export interface SearchTools extends AsyncDisposable {
  /** Throws `registry_unreachable`, `dht_unreachable` and the like when nobody answers. */
  find(filters: readonly Filter[], enough: Enough): Promise<Found>
  /** Every row there is and every filter, with those that nobody wrote: to explain why nothing was found. */
  findAll(filters: readonly Filter[]): Promise<{ rows: Row[]; filters: Filter[] }>
  /** By the id or how it begins. Throws `seller_not_found`, or `usage` when several begin so. */
  show(seller: string): Promise<Shown>
  /** Round trips to these sellers, from here and now; who was asked before is not asked again when that will do. */
  probe(listings: readonly Listing[], options?: { mayBeOld?: boolean }): Promise<Map<PeerId, Probe>>
}

const probesAtOnce = 8

export function openSearchTools(settings: SearchSettings): SearchTools {
  const { allowPrivate, network, signal, now = systemClock } = settings
  const sources = openSources({ ...settings, now })
  const catalogues = openCatalogues({ allowPrivate, signal, host: async () => (await sources.dht()).host() })

  let probed: ReadonlyMap<PeerId, Probe> = new Map()

  async function fill(
    { sellers }: Gathered,
    filters: readonly Filter[],
    more: Pick<ListingRules, 'own'> = {},
  ): Promise<Filled> {
    const rules = { nowMs: now(), allowPrivate, ...more }
    return await catalogues.fill(
      sellers.map((seller) => listingOf(seller, rules)),
      filters,
    )
  }

  return {
    async find(filters, enough) {
      const gathered = await sources.matching(filters, enough)
      const all = withState(filters, gathered)
      const { listings, ...rest } = await fill(gathered, all)
      return {
        ...askedOf(gathered),
        ...rest,
        rows: listings.flatMap(rowsOf).filter((row) => passesAll(all, row)),
        isPart: gathered.isPart,
      }
    },
    async findAll(filters) {
      const gathered = await sources.all(filters)
      const { listings } = await fill(gathered, [])
      return { rows: listings.flatMap(rowsOf), filters: withState(filters, gathered) }
    },
    async show(seller) {
      const gathered = await sources.named(seller)
      // Here and in no list: to open the database takes a tenth of what a whole search may.
      const own = await readOwnRequests(settings.folders.buyer)
      const { listings, failures } = await fill(gathered, [], { own })
      const listing = onlyOne(listings, seller, gathered)
      // Loaded when it is needed: elliptic curves and the chain are most of what a search would have to load.
      const { judgeBinding } = await import('./judge-binding.ts')
      return {
        ...askedOf(gathered),
        failures,
        listing,
        binding: await judgeBinding(listing, network, now()),
      }
    },
    async probe(listings, { mayBeOld = false } = {}) {
      const { openTrips } = await import('./seller-trip.ts')
      const trip = openTrips({ allowPrivate, signal, host: async () => (await sources.dht()).host() })
      const probes = new Map(mayBeOld ? probed : [])
      const waiting = listings.filter(({ record }) => !probes.has(record.peer))
      const work = async () => {
        for (let next = waiting.shift(); next; next = waiting.shift())
          probes.set(next.record.peer, await trip(next.record))
      }
      await Promise.all(Array.from({ length: probesAtOnce }, work))
      probed = probes
      return probes
    },
    [Symbol.asyncDispose]: () => sources[Symbol.asyncDispose](),
  }
}

function askedOf({ source, registries, servers }: Gathered): Asked {
  return { source, registries, servers }
}

/** A silent seller is no use to whoever wants to buy. Where nobody hears sellers, none is known to be silent. */
function withState(filters: readonly Filter[], { source }: Gathered): Filter[] {
  return source === 'dht' || asksOfState(filters) ? [...filters] : [...filters, ...parseQuery('state=live')]
}

function onlyOne(
  listings: readonly Listing[],
  seller: string,
  { isPart }: Pick<Gathered, 'isPart'>,
): Listing {
  const [listing, another] = listings
  if (listing && !another) return listing
  if (listing) {
    throw new OpenSeedError('usage', {
      message: `The ids of ${listings.length} sellers begin with ${seller}.`,
      hint: 'Write more of the id.',
    })
  }
  throw new OpenSeedError('seller_not_found', {
    message: isPart
      ? `Of the sellers that could be read none is called ${seller}, and there are more.`
      : `No seller is called ${seller}.`,
    hint: isPart
      ? 'Give the whole id, which --json shows.'
      : 'openseed search --nodes lists those there are.',
  })
}
