/** `openseed receipts`: what both roles of this home hold, and whether a file of receipts holds. Reads only. */
import type { Config } from '../config/config.ts'
import { OpenSeedError } from '../base/errors.ts'
import { openReader } from '../store/reader.ts'
import type { ReceiptFilter, ReceiptRow } from '../store/receipt-operations.ts'
import type { OfferRow } from '../store/rows.ts'
import { formatUsd, type Usdc } from '../wire/amount.ts'
import type { ChannelConfig } from '../wire/channel.ts'
import type { Evidence, EvidenceReceipt } from '../wire/evidence.ts'
import { checksummed, type Hex } from '../wire/hex.ts'
import { parseSignedOffer, type SignedOffer } from '../wire/offer.ts'
import { parseSignedReceipt, type SignedReceipt } from '../wire/receipt.ts'
import { matches } from './buyer-control.ts'

/** Which receipts; what is null leaves nothing out. */
export interface ReceiptQuery {
  role: 'buyer' | 'seller' | null
  /** part of the seller's URL, or one of its addresses */
  seller: string | null
  /** one of the buyer's addresses */
  buyer: string | null
  model: string | null
  sinceMs: number | null
  untilMs: number | null
  limit: number | null
}

/** One receipt as a person reads it. Amounts in atomic USDC. */
export interface ReceiptView {
  role: 'buyer' | 'seller'
  at: string
  seller: string
  buyer: string
  model: string | null
  channelId: Hex
  requestId: Hex
  offerHash: Hex
  inputTokens: number
  cachedTokens: number
  outputTokens: number
  charged: Usdc
  chargedUsd: string
  ceiling: Usdc
  cumulative: Usdc
  disputed: string | null
}

/** A receipt in full: with the offer and the request that explain it. */
export interface ReceiptDetail extends ReceiptView {
  bodyHash: Hex
  responseHash: Hex
  offer: SignedOffer | null
  evidence: Evidence
}

export const everything: ReceiptQuery = {
  role: null,
  seller: null,
  buyer: null,
  model: null,
  sinceMs: null,
  untilMs: null,
  limit: null,
}

/** The newest first. */
export function listReceipts(config: Config, query: ReceiptQuery): ReceiptView[] {
  return limited(findReceipts(config, query), query).map(viewOf)
}

/** Everything that a third party needs to check these receipts, the oldest first. */
export function collectEvidence(config: Config, query: ReceiptQuery): Evidence {
  const found = limited(findReceipts(config, query), query)
  return evidenceOf(config, found.toReversed(), readOffers(config, found))
}

/** Whether any receipt has this request id, or these first digits of one. */
export const hasReceipt = (config: Config, id: string): boolean =>
  findReceipts(config, everything).some(({ row }) => matches(row.id, id))

/** By a request id or the first digits of one. Throws `invalid_request`. */
export function showReceipt(config: Config, id: string): ReceiptDetail {
  const found = findReceipts(config, everything).filter(({ row }) => matches(row.id, id))
  const [one] = found
  if (one === undefined || found.some(({ row }) => row.id !== one.row.id)) throw noReceipt(found.length, id)
  const offers = readOffers(config, [one])
  return {
    ...viewOf(one),
    bodyHash: one.row.bodyHash,
    responseHash: one.signed.receipt.responseHash,
    offer: offers[0] ?? null,
    evidence: evidenceOf(config, [one], offers),
  }
}

interface Found {
  role: ReceiptView['role']
  row: ReceiptRow
  channel: ChannelConfig
  url: string | null
  signed: SignedReceipt
}

function findReceipts(config: Config, query: ReceiptQuery): Found[] {
  const found: Found[] = []
  for (const role of ['buyer', 'seller'] as const) {
    if (query.role !== null && query.role !== role) continue
    using reader = openRole(config, role)
    if (reader !== null) found.push(...readRole(reader, role, query))
  }
  return found.toSorted((a, b) => b.row.atMs - a.row.atMs)
}

/** The same questions to either database. */
interface RoleReader extends Disposable {
  channels: () => { id: Hex; config: ChannelConfig; sellerUrl?: string }[]
  receipts: (filter: ReceiptFilter) => ReceiptRow[]
  offers: (hashes: readonly Hex[]) => OfferRow[]
}

function openRole({ paths }: Config, role: 'buyer' | 'seller'): RoleReader | null {
  if (role === 'buyer') {
    const reader = openReader(`${paths.buyer}/buyer.db`, 'buyer')
    return (
      reader && {
        channels: () => reader.read('loadChannels'),
        receipts: (filter) => reader.read('listReceipts', filter),
        offers: (hashes) => reader.read('findOffers', { hashes }),
        [Symbol.dispose]: () => reader.close(),
      }
    )
  }
  const reader = openReader(`${paths.seller}/seller.db`, 'seller')
  return (
    reader && {
      channels: () => reader.read('loadChannels'),
      receipts: (filter) => reader.read('listReceipts', filter),
      offers: (hashes) => reader.read('findOffers', { hashes }),
      [Symbol.dispose]: () => reader.close(),
    }
  )
}

