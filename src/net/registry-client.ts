/** One registry as its clients see it: sellers tell it, buyers ask it, nobody trusts it. Every call has a deadline. */
import type { LookupFunction } from 'node:net'
import { systemClock, type Clock } from '../base/clock.ts'
import { hasCode, OpenSeedError } from '../base/errors.ts'
import type { Usdc } from '../wire/amount.ts'
import { readBatch, type DeltaBatch, type SignedBatch } from '../wire/delta-batch.ts'
import { expectArray, expectObject, present } from '../wire/fields.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { encodeBinding, type SignedBinding } from '../wire/peer-binding.ts'
import { encodeRecord, type HeartbeatRecord, type IndexRecord, type SellerRecord } from '../wire/record.ts'
import { parseListing, type SellerListing } from '../wire/seller-listing.ts'
import {
  parseIndexes,
  parseModelsPage,
  parseOutcome,
  parseSellersPage,
  parseStats,
  type ModelsPage,
  type Outcome,
  type RegistryIndexes,
  type RegistryStats,
  type SellersPage,
} from './registry-answers.ts'
import { openHttpPool } from './http-pool.ts'
import { askRegistry, registryFailed, type RegistryQuestion, type RegistryReply } from './registry-reply.ts'

export type { ModelsPage, Outcome, RegistryIndexes, RegistryStats, SellersPage } from './registry-answers.ts'

/** Prices in atomic USDC per 1,000,000 tokens. */
export interface SellersQuery {
  model?: string
  /** Of three prompt tokens and one generated one: (3 in + out) / 4. */
  maxPrice?: Usdc
  maxIn?: Usdc
  maxOut?: Usdc
  minContext?: number
  region?: string
  /** Only sellers with a public URL. */
  direct?: boolean
  /** Only sellers whose models are in a catalogue of their own. */
  catalog?: boolean
  /** Silent sellers too. */
  stale?: boolean
  limit?: number
  /** `next` of the page before. */
  cursor?: string
  /** `version` of an earlier page: only what changed since then. */
  since?: string
  /** With `since`: how long the registry may wait for news, in seconds, at most 30. */
  waitSec?: number
  /** `etag` of an earlier page of the same query. */
  etag?: string
  signal?: AbortSignal
}

export interface RegistryClient extends AsyncDisposable {
  /** The registry's base URL, without a trailing slash. */
  readonly url: string
  register(record: SellerRecord, binding: SignedBinding): Promise<Outcome>
  heartbeat(record: HeartbeatRecord): Promise<Outcome>
  /** At most 200, answered in order. */
  heartbeats(records: readonly HeartbeatRecord[]): Promise<Outcome[]>
  /** One page of sellers, each record judged; null when nothing changed since `etag`. */
  sellers(query?: SellersQuery): Promise<SellersPage | null>
  /** Null when the registry knows no such seller, or says something else about another one. */
  seller(peer: PeerId, signal?: AbortSignal): Promise<SellerListing | null>
  models(cursor?: string, signal?: AbortSignal): Promise<ModelsPage>
  stats(): Promise<RegistryStats>
  /** The registry's own signed record: its addresses in the DHT and as a relay. */
  index(signal?: AbortSignal): Promise<IndexRecord>
  /** The same, with the records of other registries that it knows. */
  indexes(signal?: AbortSignal): Promise<RegistryIndexes>
  /** What changed since `version`, signed by the registry; nothing in it is judged. */
  deltas(since?: string): Promise<{ peer: PeerId; batch: DeltaBatch }>
  /** Hands over a batch and takes the other's since `version`. */
  exchange(batch: SignedBatch, since?: string): Promise<{ peer: PeerId; batch: DeltaBatch }>
  close(): Promise<void>
}

export interface RegistryClientOptions {
  /** For each call, from connecting to the last byte; 2,000 unless told. */
  deadlineMs?: number
  /** Of its name. The system's unless told. */
  lookup?: LookupFunction
  now?: Clock
}

const usualDeadlineMs = 2_000
const maxReplyHeadBytes = 16 * 1024

