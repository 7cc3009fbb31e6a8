/** One question to every registry at once, and one word on each seller out of their answers. */
import { hasCode, OpenSeedError } from '../base/errors.ts'
import type { RegistryClient } from '../net/registry-client.ts'
import { passesAll, type Filter } from '../search/filter.ts'
import { listingOf, rowsOf, type Told } from '../search/listing.ts'
import { mergeLists } from '../search/merge.ts'
import { modelsAskedFor, pushDown, type PushedDown } from '../search/push-down.ts'
import { peerIdBytes, type PeerId } from '../wire/peer-id.ts'
import type { SellerListing } from '../wire/seller-listing.ts'
import { openRegistries } from './open-registries.ts'

/** How one registry answered. */
export interface RegistryAnswer {
  url: string
  /** Listings that were valid, before merging. */
  sellers: number
  /** Listings that were not. */
  refused: number
  error: OpenSeedError | null
}

/** When reading on is no use: there are this many rows, and registries list the best ones first. */
export interface Enough {
  rows: number
  /** False when the order is another than the registries' own, by price. */
  cheapestFirst: boolean
}

export interface Surveyed {
  sellers: Told[]
  registries: RegistryAnswer[]
  /** There are more sellers than were read. */
  isPart: boolean
}

/** A registry that gives no answer is told among the others. */
export interface Survey extends AsyncDisposable {
  readonly clients: readonly RegistryClient[]
  /** At least the sellers that pass, as far as they were read. */
  matching(filters: readonly Filter[], enough: Enough): Promise<Surveyed>
  all(): Promise<Surveyed>
  /** By the id or how it begins. */
  named(seller: string): Promise<Surveyed>
}

export interface SurveySettings {
  /** URLs, and domains whose DNS names some. */
  registries: readonly string[]
  allowPrivate: boolean
  signal: AbortSignal
}

const pageSize = 200
const mostPages = 5
// A beginning of an id may be anybody's.
const mostPagesToName = 100
/** No page is asked for after that: each call has its deadline, and a slow registry could take it many times. */
const patienceMs = 3_000
const mostNames = 8
const mostCatalogued = 64

/** Opens connections as they are needed. Throws `registry_unreachable` when no registry is configured or found. */
export async function openSurvey(settings: SurveySettings): Promise<Survey> {
  const { signal } = settings
  const clients = await openRegistries(settings.registries, settings)

  async function askAll(ask: (client: RegistryClient, turn: Turn) => Promise<Gathered>): Promise<Surveyed> {
    const turn = { signal, lateMs: performance.now() + patienceMs }
    const answers = await Promise.all(
      clients.map(async (client) => {
        try {
          return { url: client.url, error: null, ...(await ask(client, turn)) }
        } catch (error) {
          signal.throwIfAborted()
          if (!(error instanceof OpenSeedError)) throw error
          return { url: client.url, error, listings: [], refused: 0, isPart: false }
        }
      }),
    )
    return {
      sellers: mergeLists(answers),
      registries: answers.map(({ url, listings, refused, error }) => ({
        url,
        sellers: listings.length,
        refused,
        error,
      })),
      isPart: answers.some(({ isPart }) => isPart),
    }
  }

  return {
    clients,
    matching: (filters, enough) =>
      askAll((client, turn) => gather(client, filters, enough, { ...settings, turn })),
    all: () => askAll((client, turn) => readPages(client, { stale: true }, turn)),
    named: (seller) => askAll((client, turn) => lookFor(client, seller, turn)),
    async [Symbol.asyncDispose]() {
      await Promise.all(clients.map((client) => client.close()))
    },
  }
}

/** One question to one registry, which may take several calls. */
interface Turn {
  signal: AbortSignal
  /** Of the monotonic clock. */
  lateMs: number
}

interface Gathered {
  listings: SellerListing[]
  refused: number
  isPart: boolean
}

