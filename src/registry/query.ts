/** What a client asks of the list: parsed once, then compared with each row. Pure. */
import { OpenSeedError } from '../base/errors.ts'
import { parseAmount, type Usdc } from '../wire/amount.ts'
import { publicKeyOf } from '../wire/peer-id.ts'
import type { RecordModel } from '../wire/seller-record.ts'
import { rankPrice, type Place, type Row } from './ranking.ts'

export interface SellersQuery {
  model: string | null
  maxPrice: Usdc | null
  maxIn: Usdc | null
  maxOut: Usdc | null
  minContext: number | null
  region: string | null
  direct: boolean
  /** Only sellers whose models are in a catalogue of their own, not in their record. */
  catalog: boolean
  stale: boolean
  limit: number
  after: Place | null
  since: string | null
  waitMs: number
}

export const mostSellersOfPage = 500
export const mostWaitSec = 30
const usualLimit = 20

const names = [
  'model',
  'max_price',
  'max_in',
  'max_out',
  'min_ctx',
  'region',
  'direct',
  'catalog',
  'stale',
  'limit',
  'cursor',
  'since',
  'wait',
]

/** Throws `invalid_request`; a filter that is misspelt and ignored would show the wrong sellers. */
export function parseSellersQuery(params: URLSearchParams): SellersQuery {
  refuseUnknown(params, names)
  return {
    model: text(params, 'model', 256),
    maxPrice: amount(params, 'max_price'),
    maxIn: amount(params, 'max_in'),
    maxOut: amount(params, 'max_out'),
    minContext: integer(params, 'min_ctx', 0, Number.MAX_SAFE_INTEGER),
    region: text(params, 'region', 32),
    direct: truth(params, 'direct'),
    catalog: truth(params, 'catalog'),
    stale: truth(params, 'stale'),
    limit: integer(params, 'limit', 1, mostSellersOfPage) ?? usualLimit,
    after: place(params),
    since: text(params, 'since', 64),
    waitMs: (integer(params, 'wait', 0, mostWaitSec) ?? 0) * 1_000,
  }
}

/** True when a row is what the query asks for. */
export function matches({ entry, model }: Row, query: SellersQuery): boolean {
  const { maxPrice, maxIn, maxOut, minContext, region, direct, catalog, stale } = query
  if (entry.state !== 'live' && !(stale && entry.state === 'stale')) return false
  if (direct && !entry.direct) return false
  if (catalog && entry.models.length > 0) return false
  if (region !== null && entry.region !== region) return false
  if (model !== null) return isWithin(model, maxPrice, maxIn, maxOut, minContext)
  // Without a model any one of the seller's may be the one that fits.
  const wanted = maxPrice ?? maxIn ?? maxOut ?? minContext
  return wanted === null || entry.models.some((one) => isWithin(one, maxPrice, maxIn, maxOut, minContext))
}

/** The cursor that continues behind a row. */
export function cursorAfter({ price, entry }: Row): string {
  return Buffer.from(`${price}:${entry.peer}`).toString('base64url')
}

/** Throws `invalid_request` when a name is not among those known. */
export function refuseUnknown(params: URLSearchParams, known: readonly string[]): void {
  for (const name of params.keys())
    if (!known.includes(name)) throw invalid(name.slice(0, 64), `one of ${known.join(', ')}`)
}

/** Throws `invalid_request`. */
export function integer(params: URLSearchParams, name: string, min: number, max: number): number | null {
  const value = params.get(name)
  if (value === null) return null
  const number = Number(value)
  if (!/^\d{1,16}$/.test(value) || number < min || number > max)
    throw invalid(name, `an integer from ${min} to ${max}`)
  return number
}

/** Throws `invalid_request`. */
export function text(params: URLSearchParams, name: string, most: number): string | null {
  const value = params.get(name)
  if (value !== null && (value.length === 0 || value.length > most))
    throw invalid(name, `1 to ${most} characters`)
  return value
}

function isWithin(
  model: RecordModel,
  maxPrice: Usdc | null,
  maxIn: Usdc | null,
  maxOut: Usdc | null,
  minContext: number | null,
): boolean {
  if (maxPrice !== null && rankPrice(model) > maxPrice) return false
  if (maxIn !== null && model.in > maxIn) return false
  if (maxOut !== null && model.out > maxOut) return false
  return minContext === null || model.ctx >= minContext
}

function amount(params: URLSearchParams, name: string): Usdc | null {
  const value = params.get(name)
  if (value === null) return null
  try {
    return parseAmount(value, name)
  } catch {
    throw invalid(name, 'an amount in atomic USDC per million tokens')
  }
}

function truth(params: URLSearchParams, name: string): boolean {
  const value = params.get(name)
  if (value !== null && value !== 'true' && value !== 'false') throw invalid(name, 'true or false')
  return value === 'true'
}

function place(params: URLSearchParams): Place | null {
  const value = text(params, 'cursor', 256)
  if (value === null) return null
  const [price = '', peer = ''] = Buffer.from(value, 'base64url').toString().split(':')
  if (!/^\d{1,20}$/.test(price) || publicKeyOf(peer) === null) throw invalid('cursor', 'the `next` of a page')
  return { price: BigInt(price), peer }
}

function invalid(name: string, wanted: string): OpenSeedError {
  return new OpenSeedError('invalid_request', {
    message: `${name} must be ${wanted}.`,
    details: { param: name },
  })
}
