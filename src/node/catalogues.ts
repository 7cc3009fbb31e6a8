/** Models of sellers whose catalogue is too large for their record: read from the sellers, a few at a time. */
import { asOpenSeedError, type OpenSeedError } from '../base/errors.ts'
import { fetchCatalogue } from '../net/catalogue.ts'
import type { Host } from '../net/p2p/open-host.ts'
import { passesAll, type Filter } from '../search/filter.ts'
import { isOfModel } from '../search/fields.ts'
import type { Listing } from '../search/listing.ts'
import { observed } from '../search/observed.ts'
import type { Hex } from '../wire/hex.ts'
import type { PeerId } from '../wire/peer-id.ts'
import type { RecordModel } from '../wire/seller-record.ts'

export interface CatalogueFailure {
  peer: PeerId
  error: OpenSeedError
}

export interface Filled {
  listings: Listing[]
  failures: CatalogueFailure[]
  /** Catalogues that nobody had time for. */
  unread: number
}

export interface Catalogues {
  /** The listings with the models of those that may pass these filters. */
  fill(listings: readonly Listing[], filters: readonly Filter[]): Promise<Filled>
}

export interface CataloguesOptions {
  allowPrivate: boolean
  /** For sellers that have no URL. */
  host: () => Promise<Pick<Host, 'connect'>>
  signal: AbortSignal
}

const mostRead = 32
const readAtOnce = 8
const deadlineMs = 1_500

/** Keeps what it has read: a hash has one catalogue. */
export function openCatalogues({ allowPrivate, host, signal }: CataloguesOptions): Catalogues {
  const known = new Map<Hex, readonly RecordModel[]>()

  async function read({ record: { peer, body } }: Listing, within: AbortSignal): Promise<void> {
    const { catalog, url, addrs } = body
    if (catalog === null || known.has(catalog.hash)) return
    const connect = async (signal: AbortSignal) => (await host()).connect({ peer, addrs }, { signal })
    const rules = { allowPrivate, signal: within, ...(url === null && { connect }) }
    known.set(catalog.hash, await fetchCatalogue(catalog, rules))
  }

  return {
    async fill(listings, filters) {
      const ofSeller = filters.filter((filter) => !isOfModel(filter.field))
      const wanted = listings
        .filter((listing) => isElsewhere(listing) && passesAll(ofSeller, { listing, model: null }))
        // Those that answer others first: names that lead nowhere cost nothing to make.
        .toSorted((a, b) => answering(b) - answering(a))
      const waiting = wanted.slice(0, mostRead)
      const failures: CatalogueFailure[] = []
      const within = AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)])
      const work = async () => {
        for (let next = waiting.shift(); next; next = waiting.shift()) {
          try {
            await read(next, within)
          } catch (error) {
            signal.throwIfAborted()
            failures.push({ peer: next.record.peer, error: asOpenSeedError(error) })
          }
        }
      }
      await Promise.all(Array.from({ length: Math.min(readAtOnce, waiting.length) }, work))
      const modelsOf = (listing: Listing) => {
        const { catalog } = listing.record.body
        return (catalog && known.get(catalog.hash)) ?? null
      }
      return {
        listings: listings.map((listing) =>
          isElsewhere(listing) ? { ...listing, models: modelsOf(listing) } : listing,
        ),
        failures,
        unread: wanted.length - Math.min(wanted.length, mostRead),
      }
    },
  }
}

function answering(listing: Listing): number {
  return observed(listing, ({ success }) => success ?? null) ?? 0
}

function isElsewhere({ models, record }: Listing): boolean {
  return models === null && record.body.catalog !== null
}
