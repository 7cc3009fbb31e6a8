/** What the registry answers, route by route. */
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import { readBatch, signBatch, type DeltaItem } from '../wire/delta-batch.ts'
import { expectArray, expectObject } from '../wire/fields.ts'
import type { NodeKey } from '../wire/node-key.ts'
import { errorReply } from '../wire/openai-error.ts'
import type { PeerId } from '../wire/peer-id.ts'
import type { Admission } from './admit.ts'
import { deltaText } from './deltas.ts'
import { listingText } from './entry.ts'
import type { Exchange } from './exchange.ts'
import type { IndexBook } from './index-book.ts'
import { openModelList } from './model-list.ts'
import { integer, parseSellersQuery, refuseUnknown, text } from './query.ts'
import type { SellerIndex } from './seller-index.ts'
import type { Waiting } from './waiting.ts'

export interface RouteParts {
  index: SellerIndex
  admission: Admission
  exchange: Pick<Exchange, 'peers' | 'isPeer'>
  book: IndexBook
  applyDeltas: (items: readonly DeltaItem[], from: PeerId) => Promise<void>
  key: NodeKey
  /** CAIP-2. */
  network: string
  build: string
  startedMs: number
  waiting: Waiting
  now: Clock
}

export interface Ask {
  params: URLSearchParams
  ifNoneMatch: string | undefined
  signal: AbortSignal
  /** The parsed body; throws when there is none that fits. */
  readJson: (maxBytes: number) => Promise<unknown>
  /** Takes more of the caller's allowance; what it lacks, its next requests wait for. */
  charge: (cost: number) => void
}

export interface Reply {
  status: number
  text: string
  headers?: Record<string, string>
}

export type Route = (ask: Ask) => Promise<Reply> | Reply

export const mostBeats = 200
const recordsOfToken = 4
const costOfForgery = 10
const charsOfToken = 32 * 1024
const mostRegisterBytes = 16 * 1024
const mostBeatsBytes = mostBeats * 2_304 + 1_024
const mostDeltaBytes = 4 * 1024 * 1024
const usualModels = 200
const mostModels = 1_000
const longestModelId = 256

export interface Routes {
  /** By method and path. */
  fixed: ReadonlyMap<string, Route>
  seller: (peer: string) => Reply
}

