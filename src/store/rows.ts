/** What the databases hold, as the rest of the program sees it, and the one mapping between rows and SQL columns. */
import type { Usdc } from '../wire/amount.ts'
import type { ChannelConfig } from '../wire/channel.ts'
import type { Address, Hex } from '../wire/hex.ts'

/** A channel as its seller knows it. `rev` starts at 1 and rises by one with every stored change. */
export interface SellerChannelRow {
  id: Hex
  config: ChannelConfig
  balance: Usdc
  totalClaimed: Usdc
  charged: Usdc
  signed: Usdc
  /** over `signed`; null until a voucher was seen */
  signature: Hex | null
  told: Usdc
  refunding: Usdc
  withdrawing: Usdc
  /** 0 when no withdrawal is pending */
  withdrawInitiatedAtSec: number
  refundNonce: bigint
  rev: number
  /** Filled when loaded, ignored when saved: requests have their own rows. */
  openRequests?: SellerRequestRow[]
}

export interface SellerRequestRow {
  channelId: Hex
  id: Hex
  /** true for a client that speaks x402 without our extension */
  stock: boolean
  ceiling: Usdc
  /** what the journal proves was produced so far */
  meter: Usdc
  bodyHash: Hex
  offerHash: Hex
  admitBySec: number
  /** of the signed request; null for a stock client */
  signature: Hex | null
  openedAtMs: number
  state: 'open' | 'closed'
  charged: Usdc
  cumulative: Usdc
  /** signed receipt as JSON */
  receipt: string | null
  streamed: boolean
  closedAtMs: number | null
}

/** A channel as its buyer knows it. */
export interface BuyerChannelRow {
  id: Hex
  sellerUrl: string
  config: ChannelConfig
  /** the salt's index under the authorizer key */
  index: number
  balance: Usdc
  charged: Usdc
  signed: Usdc
  signature: Hex | null
  /** JSON of the deposit that has no outcome yet: identical bytes are sent again */
  deposit: string | null
  refunding: Usdc
  state: 'open' | 'distrusted' | 'withdrawing' | 'closed'
  rev: number
  /** Filled when loaded, ignored when saved. */
  openRequests?: BuyerRequestRow[]
}

export interface BuyerRequestRow {
  channelId: Hex
  id: Hex
  sellerUrl: string
  model: string
  offerHash: Hex
  bodyHash: Hex
  ceiling: Usdc
  admitBySec: number
  /** of the signed request; null for one that this store had forgotten */
  signature: Hex | null
  openedAtMs: number
  state: 'open' | 'final'
  charged: Usdc
  receipt: string | null
  /** how it ended, in one word; null while open */
  outcome: string | null
  closedAtMs: number | null
}

/** A deposit that a buyer made. */
export interface BuyerDepositRow {
  channelId: Hex
  salt: Hex
  sellerUrl: string
  amount: Usdc
  txHash: Hex | null
  atMs: number
}

/** A signed offer as it was made or seen; `json` is its wire form. */
export interface OfferRow {
  hash: Hex
  json: string
  atMs: number
}

/** What a seller said of itself when last asked; `terms` is JSON. */
export interface SellerRow {
  url: string
  terms: string
  atMs: number
}

/** One transaction that this key wants on chain, at most once per `key`. */
export interface OutboxRow {
  key: string
  kind: string
  to: Address
  data: Hex
  nonce: number | null
  raw: Hex | null
  hash: Hex | null
  status: 'intended' | 'signed' | 'confirmed' | 'reverted' | 'dropped'
  block: number | null
  result: string | null
  createdAtMs: number
}

// bigint for money and nonces, number for counts, times and blocks, flag for 0/1.
type ColumnKind = 'text' | 'bigint' | 'number' | 'flag' | 'json'
/** How each field of a row is kept. */
export type Columns<Row> = { readonly [Name in keyof Required<Omit<Row, 'openRequests'>>]: ColumnKind }
type ColumnValue = string | bigint | number | null

