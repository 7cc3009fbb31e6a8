/** `openseed search`: what registries tell, what passes the filters, and what is measured from here. */
import { systemClock, type Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Config } from '../config/config.ts'
import { measureRoundTrip } from '../net/round-trip.ts'
import { passesAll, type Filter } from '../search/filter.ts'
import { parseQuery } from '../search/grammar.ts'
import { rowsOf, type Listing, type Row } from '../search/listing.ts'
import { asksOfState } from '../search/push-down.ts'
import type { PeerId } from '../wire/peer-id.ts'
import type { BindingStatus } from './judge-binding.ts'
import { openSurvey, type Enough, type RegistryAnswer } from './registry-survey.ts'

export interface SearchSettings {
  registries: readonly string[]
  /** Whether sellers in private networks may be probed. */
  allowPrivate: boolean
  network: Pick<Config['network'], 'terms' | 'rpcUrls'>
  signal: AbortSignal
  now?: Clock
}

export interface Found {
  /** What passes every filter, in no order. */
  rows: Row[]
  registries: RegistryAnswer[]
  /** There are more sellers than were read. */
  isPart: boolean
}

export interface Shown {
  listing: Listing
  /** Of the wallet's signature for this node. Record and heartbeat are valid, or would not be here. */
  binding: BindingStatus
  /** URLs of the registries that list it. */
  listedBy: string[]
}

export interface Probe {
  outcome: 'measured' | 'unreachable' | 'refused' | 'no_url'
  rttMs: number | null
}

export interface SearchTools extends AsyncDisposable {
  /** Throws `registry_unavailable` and the like when no registry answers. */
  find(filters: readonly Filter[], enough: Enough): Promise<Found>
  /** Every row there is and every filter, with those that nobody wrote: to explain why nothing was found. */
  findAll(filters: readonly Filter[]): Promise<{ rows: Row[]; filters: Filter[] }>
  /** By the id or how it begins. Throws `seller_not_found`, or `usage` when several begin so. */
  show(seller: string): Promise<Shown>
  /** Round trips to these sellers, from here and now. */
  probe(listings: readonly Listing[]): Promise<Map<PeerId, Probe>>
}

const probeDeadlineMs = 3_000
const probesAtOnce = 8

/** Throws `registry_unreachable` when no registry is configured or found. */
export async function openSearchTools(settings: SearchSettings): Promise<SearchTools> {
  const { allowPrivate, network, signal, now = systemClock } = settings
  const survey = await openSurvey({ ...settings, now })
  return {
    async find(filters, enough) {
      const { listings, registries, isPart } = await survey.matching(filters, enough)
      const all = withState(filters)
      return { rows: listings.flatMap(rowsOf).filter((row) => passesAll(all, row)), registries, isPart }
    },
    async findAll(filters) {
      const { listings } = await survey.all()
      return { rows: listings.flatMap(rowsOf), filters: withState(filters) }
    },
    async show(seller) {
      const { listings, listedBy } = await survey.named(seller)
      const listing = onlyOne(listings, seller)
      // Loaded when it is needed: elliptic curves and the chain are most of what a search would have to load.
      const { judgeBinding } = await import('./judge-binding.ts')
      const binding = await judgeBinding(listing, network, now())
      return { listing, binding, listedBy: listedBy(listing.record.peer) }
    },
    async probe(listings) {
      const waiting = [...listings]
      const probes = new Map<PeerId, Probe>()
      const work = async () => {
        for (let next = waiting.shift(); next; next = waiting.shift())
          probes.set(next.record.peer, await probeOne(next, allowPrivate, signal))
      }
      await Promise.all(Array.from({ length: probesAtOnce }, work))
      return probes
    },
    [Symbol.asyncDispose]: () => survey[Symbol.asyncDispose](),
  }
}

/** A silent seller is no use to whoever wants to buy. */
function withState(filters: readonly Filter[]): Filter[] {
  return asksOfState(filters) ? [...filters] : [...filters, ...parseQuery('state=live')]
}

function onlyOne(listings: readonly Listing[], seller: string): Listing {
  const [listing, another] = listings
  if (listing && !another) return listing
  if (listing) {
    throw new OpenSeedError('usage', {
      message: `The ids of ${listings.length} sellers begin with ${seller}.`,
      hint: 'Write more of the id.',
    })
  }
  throw new OpenSeedError('seller_not_found', {
    message: `No seller is called ${seller}.`,
    hint: 'openseed search --nodes lists those there are.',
  })
}

async function probeOne({ record }: Listing, allowPrivate: boolean, signal: AbortSignal): Promise<Probe> {
  const { url } = record.body
  if (url === null) return { outcome: 'no_url', rttMs: null }
  const trip = await measureRoundTrip(url, { allowPrivate, deadlineMs: probeDeadlineMs, signal })
  return { outcome: trip.kind, rttMs: trip.kind === 'measured' ? trip.rttMs : null }
}