export function openRoutes(parts: RouteParts): Routes {
  const { index, admission, exchange, book, key, network, build, startedMs, waiting, now } = parts
  const listModels = openModelList(index, now)

  async function register({ readJson, charge }: Ask): Promise<Reply> {
    const { record, binding } = expectObject(await readJson(mostRegisterBytes), 'body')
    const outcome = await admission.register(record, binding)
    if (outcome.status !== 'refused') return json(200, outcome)
    // The chain may have been asked for nothing.
    if (outcome.reason === 'binding_forged') charge(costOfForgery)
    const error = new OpenSeedError('record_refused', {
      message: `The record is refused: ${outcome.reason}.`,
    })
    const { status, headers, body } = errorReply(error)
    return json(status, { ...body, ...outcome }, headers)
  }

  async function heartbeats({ readJson, charge }: Ask): Promise<Reply> {
    const body = expectObject(await readJson(mostBeatsBytes), 'body')
    const beats = expectArray(body.heartbeats, 'heartbeats', mostBeats)
    charge(Math.floor(beats.length / recordsOfToken))
    return json(200, { results: beats.map((beat) => admission.beat(beat)) })
  }

  async function sellers({ params, ifNoneMatch, signal }: Ask): Promise<Reply> {
    const query = parseSellersQuery(params)
    const untilMs = now() + query.waitMs
    while (query.since !== null && !index.hasNews(query) && now() < untilMs && !waiting.isFull) {
      await waiting.next(untilMs - now(), signal)
      if (signal.aborted) break
    }
    // Weak: what was measured moves on while the sellers stay as they are.
    const etag = `W/"${index.tagOf(query)}"`
    const headers = { etag, 'cache-control': 'no-cache' }
    if (ifNoneMatch !== undefined && names(ifNoneMatch, etag)) return { status: 304, text: '', headers }
    const { entries, gone, next, more, version, reset } = index.query(query)
    const atMs = now()
    const listings = entries.map((entry) => listingText(entry, key.peerId, atMs)).join(',')
    const rest = JSON.stringify({ gone, next, more, version, reset })
    return { status: 200, text: `{"sellers":[${listings}],${rest.slice(1)}`, headers }
  }

  function seller(peer: string): Reply {
    const entry = index.find(peer)
    if (entry !== undefined && entry.state !== 'left')
      return { status: 200, text: listingText(entry, key.peerId, now()) }
    throw new OpenSeedError('not_found', { message: 'No such seller is listed here.' })
  }

  function models({ params }: Ask): Reply {
    refuseUnknown(params, ['limit', 'cursor'])
    const limit = integer(params, 'limit', 1, mostModels) ?? usualModels
    const cursor = text(params, 'cursor', longestModelId)
    const list = listModels()
    const found = cursor === null ? 0 : list.findIndex(({ id }) => id > cursor)
    const page = found < 0 ? [] : list.slice(found, found + limit)
    const isLast = found < 0 || found + limit >= list.length
    return json(200, { models: page, next: isLast ? null : page.at(-1)!.id })
  }

  function stats(): Reply {
    const { live, stale } = index.counts
    return json(200, {
      peer: key.peerId,
      network,
      build,
      startedMs,
      nowMs: now(),
      sellers: { live, stale },
      models: index.models.size,
      ...admission.tally,
      peers: exchange.peers,
    })
  }

  function indexes({ params }: Ask): Reply {
    refuseUnknown(params, [])
    return { status: 200, text: book.text() }
  }

  function deltas({ params, charge }: Ask): Reply {
    refuseUnknown(params, ['since'])
    return tellDeltas(text(params, 'since', 64), null, charge)
  }

  function tellDeltas(since: string | null, to: PeerId | null, charge: Ask['charge']): Reply {
    const { text: batch } = deltaText(index, since, to)
    // It is quoted and signed anew for everyone who asks.
    charge(Math.floor(batch.length / charsOfToken))
    return json(200, signBatch(key, batch))
  }

  async function takeDeltas({ params, readJson, charge }: Ask): Promise<Reply> {
    refuseUnknown(params, ['since'])
    const { peer, batch } = readBatch(await readJson(mostDeltaBytes))
    if (peer === key.peerId) throw ownBatch()
    // What a peer of ours sends was asked for.
    if (!exchange.isPeer(peer)) charge(Math.floor(batch.items.length / recordsOfToken))
    await parts.applyDeltas(batch.items, peer)
    return tellDeltas(text(params, 'since', 64), peer, charge)
  }

  return {
    fixed: new Map<string, Route>([
      ['POST /v1/sellers', register],
      ['GET /v1/sellers', sellers],
      ['POST /v1/heartbeats', heartbeats],
      ['GET /v1/models', models],
      ['GET /v1/stats', stats],
      ['GET /v1/index', indexes],
      ['GET /v1/deltas', deltas],
      ['POST /v1/deltas', takeDeltas],
    ]),
    seller,
  }
}

function json(status: number, value: unknown, headers?: Record<string, string>): Reply {
  return { status, text: JSON.stringify(value), ...(headers && { headers }) }
}

/** Whether If-None-Match names the tag: any one, or a list, in which proxies may have made it a weak one. */
function names(ifNoneMatch: string, etag: string): boolean {
  const plain = (tag: string) => tag.trim().replace(/^W\//, '')
  return ifNoneMatch.trim() === '*' || ifNoneMatch.split(',').some((tag) => plain(tag) === plain(etag))
}

function ownBatch(): OpenSeedError {
  return new OpenSeedError('invalid_request', {
    message: 'This registry sent that batch itself.',
    hint: 'Take its own URL out of registry.peers.',
  })
}
