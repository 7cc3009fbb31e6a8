/** A buyer's transfers for single requests: signed and stored, then final once. */
import type { Usdc } from '../wire/amount.ts'
import type { Address, Hex } from '../wire/hex.ts'
import { conflict } from './faults.ts'
import { sql, type Db } from './open.ts'
import { fromColumns, toColumns, type Columns } from './rows.ts'

export interface BuyerExactRow {
  nonce: Hex
  sellerUrl: string
  payTo: Address
  amount: Usdc
  /** from then on the chain does not take the authorization any more */
  validBeforeSec: number
  model: string
  bodyHash: Hex
  openedAtMs: number
  state: 'open' | 'final'
  /** nothing, or all of it */
  charged: Usdc
  /** how it ended, in one word; null while open */
  outcome: string | null
  /** as the seller named it */
  txHash: string | null
  closedAtMs: number | null
}

const columns: Columns<BuyerExactRow> = {
  nonce: 'text',
  sellerUrl: 'text',
  payTo: 'text',
  amount: 'bigint',
  validBeforeSec: 'number',
  model: 'text',
  bodyHash: 'text',
  openedAtMs: 'number',
  state: 'text',
  charged: 'bigint',
  outcome: 'text',
  txHash: 'text',
  closedAtMs: 'number',
}

/** Stores an authorization before it leaves this machine. */
export function exactOpen(db: Db, row: BuyerExactRow): void {
  sql(
    db,
    `INSERT INTO exactPayments (nonce, sellerUrl, payTo, amount, validBeforeSec, model, bodyHash, openedAtMs, state,
       charged, outcome, txHash, closedAtMs)
     VALUES (@nonce, @sellerUrl, @payTo, @amount, @validBeforeSec, @model, @bodyHash, @openedAtMs, @state,
       @charged, @outcome, @txHash, @closedAtMs)`,
  ).run(toColumns(columns, row))
}

export type BuyerExactEnd = Pick<BuyerExactRow, 'nonce' | 'charged' | 'txHash'> & {
  outcome: string
  closedAtMs: number
}

export function exactFinal(db: Db, end: BuyerExactEnd): void {
  const { changes } = sql(
    db,
    `UPDATE exactPayments SET state = 'final', charged = @charged, outcome = @outcome, txHash = @txHash,
       closedAtMs = @closedAtMs
     WHERE nonce = @nonce AND state = 'open'`,
  ).run(end)
  if (changes !== 1) throw conflict('missing', `No open payment has the nonce ${end.nonce}.`)
}

export function exactUnresolved(db: Db): BuyerExactRow[] {
  return sql(db, `SELECT * FROM exactPayments WHERE state = 'open' ORDER BY rowid`)
    .all()
    .map((record) => fromColumns(columns, record))
}

/** Sellers that took money for what they refused, since a moment. */
export function exactTakers(db: Db, since: { sinceMs: number }): string[] {
  const records = sql(
    db,
    `SELECT DISTINCT sellerUrl FROM exactPayments WHERE outcome = 'taken' AND closedAtMs >= @sinceMs`,
  ).all(since) as { sellerUrl: string }[]
  return records.map(({ sellerUrl }) => sellerUrl)
}

/** The newest first. */
export function listExact(db: Db, { limit }: { limit: number }): BuyerExactRow[] {
  return sql(db, `SELECT * FROM exactPayments ORDER BY rowid DESC LIMIT ?`)
    .all(limit)
    .map((record) => fromColumns(columns, record))
}

export const buyerExactWrites = { exactOpen, exactFinal }
export const buyerExactReads = { exactUnresolved, exactTakers, listExact }
