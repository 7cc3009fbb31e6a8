/** What registries answer, parsed. Counts and states are their word; records are judged one by one. */
import { parseAmount, type Usdc } from '../wire/amount.ts'
import {
  expectArray,
  expectInteger,
  expectObject,
  expectText,
  present,
  refuseMessage,
} from '../wire/fields.ts'
import { asPeerId, type PeerId } from '../wire/peer-id.ts'
import type { IndexRecord } from '../wire/record.ts'
import { parseListing, type SellerListing } from '../wire/seller-listing.ts'
import { validateRecord, type RecordVerdict } from '../wire/validate-record.ts'

/** What a registry did with a record. */
export type Outcome =
  | { status: 'ok' }
  /** It lacks the seller record that a heartbeat belongs to: register again. */
  | { status: 'need_record' }
  /** A heartbeat whose seller record is older than the one it knows, of this sequence: somebody else has this key. */
  | { status: 'superseded'; seq: number }
  /** `lastSeq` is the highest sequence it knows of this peer, where that is why. */
  | { status: 'refused'; reason: string; lastSeq: number | null }

export interface SellersPage {
  /** Only those whose record is valid. */
  listings: SellerListing[]
  /** Of a page of changes: who is gone, or does not match the query any more. */
  gone: PeerId[]
  /** Cursor of the next page. */
  next: string | null
  /** There is another page at once: behind `next`, or since `version`. */
  more: boolean
  /** Names the state, for `since`. */
  version: string
  /** What was asked for since is not known any more: this page begins the whole list. */
  reset: boolean
  /** How many of the registry's listings were not to be believed. */
  refused: number
  etag: string | null
}

/** A model as a registry sums it up; of live sellers. Prices in atomic USDC per 1,000,000 tokens. */
export interface ListedModel {
  id: string
  sellers: number
  live: number
  minIn: Usdc | null
  minOut: Usdc | null
  maxContext: number | null
}

export interface ModelsPage {
  models: ListedModel[]
  next: string | null
}

export interface RegistryStats {
  peer: PeerId
  network: string
  build: string
  /** Unix milliseconds. */
  startedMs: number
  live: number
  stale: number
  models: number
}

/** Registries by their own signed records. */
export interface RegistryIndexes {
  /** The registry that was asked. */
  record: IndexRecord
  /** Those it knows, as far as their records are valid. */
  others: IndexRecord[]
}

const mostIndexes = 50
const mostListings = 500
const mostGone = 2_000
const mostModels = 1_000

export function parseOutcome(input: unknown): Outcome {
  const { status, reason, lastSeq, seq } = expectObject(input, 'result')
  if (status === 'ok') return { status }
  if (status === 'need') return { status: 'need_record' }
  if (status === 'superseded') return { status, seq: expectInteger(seq, 'seq') }
  if (status !== 'refused') return refuseMessage('status', 'ok, need, superseded or refused')
  return {
    status,
    reason: expectText(reason, 'reason', 64),
    lastSeq: present(lastSeq) === undefined ? null : expectInteger(lastSeq, 'lastSeq'),
  }
}

export function parseSellersPage(input: unknown, etag: string | null, nowMs: number): SellersPage {
  const page = expectObject(input, 'page')
  const items = expectArray(page.sellers, 'sellers', mostListings)
  const listings = items.flatMap((item) => parseListing(item, { nowMs }) ?? [])
  return {
    listings,
    gone: expectArray(page.gone, 'gone', mostGone).map((peer) => asPeerId(peer)),
    next: parseCursor(page.next),
    more: page.more === true,
    version: expectText(page.version, 'version', 64),
    reset: page.reset === true,
    refused: items.length - listings.length,
    etag,
  }
}

export function parseModelsPage(input: unknown): ModelsPage {
  const page = expectObject(input, 'page')
  return {
    models: expectArray(page.models, 'models', mostModels).map(parseModel),
    next: parseCursor(page.next),
  }
}

export function parseStats(input: unknown): RegistryStats {
  const stats = expectObject(input, 'stats')
  const sellers = expectObject(stats.sellers, 'sellers')
  return {
    peer: asPeerId(stats.peer),
    network: expectText(stats.network, 'network', 64),
    build: expectText(stats.build, 'build', 64),
    startedMs: expectInteger(stats.startedMs, 'startedMs'),
    live: expectInteger(sellers.live, 'live'),
    stale: expectInteger(sellers.stale, 'stale'),
    models: expectInteger(stats.models, 'models'),
  }
}

export function parseIndexes(input: unknown, nowMs: number): RegistryIndexes {
  const answer = expectObject(input, 'answer')
  const judge = (record: unknown): RecordVerdict<'index'> =>
    validateRecord(record, { nowSec: Math.floor(nowMs / 1_000), lastSeq: null, type: 'index' })
  const own = judge(answer.record)
  if (!own.ok) return refuseMessage('record', `a valid index record; this one is ${own.reason}`)
  const others = expectArray(answer.others ?? [], 'others', mostIndexes).map(judge)
  return { record: own.record, others: others.flatMap((verdict) => (verdict.ok ? verdict.record : [])) }
}

function parseModel(input: unknown): ListedModel {
  const { id, sellers, live, minIn, minOut, maxContext } = expectObject(input, 'model')
  const optional = <T>(value: unknown, parse: (value: unknown) => T) =>
    present(value) === undefined ? null : parse(value)
  return {
    id: expectText(id, 'id', 256),
    sellers: expectInteger(sellers, 'sellers'),
    live: expectInteger(live, 'live'),
    minIn: optional(minIn, (value) => parseAmount(value, 'minIn')),
    minOut: optional(minOut, (value) => parseAmount(value, 'minOut')),
    maxContext: optional(maxContext, (value) => expectInteger(value, 'maxContext')),
  }
}

function parseCursor(input: unknown): string | null {
  return present(input) === undefined ? null : expectText(input, 'next', 1_024)
}