/** Of a model by its name where registries can do it: they keep the sellers of each model in order. */
async function gather(
  client: RegistryClient,
  filters: readonly Filter[],
  enough: Enough,
  { turn, allowPrivate }: Pick<SurveySettings, 'allowPrivate'> & { turn: Turn },
): Promise<Gathered> {
  const asked = pushDown(filters)
  if (modelsAskedFor(filters, []) === null) return readPages(client, asked, turn)
  const models = await readModels(client, turn)
  const names = modelsAskedFor(filters, models.names) ?? []
  if (names.length > mostNames) return readPages(client, asked, turn)
  const isEnough = (listings: readonly SellerListing[]) =>
    enough.cheapestFirst &&
    listings.length >= enough.rows &&
    countPassing(listings, filters, allowPrivate) >= enough.rows
  const firstPage = enough.cheapestFirst ? Math.min(enough.rows, pageSize) : pageSize
  const lists = await Promise.all([
    ...names.map((model) => readPages(client, { ...asked, model }, turn, { firstPage, isEnough })),
    readCatalogued(client, { stale: asked.stale === true }, turn),
  ])
  return {
    // A seller of two of these models stands in two lists.
    listings: [
      ...new Map(lists.flatMap(({ listings }) => listings).map((one) => [one.record.peer, one])).values(),
    ],
    refused: lists.reduce((sum, { refused }) => sum + refused, 0),
    isPart: models.isPart || lists.some(({ isPart }) => isPart),
  }
}

/** No registry knows what they sell: whoever wants a model has to look into their catalogues. */
async function readCatalogued(
  client: RegistryClient,
  query: { stale: boolean },
  turn: Turn,
): Promise<Gathered> {
  try {
    // One page is more than are looked into.
    const readOn = { firstPage: mostCatalogued, isEnough: () => true }
    return await readPages(client, { ...query, catalog: true }, turn, readOn)
  } catch (error) {
    // What else is asked of the registry tells whether it is there; an older one does not know this question.
    if (hasCode(error, 'registry_failed')) return { listings: [], refused: 0, isPart: false }
    throw error
  }
}

async function readModels(client: RegistryClient, turn: Turn): Promise<{ names: string[]; isPart: boolean }> {
  const names: string[] = []
  let cursor: string | null = null
  for (let page = 0; page < mostPages; page += 1) {
    const answer = await client.models(cursor ?? undefined, turn.signal)
    names.push(...answer.models.map(({ id }) => id))
    cursor = answer.next
    if (cursor === null || isLate(turn)) break
  }
  return { names, isPart: cursor !== null }
}

function isLate({ lateMs }: Turn): boolean {
  return performance.now() > lateMs
}

interface ReadOn {
  /** Every signature is checked, so that no more is read than is needed. */
  firstPage: number
  isEnough: (listings: readonly SellerListing[]) => boolean
  pages?: number
}

async function readPages(
  client: RegistryClient,
  query: PushedDown & { model?: string; catalog?: boolean },
  turn: Turn,
  { firstPage, isEnough, pages = mostPages }: ReadOn = { firstPage: pageSize, isEnough: () => false },
): Promise<Gathered> {
  const listings: SellerListing[] = []
  let refused = 0
  let cursor: string | null = null
  for (let page = 0; page < pages; page += 1) {
    const answer = await client.sellers({
      ...query,
      limit: page === 0 ? firstPage : pageSize,
      signal: turn.signal,
      ...(cursor !== null && { cursor }),
    })
    if (answer === null) break
    listings.push(...answer.listings)
    refused += answer.refused
    cursor = answer.next
    if (cursor === null || isEnough(listings) || isLate(turn)) break
  }
  return { listings, refused, isPart: cursor !== null }
}

function countPassing(
  listings: readonly SellerListing[],
  filters: readonly Filter[],
  allowPrivate: boolean,
): number {
  // However old: a condition on the age is judged when all is read.
  const rules = { nowMs: 0, allowPrivate }
  return mergeLists([{ url: '', listings }])
    .flatMap((told) => rowsOf(listingOf(told, rules)))
    .filter((row) => passesAll(filters, row)).length
}

async function lookFor(client: RegistryClient, seller: string, turn: Turn): Promise<Gathered> {
  if (peerIdBytes(seller) === null) {
    const readOn = { firstPage: pageSize, isEnough: () => false, pages: mostPagesToName }
    const all = await readPages(client, { stale: true }, turn, readOn)
    return { ...all, listings: all.listings.filter(({ record }) => isNamed(record.peer, seller)) }
  }
  const listing = await client.seller(seller, turn.signal)
  return { listings: listing === null ? [] : [listing], refused: 0, isPart: false }
}

function isNamed(peer: PeerId, beginning: string): boolean {
  return beginning.length > 0 && peer.startsWith(beginning)
}