/** Columns carry the names of the row's fields, so SQL and types read alike. */
export const sellerChannelColumns: Columns<SellerChannelRow> = {
  id: 'text',
  config: 'json',
  balance: 'bigint',
  totalClaimed: 'bigint',
  charged: 'bigint',
  signed: 'bigint',
  signature: 'text',
  told: 'bigint',
  refunding: 'bigint',
  withdrawing: 'bigint',
  withdrawInitiatedAtSec: 'number',
  refundNonce: 'bigint',
  rev: 'number',
}

export const sellerRequestColumns: Columns<SellerRequestRow> = {
  channelId: 'text',
  id: 'text',
  stock: 'flag',
  ceiling: 'bigint',
  meter: 'bigint',
  bodyHash: 'text',
  offerHash: 'text',
  admitBySec: 'number',
  signature: 'text',
  openedAtMs: 'number',
  state: 'text',
  charged: 'bigint',
  cumulative: 'bigint',
  receipt: 'text',
  streamed: 'flag',
  closedAtMs: 'number',
}

export const buyerChannelColumns: Columns<BuyerChannelRow> = {
  id: 'text',
  sellerUrl: 'text',
  config: 'json',
  index: 'number',
  balance: 'bigint',
  charged: 'bigint',
  signed: 'bigint',
  signature: 'text',
  deposit: 'text',
  refunding: 'bigint',
  state: 'text',
  rev: 'number',
}

export const buyerRequestColumns: Columns<BuyerRequestRow> = {
  channelId: 'text',
  id: 'text',
  sellerUrl: 'text',
  model: 'text',
  offerHash: 'text',
  bodyHash: 'text',
  ceiling: 'bigint',
  admitBySec: 'number',
  signature: 'text',
  openedAtMs: 'number',
  state: 'text',
  charged: 'bigint',
  receipt: 'text',
  outcome: 'text',
  closedAtMs: 'number',
}

export const buyerDepositColumns: Columns<BuyerDepositRow> = {
  channelId: 'text',
  salt: 'text',
  sellerUrl: 'text',
  amount: 'bigint',
  txHash: 'text',
  atMs: 'number',
}

export const offerColumns: Columns<OfferRow> = { hash: 'text', json: 'text', atMs: 'number' }

export const sellerColumns: Columns<SellerRow> = { url: 'text', terms: 'text', atMs: 'number' }

export const outboxColumns: Columns<OutboxRow> = {
  key: 'text',
  kind: 'text',
  to: 'text',
  data: 'text',
  nonce: 'number',
  raw: 'text',
  hash: 'text',
  status: 'text',
  block: 'number',
  result: 'text',
  createdAtMs: 'number',
}

/** The named parameters that store a row. */
export function toColumns<Row extends object>(columns: Columns<Row>, row: Row): Record<string, ColumnValue> {
  const values: Record<string, ColumnValue> = {}
  for (const name of Object.keys(columns) as (keyof Columns<Row> & string)[]) {
    const value = row[name as keyof Row] as unknown
    values[name] = encode(columns[name], value)
  }
  return values
}

/** The row that a record of columns stands for. Integers arrive as bigint, so that money never passes a float. */
export function fromColumns<Row extends object>(columns: Columns<Row>, record: unknown): Row {
  const values: Record<string, unknown> = {}
  for (const name of Object.keys(columns) as (keyof Columns<Row> & string)[]) {
    values[name] = decode(columns[name], (record as Record<string, ColumnValue>)[name] ?? null)
  }
  return values as Row
}

function encode(kind: ColumnKind, value: unknown): ColumnValue {
  if (kind === 'json') return JSON.stringify(value)
  if (kind === 'flag') return value ? 1n : 0n
  return value as ColumnValue
}

function decode(kind: ColumnKind, value: ColumnValue): unknown {
  if (value === null) return null
  if (kind === 'json') return JSON.parse(String(value))
  if (kind === 'flag') return value === 1n
  return kind === 'number' ? Number(value) : value
}
