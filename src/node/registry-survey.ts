/** One question to every registry at once, and one word on each seller out of their answers. */
import { hasCode, OpenSeedError } from '../base/errors.ts'
import { openRegistryClient, type RegistryClient } from '../net/registry-client.ts'
import { passesAll, type Filter } from '../search/filter.ts'
import { listingOf, rowsOf, type Told } from '../search/listing.ts'
import { mergeLists } from '../search/merge.ts'
import { modelsAskedFor, pushDown, type PushedDown } from '../search/push-down.ts'
import { peerIdBytes, type PeerId } from '../wire/peer-id.ts'
import type { SellerListing } from '../wire/seller-listing.ts'
import { registryUrls } from './registry-urls.ts'

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
const mostNames = 8
const mostCatalogued = 64
// Each page has a deadline of its own; one that is always just in time must not hold up the others.
const readOnMs = 3_000

/** Opens connections as they are needed. Throws `registry_unreachable` when no registry is configured or found. */
export async function openSurvey(settings: SurveySettings): Promise<Survey> {
  const { signal } = settings
  const urls = await registryUrls(settings.registries, settings.allowPrivate)
  const clients = urls.map((url) => openRegistryClient(url))

  async function askAll(
    ask: (client: RegistryClient, late: AbortSignal) => Promise<Gathered>,
  ): Promise<Surveyed> {
    const answers = await Promise.all(
      clients.map(async (client) => {
        try {
          return { url: client.url, error: null, ...(await ask(client, AbortSignal.timeout(readOnMs))) }
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
      askAll((client, late) => gather(client, filters, enough, { ...settings, late })),
    all: () => askAll((client, late) => readPages(client, { stale: true }, { signal, late })),
    named: (seller) => askAll((client, late) => lookFor(client, seller, { signal, late })),
    async [Symbol.asyncDispose]() {
      await Promise.all(clients.map((client) => client.close()))
    },
  }
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
  { signal, late, allowPrivate }: SurveySettings & Reading,
): Promise<Gathered> {
  const reading = { signal, late }
  const asked = pushDown(filters)
  const names = modelsAskedFor(filters, []) && modelsAskedFor(filters, await readModels(client, late))
  if (names === null || names.length > mostNames) return readPages(client, asked, reading)
  const isEnough = (listings: readonly SellerListing[]) =>
    enough.cheapestFirst &&
    listings.length >= enough.rows &&
    countPassing(listings, filters, allowPrivate) >= enough.rows
  const firstPage = enough.cheapestFirst ? Math.min(enough.rows, pageSize) : pageSize
  const lists = await Promise.all([
    ...names.map((model) => readPages(client, { ...asked, model }, reading, { firstPage, isEnough })),
    readCatalogued(client, { stale: asked.stale === true }, reading),
  ])
  return {
    // A seller of two of these models stands in two lists.
    listings: [
      ...new Map(lists.flatMap(({ listings }) => listings).map((one) => [one.record.peer, one])).values(),
    ],
    refused: lists.reduce((sum, { refused }) => sum + refused, 0),
    isPart: lists.some(({ isPart }) => isPart),
  }
}

/** No registry knows what they sell: whoever wants a model has to look into their catalogues. */
async function readCatalogued(
  client: RegistryClient,
  query: { stale: boolean },
  reading: Reading,
): Promise<Gathered> {
  try {
    // One page is more than are looked into.
    const readOn = { firstPage: mostCatalogued, isEnough: () => true }
    return await readPages(client, { ...query, catalog: true }, reading, readOn)
  } catch (error) {
    // What else is asked of the registry tells whether it is there; an older one does not know this question.
    if (hasCode(error, 'registry_failed')) return { listings: [], refused: 0, isPart: false }
    throw error
  }
}

async function readModels(client: RegistryClient, late: AbortSignal): Promise<string[]> {
  const names: string[] = []
  let cursor: string | undefined
  for (let page = 0; page < mostPages; page += 1) {
    const { models, next } = await client.models(cursor)
    names.push(...models.map(({ id }) => id))
    if (next === null || late.aborted) break
    cursor = next
  }
  return names
}

/** After `late` what was read so far is the answer. */
interface Reading {
  signal: AbortSignal
  late: AbortSignal
}

interface ReadOn {
  /** Every signature is checked, so that no more is read than is needed. */
  firstPage: number
  isEnough: (listings: readonly SellerListing[]) => boolean
}

async function readPages(
  client: RegistryClient,
  query: PushedDown & { model?: string; catalog?: boolean },
  { signal, late }: Reading,
  { firstPage, isEnough }: ReadOn = { firstPage: pageSize, isEnough: () => false },
): Promise<Gathered> {
  const listings: SellerListing[] = []
  let refused = 0
  let cursor: string | null = null
  for (let page = 0; page < mostPages; page += 1) {
    const answer = await client.sellers({
      ...query,
      limit: page === 0 ? firstPage : pageSize,
      signal,
      ...(cursor !== null && { cursor }),
    })
    if (answer === null) break
    listings.push(...answer.listings)
    refused += answer.refused
    cursor = answer.next
    if (cursor === null || isEnough(listings) || late.aborted) break
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

async function lookFor(client: RegistryClient, seller: string, reading: Reading): Promise<Gathered> {
  if (peerIdBytes(seller) === null) {
    const all = await readPages(client, { stale: true }, reading)
    return { ...all, listings: all.listings.filter(({ record }) => isNamed(record.peer, seller)) }
  }
  const listing = await client.seller(seller)
  return { listings: listing === null ? [] : [listing], refused: 0, isPart: false }
}

function isNamed(peer: PeerId, beginning: string): boolean {
  return beginning.length > 0 && peer.startsWith(beginning)
}