/** Opens the connections to one registry. Connects on the first call. Throws `config_invalid` for what is no URL. */
export function openRegistryClient(input: string, options: RegistryClientOptions = {}): RegistryClient {
  const { deadlineMs = usualDeadlineMs, lookup, now = systemClock } = options
  const { origin, prefix } = partsOf(input)
  const url = origin + prefix
  // One answer that hangs must not hold back the next call; a few connections are plenty otherwise.
  const pool = openHttpPool(origin, { connections: 8, maxHeaderBytes: maxReplyHeadBytes, lookup })

  async function ask(
    question: Omit<RegistryQuestion, 'deadlineMs'>,
    { also = [], moreMs = 0 }: { also?: readonly number[]; moreMs?: number } = {},
  ): Promise<RegistryReply> {
    const reply = await askRegistry(pool, url, prefix, { deadlineMs: deadlineMs + moreMs, ...question })
    if (reply.status === 200 || also.includes(reply.status)) return reply
    if (reply.status === 429) throw tooMany(url, reply.retryAfterSec)
    throw registryFailed(
      url,
      `answered ${reply.status} to ${question.method} ${question.path.split('?', 1)[0]}`,
    )
  }

  const post = (path: string, body: string, also: readonly number[] = []) =>
    ask({ method: 'POST', path, body }, { also })
  const read = <T>(parse: () => T): T => readAnswer(url, parse)

  async function register(record: SellerRecord, binding: SignedBinding): Promise<Outcome> {
    const body = `{"record":${encodeRecord(record)},"binding":${JSON.stringify(encodeBinding(binding))}}`
    const { json } = await post('/v1/sellers', body, [422])
    return read(() => parseOutcome(json))
  }

  async function heartbeats(records: readonly HeartbeatRecord[]): Promise<Outcome[]> {
    const body = `{"heartbeats":[${records.map(encodeRecord).join(',')}]}`
    const { json } = await post('/v1/heartbeats', body)
    return read(() => {
      const outcomes = expectArray(expectObject(json, 'answer').results, 'results', records.length)
      if (outcomes.length < records.length) throw registryFailed(url, 'left heartbeats without an answer')
      return outcomes.map(parseOutcome)
    })
  }

  async function sellers(query: SellersQuery = {}): Promise<SellersPage | null> {
    const { etag, signal, waitSec } = query
    const headers = etag === undefined ? {} : { 'if-none-match': etag }
    const question = { method: 'GET', path: `/v1/sellers${queryString(query)}`, headers, signal } as const
    const reply = await ask(question, { also: [304], moreMs: (waitSec ?? 0) * 1_000 })
    if (reply.status === 304) return null
    return read(() => parseSellersPage(reply.json, reply.etag, now()))
  }

  async function seller(peer: PeerId, signal?: AbortSignal): Promise<SellerListing | null> {
    const reply = await ask(
      { method: 'GET', path: `/v1/sellers/${encodeURIComponent(peer)}`, signal },
      { also: [404] },
    )
    const listing = reply.status === 404 ? null : parseListing(reply.json, { nowMs: now() })
    return listing?.record.peer === peer ? listing : null
  }

  async function indexes(signal?: AbortSignal): Promise<RegistryIndexes> {
    const { json } = await ask({ method: 'GET', path: '/v1/index', signal })
    return read(() => parseIndexes(json, now()))
  }

  const sinceOf = (since: string | undefined) =>
    since === undefined ? '' : `?since=${encodeURIComponent(since)}`

  const close = () => pool.close()
  return {
    url,
    register,
    heartbeats,
    async heartbeat(record) {
      const [outcome] = await heartbeats([record])
      if (outcome === undefined) throw registryFailed(url, 'left a heartbeat without an answer')
      return outcome
    },
    sellers,
    seller,
    async models(cursor, signal) {
      const path = cursor === undefined ? '/v1/models' : `/v1/models?cursor=${encodeURIComponent(cursor)}`
      const { json } = await ask({ method: 'GET', path, signal })
      return read(() => parseModelsPage(json))
    },
    async stats() {
      const { json } = await ask({ method: 'GET', path: '/v1/stats' })
      return read(() => parseStats(json))
    },
    index: async (signal) => (await indexes(signal)).record,
    indexes,
    async deltas(since) {
      const { json } = await ask({ method: 'GET', path: `/v1/deltas${sinceOf(since)}` })
      return read(() => readBatch(json))
    },
    async exchange(batch, since) {
      const { json } = await post(`/v1/deltas${sinceOf(since)}`, JSON.stringify(batch))
      return read(() => readBatch(json))
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

function partsOf(input: string): { origin: string; prefix: string } {
  const url = URL.parse(input)
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:') || url.username || url.password) {
    throw new OpenSeedError('config_invalid', {
      message: `"${input}" is not a registry's address.`,
      hint: 'A registry is given as http://host:port or https://host.',
    })
  }
  return { origin: url.origin, prefix: url.pathname.replace(/\/+$/, '') }
}

function queryString(query: SellersQuery): string {
  const { model, maxPrice, maxIn, maxOut, minContext, region, limit, cursor, since, waitSec } = query
  const values = {
    model,
    max_price: maxPrice,
    max_in: maxIn,
    max_out: maxOut,
    min_ctx: minContext,
    region,
    direct: query.direct === true ? true : undefined,
    catalog: query.catalog === true ? true : undefined,
    stale: query.stale === true ? true : undefined,
    limit,
    cursor,
    since,
    wait: waitSec,
  }
  const given = Object.entries(values).flatMap(([name, value]) =>
    present(value) === undefined ? [] : [[name, String(value)]],
  )
  return given.length === 0 ? '' : `?${new URLSearchParams(given).toString()}`
}

// What does not parse is the registry's fault, whoever else sees to it.
function readAnswer<T>(url: string, parse: () => T): T {
  try {
    return parse()
  } catch (error) {
    if (!hasCode(error, 'invalid_message')) throw error
    throw registryFailed(url, `answered outside the protocol: ${error.message.replace(/\.$/, '')}`, error)
  }
}

function tooMany(url: string, retryAfterSec: number | null): OpenSeedError {
  return new OpenSeedError('rate_limit_exceeded', {
    message: `The registry ${url} is asked too often.`,
    details: { registry: url, retryAfterSec: retryAfterSec ?? 1 },
  })
}