function readRole(reader: RoleReader, role: Found['role'], query: ReceiptQuery): Found[] {
  const channels = new Map<Hex, { config: ChannelConfig; sellerUrl: string | null }>()
  for (const { id, config, sellerUrl = null } of reader.channels()) {
    if (isMeant(config, sellerUrl, query)) channels.set(id, { config, sellerUrl })
  }
  const { model, sinceMs, untilMs, limit } = query
  const rows = reader.receipts({
    channelIds: query.seller === null && query.buyer === null ? null : [...channels.keys()],
    model,
    idPrefix: null,
    sinceMs,
    untilMs,
    limit: limit ?? -1,
  })
  return rows.flatMap((row) => {
    const channel = channels.get(row.channelId)
    if (channel === undefined) return []
    const signed = parseSignedReceipt(JSON.parse(row.receipt))
    return [{ role, row, channel: channel.config, url: row.sellerUrl ?? channel.sellerUrl, signed }]
  })
}

function isMeant(config: ChannelConfig, url: string | null, { seller, buyer }: ReceiptQuery): boolean {
  const isOne = (wanted: string, names: readonly string[]) => names.includes(wanted.toLowerCase())
  const isSeller =
    seller === null ||
    isOne(seller, [config.receiver, config.receiverAuthorizer]) ||
    url?.includes(seller) === true
  return isSeller && (buyer === null || isOne(buyer, [config.payer, config.payerAuthorizer]))
}

function limited(found: readonly Found[], { limit }: ReceiptQuery): Found[] {
  return found.slice(0, limit ?? found.length)
}

function viewOf({ role, row, channel, url, signed: { receipt } }: Found): ReceiptView {
  return {
    role,
    at: new Date(row.atMs).toISOString(),
    seller: url ?? checksummed(channel.receiver),
    buyer: checksummed(channel.payer),
    model: row.model === '' ? null : row.model,
    channelId: receipt.channelId,
    requestId: receipt.requestId,
    offerHash: receipt.offerHash,
    inputTokens: receipt.inputTokens,
    cachedTokens: receipt.cachedTokens,
    outputTokens: receipt.outputTokens,
    charged: receipt.charged,
    chargedUsd: formatUsd(receipt.charged),
    ceiling: row.ceiling,
    cumulative: receipt.cumulative,
    disputed: row.disputed,
  }
}

function readOffers(config: Config, found: readonly Found[]): SignedOffer[] {
  const offers = new Map<Hex, SignedOffer>()
  for (const role of ['buyer', 'seller'] as const) {
    const ofRole = found.filter((one) => one.role === role)
    // A receipt may name another offer than the request: both are evidence.
    const hashes = ofRole.flatMap(({ row, signed }) => [row.offerHash, signed.receipt.offerHash])
    if (hashes.length === 0) continue
    using reader = openRole(config, role)
    for (const { hash, json } of reader?.offers([...new Set(hashes)]) ?? [])
      offers.set(hash, parseSignedOffer(JSON.parse(json)))
  }
  return [...offers.values()]
}

function evidenceOf({ network }: Config, found: readonly Found[], offers: SignedOffer[]): Evidence {
  const channels = new Map(found.map(({ row, channel }) => [row.channelId, channel]))
  // Whoever buys from itself holds each receipt twice.
  const receipts = new Map<Hex, EvidenceReceipt>()
  for (const one of found) {
    const known = receipts.get(one.signed.signature)
    if (known === undefined || known.request === null)
      receipts.set(one.signed.signature, evidenceReceipt(one))
  }
  const { chainId, escrow } = network.terms
  return { chainId, escrow, channels: [...channels.values()], offers, receipts: [...receipts.values()] }
}

function evidenceReceipt({ row, signed, url }: Found): EvidenceReceipt {
  const { bodyHash, offerHash, ceiling, admitBySec, signature } = row
  return {
    signed,
    request: signature === null ? null : { bodyHash, offerHash, ceiling, admitBySec, signature },
    seller: url,
    disputed: row.disputed,
  }
}

function noReceipt(found: number, id: string): OpenSeedError {
  return new OpenSeedError('invalid_request', {
    message: found === 0 ? `There is no receipt ${id} here.` : `${found} receipts begin with ${id}.`,
    hint: 'openseed receipts list',
  })
}
