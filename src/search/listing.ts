/** What is known of a seller: its own signed words, and what others found out. One row per model that it offers. */
import { judgeMultiaddr, judgeUrl, type AddressVerdict } from '../wire/address-policy.ts'
import type { SignedBinding } from '../wire/peer-binding.ts'
import type { HeartbeatRecord, SellerRecord } from '../wire/record.ts'
import type { ListingState, Measured } from '../wire/seller-listing.ts'
import type { RecordModel } from '../wire/seller-record.ts'

/** Found out from here, without taking anybody's word; null where it was not. */
export interface Evidence {
  /** A round trip to the seller. */
  rttMs: number | null
  /** The way it took. */
  path: ProbePath | null
  /** From a request to its first token. */
  ttftMs: number | null
  /** How the buyer of this home fared with it. */
  own: OwnRequests | null
}

/** Requests of one's own, those that were broken off midway not among them. */
export interface OwnRequests {
  asked: number
  answered: number
}

/** `url`: over HTTP; the others to its peer-to-peer addresses, without and with a relay. */
export type ProbePath = 'url' | 'direct' | 'relayed'

/** What one registry saw of a seller. */
export interface Observation {
  /** URL of the registry. */
  by: string
  measured: Measured
}

export interface Listing {
  record: SellerRecord
  /** Null where nobody gave one with the record. */
  binding: SignedBinding | null
  heartbeat: HeartbeatRecord | null
  /** Null where nobody hears its heartbeats, as in the DHT. */
  state: ListingState | null
  /** Unix milliseconds, when a registry last heard of it. */
  lastSeenMs: number | null
  /** Since a registry last heard of it, or since it signed its record where none did. */
  ageMs: number
  /** Its models; null while they are in a catalogue that was not read. */
  models: readonly RecordModel[] | null
  /** How it is reached; null when by nothing that we follow. */
  reach: 'direct' | 'relay' | null
  observations: readonly Observation[]
  evidence: Evidence
}

export interface Row {
  listing: Listing
  /** Null for a seller whose catalogue was not read. */
  model: RecordModel | null
}

/** A seller as somebody told of it. */
export type Told = Pick<Listing, 'record' | 'binding' | 'heartbeat' | 'state' | 'lastSeenMs' | 'observations'>

export const noEvidence: Evidence = { rttMs: null, path: null, ttftMs: null, own: null }

export interface ListingRules {
  nowMs: number
  allowPrivate: boolean
  own?: (seller: SellerRecord) => OwnRequests | null
}

export function listingOf(told: Told, { nowMs, allowPrivate, own = () => null }: ListingRules): Listing {
  const { record, lastSeenMs } = told
  return {
    ...told,
    ageMs: Math.max(0, nowMs - (lastSeenMs ?? record.seq)),
    models: record.body.models,
    reach: reachOf(record, allowPrivate),
    evidence: { ...noEvidence, own: own(record) },
  }
}

export function rowsOf(listing: Listing): Row[] {
  return (listing.models ?? [null]).map((model) => ({ listing, model }))
}

/** True for a multiaddr that goes over a relay. */
export function isCircuit(addr: string): boolean {
  return addr.split('/').includes('p2p-circuit')
}

function reachOf({ body: { url, addrs } }: SellerRecord, allowPrivate: boolean): Listing['reach'] {
  const isAllowed = (verdict: AddressVerdict) =>
    verdict === 'public' || (allowPrivate && verdict === 'private')
  const usable = addrs.filter((addr) => isAllowed(judgeMultiaddr(addr)))
  if ((url !== null && isAllowed(judgeUrl(url))) || usable.some((addr) => !isCircuit(addr))) return 'direct'
  return usable.length > 0 ? 'relay' : null
}
