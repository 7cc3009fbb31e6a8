/** One question to every registry at once, and one list of sellers out of their answers. */
import { OpenSeedError } from '../base/errors.ts'
import type { Clock } from '../base/clock.ts'
import { isDomain, lookUpRegistries } from '../net/bootstrap.ts'
import { openRegistryClient, type RegistryClient } from '../net/registry-client.ts'
import { passesAll, type Filter } from '../search/filter.ts'
import { listingOf, rowsOf, type Listing } from '../search/listing.ts'
import { mergeListings } from '../search/merge.ts'
import { modelsAskedFor, pushDown, type PushedDown } from '../search/push-down.ts'
import { peerIdBytes, type PeerId } from '../wire/peer-id.ts'
import type { SellerListing } from '../wire/seller-listing.ts'

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
  listings: Listing[]
  registries: RegistryAnswer[]
  /** The registries that list this seller. */
  listedBy: (peer: PeerId) => string[]
  /** There are more sellers than were read. */
  isPart: boolean
}

/** Each throws what the first registry says when none of them answers. */
export interface Survey extends AsyncDisposable {
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
  now: Clock
}

const pageSize = 200
const mostPages = 5
const mostNames = 8

/** Opens connections as they are needed. Throws `registry_unreachable` when no registry is configured or found. */
export async function openSurvey(settings: SurveySettings): Promise<Survey> {
  const { signal, now } = settings
  const clients = (await urlsOf(settings)).map((url) => openRegistryClient(url))

  async function askAll(ask: (client: RegistryClient) => Promise<Gathered>): Promise<Surveyed> {
    const answers = await Promise.all(
      clients.map(async (client) => {
        try {
          return { url: client.url, error: null, ...(await ask(client)) }
        } catch (error) {
          signal.throwIfAborted()
          if (!(error instanceof OpenSeedError)) throw error
          return { url: client.url, error, listings: [], refused: 0, isPart: false }
        }
      }),
    )
    const failure = answers.every(({ error }) => error !== null) ? answers[0]?.error : null
    if (failure) throw failure
    const merged = mergeListings(answers.map(({ listings }) => listings))
    return {
      listings: merged.map((listing) => listingOf(listing, now())),
      registries: answers.map(({ url, listings, refused, error }) => ({
        url,
        sellers: listings.length,
        refused,
        error,
      })),
      listedBy: (peer) =>
        answers.flatMap(({ url, listings }) =>
          listings.some(({ record }) => record.peer === peer) ? [url] : [],
        ),
      isPart: answers.some(({ isPart }) => isPart),
    }
  }

  return {
    matching: (filters, enough) => askAll((client) => gather(client, filters, enough, signal)),
    all: () => askAll((client) => readPages(client, { stale: true }, signal)),
    named: (seller) => askAll((client) => lookFor(client, seller, signal)),
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

async function urlsOf({ registries, allowPrivate }: SurveySettings): Promise<string[]> {
  const lists = await Promise.allSettled(
    registries.map(async (entry) => (isDomain(entry) ? lookUpRegistries(entry, { allowPrivate }) : [entry])),
  )
  const urls = lists.flatMap((list) => (list.status === 'fulfilled' ? list.value : []))
  const failed = lists.find((list) => list.status === 'rejected')
  if (urls.length > 0) return [...new Set(urls)]
  if (failed) throw failed.reason
  throw new OpenSeedError('registry_unreachable', {
    message: 'No registry is configured.',
    hint: 'Name one with --registry URL, or for good in config.toml: registries = ["https://host"]',
  })
}

/** Of a model by its name where registries can do it: they keep the sellers of each model in order. */
async function gather(
  client: RegistryClient,
  filters: readonly Filter[],
  enough: Enough,
  signal: AbortSignal,
): Promise<Gathered> {
  const asked = pushDown(filters)
  const names = modelsAskedFor(filters, []) && modelsAskedFor(filters, await readModels(client))
  if (names === null || names.length > mostNames) return readPages(client, asked, signal)
  const isEnough = (listings: readonly SellerListing[]) =>
    enough.cheapestFirst && listings.length >= enough.rows && countPassing(listings, filters) >= enough.rows
  const lists = await Promise.all(
    names.map((model) =>
      readPages(client, { ...asked, model }, signal, {
        firstPage: enough.cheapestFirst ? Math.min(enough.rows, pageSize) : pageSize,
        isEnough,
      }),
    ),
  )
  return {
    listings: mergeListings(lists.map(({ listings }) => listings)),
    refused: lists.reduce((sum, { refused }) => sum + refused, 0),
    isPart: lists.some(({ isPart }) => isPart),
  }
}

async function readModels(client: RegistryClient): Promise<string[]> {
  const names: string[] = []
  let cursor: string | undefined
  for (let page = 0; page < mostPages; page += 1) {
    const { models, next } = await client.models(cursor)
    names.push(...models.map(({ id }) => id))
    if (next === null) break
    cursor = next
  }
  return names
}

interface ReadOn {
  /** Every signature is checked, so that no more is read than is needed. */
  firstPage: number
  isEnough: (listings: readonly SellerListing[]) => boolean
}

async function readPages(
  client: RegistryClient,
  query: PushedDown & { model?: string },
  signal: AbortSignal,
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
    if (cursor === null || isEnough(listings)) break
  }
  return { listings, refused, isPart: cursor !== null }
}

function countPassing(listings: readonly SellerListing[], filters: readonly Filter[]): number {
  return listings
    .flatMap((seen) => rowsOf(listingOf(seen, seen.lastSeenMs)))
    .filter((row) => passesAll(filters, row)).length
}

async function lookFor(client: RegistryClient, seller: string, signal: AbortSignal): Promise<Gathered> {
  if (peerIdBytes(seller) === null) {
    const all = await readPages(client, { stale: true }, signal)
    return { ...all, listings: all.listings.filter(({ record }) => isNamed(record.peer, seller)) }
  }
  const listing = await client.seller(seller)
  return { listings: listing === null ? [] : [listing], refused: 0, isPart: false }
}

function isNamed(peer: PeerId, beginning: string): boolean {
  return beginning.length > 0 && peer.startsWith(beginning)
}
