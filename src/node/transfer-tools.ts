/** Single transfers for `openseed receipts`: what both roles of this home paid, or were paid, without a channel. */
import type { Config } from '../config/config.ts'
import type { BuyerExactRow } from '../store/buyer-exact-operations.ts'
import { openReader } from '../store/reader.ts'
import type { SellerExactListed, SellerExactState } from '../store/seller-exact-operations.ts'
import { formatUsd, type Usdc } from '../wire/amount.ts'
import { parseExactPayload } from '../wire/exact.ts'
import { checksummed, type Hex } from '../wire/hex.ts'
import { matches } from './buyer-control.ts'
import { openKeystore } from './keystore.ts'
import { everything, type ReceiptQuery } from './receipts-tools.ts'

/** One transfer as a person reads it. Amounts in atomic USDC. */
export interface TransferView {
  role: 'buyer' | 'seller'
  at: string
  seller: string
  buyer: string | null
  model: string | null
  /** of the authorization: what the chain knows it by */
  nonce: Hex
  amount: Usdc
  amountUsd: string
  /** what was taken; null while nobody knows */
  charged: Usdc | null
  /** the role's own word for where it stands, and how it ended */
  state: BuyerExactRow['state'] | SellerExactState
  outcome: string | null
  /** when the chain takes it no more: an open one is free again then, if it was not used */
  unlocksAt: string
  txHash: string | null
  bodyHash: Hex
  /** the seller's signed statement, as JSON, where it was kept */
  receipt: unknown
}

/** The newest first. */
export async function listTransfers(config: Config, query: ReceiptQuery): Promise<TransferView[]> {
  const found = [...(await bought(config)), ...sold(config)]
    .filter(({ view, names }) => isMeant(view, names, query))
    .map(({ view }) => view)
    .toSorted((a, b) => Date.parse(b.at) - Date.parse(a.at))
  return found.slice(0, query.limit ?? found.length)
}

/** By a nonce or the first digits of one; null when there is none, or several. */
export async function findTransfer(config: Config, id: string): Promise<TransferView | null> {
  const found = (await listTransfers(config, everything)).filter(({ nonce }) => matches(nonce, id))
  const [one = null] = found
  return found.every(({ nonce }) => nonce === one?.nonce) ? one : null
}

interface Found {
  view: TransferView
  /** what `--seller` may name, beside a part of the URL */
  names: string[]
}

async function bought({ paths }: Config): Promise<Found[]> {
  using reader = openReader(`${paths.buyer}/buyer.db`, 'buyer')
  const rows = reader?.read('listExact', { limit: -1 }) ?? []
  if (rows.length === 0) return []
  const { payer } = await openKeystore(paths.keystore).addresses()
  const buyer = payer === undefined ? null : checksummed(payer)
  return rows.map((row) => ({
    view: {
      role: 'buyer',
      ...common(row),
      seller: row.sellerUrl,
      buyer,
      charged: row.state === 'open' ? null : row.charged,
      unlocksAt: timeOf(row.validBeforeSec),
      receipt: null,
    },
    names: [row.payTo],
  }))
}

function sold({ paths }: Config): Found[] {
  using reader = openReader(`${paths.seller}/seller.db`, 'seller')
  return (reader?.read('exactList') ?? []).map((row) => {
    const { to, validBefore } = parseExactPayload(JSON.parse(row.payment)).authorization
    return {
      view: {
        role: 'seller',
        ...common(row),
        seller: checksummed(to),
        buyer: checksummed(row.payer),
        charged: row.state === 'settling' ? null : row.txHash === null ? 0n : row.amount,
        unlocksAt: timeOf(Number(validBefore)),
        receipt: row.receipt === null ? null : (JSON.parse(row.receipt) as unknown),
      },
      names: [to],
    }
  })
}

function common(row: BuyerExactRow | SellerExactListed) {
  const { nonce, amount, state, outcome, txHash, bodyHash, closedAtMs, openedAtMs } = row
  return {
    at: new Date(closedAtMs ?? openedAtMs).toISOString(),
    model: row.model === '' ? null : row.model,
    nonce,
    amount,
    amountUsd: formatUsd(amount),
    state,
    outcome,
    txHash,
    bodyHash,
  }
}

function isMeant(view: TransferView, names: readonly string[], query: ReceiptQuery): boolean {
  const { role, seller, buyer, model, sinceMs, untilMs } = query
  const atMs = Date.parse(view.at)
  return (
    (role === null || role === view.role) &&
    (seller === null || names.includes(seller.toLowerCase()) || view.seller.includes(seller)) &&
    (buyer === null || view.buyer?.toLowerCase() === buyer.toLowerCase()) &&
    (model === null || model === view.model) &&
    (sinceMs === null || atMs >= sinceMs) &&
    (untilMs === null || atMs < untilMs)
  )
}

// An authorization may be valid for longer than dates can tell.
const lastSec = 8_640_000_000_000
const timeOf = (atSec: number) => new Date(Math.min(atSec, lastSec) * 1000).toISOString()
