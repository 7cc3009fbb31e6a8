/** A seller's exact payments: each authorization is reserved once, and every step it takes is a commit. */
import type { Usdc } from '../wire/amount.ts'
import type { Address, Hex } from '../wire/hex.ts'
import { conflict } from './faults.ts'
import { sql, type Db } from './open.ts'
import { fromColumns, toColumns, type Columns } from './rows.ts'

/**
 * `open`: reserved, nothing asked for. `released`: the engine failed, the authorization may come again. `abandoned`: a
 * crash came first, it may not. `settling`: a transaction may be on its way. `settled`: paid, not known to be
 * delivered. `failed`: the chain refused, nothing was taken. `served`: paid and delivered.
 */
export type SellerExactState =
  | 'open'
  | 'released'
  | 'abandoned'
  | 'settling'
  | 'settled'
  | 'failed'
  | 'served'

export interface SellerExactRow {
  payer: Address
  nonce: Hex
  /** the client's payment-identifier, if it sent one */
  paymentId: string | null
  amount: Usdc
  bodyHash: Hex
  offerHash: Hex
  /** the payload as JSON: what is sent to the chain, also by a later run */
  payment: string
  streamed: boolean
  openedAtMs: number
  state: SellerExactState
  txHash: Hex | null
  /** signed receipt as JSON */
  receipt: string | null
  /** how it ended, in one word or x402's reason */
  outcome: string | null
  closedAtMs: number | null
}

const columns: Columns<SellerExactRow> = {
  payer: 'text',
  nonce: 'text',
  paymentId: 'text',
  amount: 'bigint',
  bodyHash: 'text',
  offerHash: 'text',
  payment: 'text',
  streamed: 'flag',
  openedAtMs: 'number',
  state: 'text',
  txHash: 'text',
  receipt: 'text',
  outcome: 'text',
  closedAtMs: 'number',
}

export type SellerExactKey = Pick<SellerExactRow, 'payer' | 'nonce'>

/** Reserves an authorization for one request. `used`: it was before. `id_used`: its payment id paid for another. */
export function exactReserve(db: Db, row: SellerExactRow): 'reserved' | 'used' | 'id_used' {
  const other = sql(
    db,
    `SELECT 1 FROM exactPayments WHERE payer = ? AND paymentId = ? AND nonce != ?
       AND state IN ('open', 'settling', 'settled', 'served')`,
  ).get(row.payer, row.paymentId, row.nonce)
  if (other !== undefined) return 'id_used'
  const { changes } = sql(
    db,
    `INSERT INTO exactPayments (payer, nonce, paymentId, amount, bodyHash, offerHash, payment, streamed, openedAtMs,
       state, txHash, receipt, outcome, closedAtMs)
     VALUES (@payer, @nonce, @paymentId, @amount, @bodyHash, @offerHash, @payment, @streamed, @openedAtMs,
       @state, @txHash, @receipt, @outcome, @closedAtMs)
     ON CONFLICT (payer, nonce) DO UPDATE SET paymentId = @paymentId, amount = @amount, bodyHash = @bodyHash,
       offerHash = @offerHash, payment = @payment, streamed = @streamed, openedAtMs = @openedAtMs, state = @state,
       outcome = NULL, closedAtMs = NULL
     WHERE state = 'released'`,
  ).run(toColumns(columns, row))
  return changes === 1 ? 'reserved' : 'used'
}

export interface SellerExactMove extends SellerExactKey {
  state: SellerExactState
  txHash?: Hex
  receipt?: string
  outcome?: string
  closedAtMs?: number
}

/** Takes a payment one step further; which steps there are is the schema's rule. */
export function exactMove(db: Db, move: SellerExactMove): void {
  const { txHash = null, receipt = null, outcome = null, closedAtMs = null, ...rest } = move
  const { changes } = sql(
    db,
    `UPDATE exactPayments SET state = @state, txHash = COALESCE(@txHash, txHash),
       receipt = COALESCE(@receipt, receipt), outcome = COALESCE(@outcome, outcome),
       closedAtMs = COALESCE(@closedAtMs, closedAtMs)
     WHERE payer = @payer AND nonce = @nonce`,
  ).run({ ...rest, txHash, receipt, outcome, closedAtMs })
  if (changes !== 1) throw conflict('missing', `No payment has the nonce ${move.nonce}.`)
}

/** Closes what a crash left before anything was asked of the chain; returns how many. */
export function exactAbandon(db: Db, { closedAtMs }: { closedAtMs: number }): number {
  return sql(
    db,
    `UPDATE exactPayments SET state = 'abandoned', outcome = 'crashed', closedAtMs = @closedAtMs
     WHERE state = 'open'`,
  ).run({ closedAtMs }).changes
}

export function exactFind(db: Db, key: SellerExactKey): SellerExactRow | null {
  const record = sql(db, `SELECT * FROM exactPayments WHERE payer = @payer AND nonce = @nonce`).get(key)
  return record ? fromColumns(columns, record) : null
}

/** Payments in one state, the oldest first. */
export function exactInState(
  db: Db,
  { state, limit }: { state: SellerExactState; limit: number },
): SellerExactRow[] {
  return sql(db, `SELECT * FROM exactPayments WHERE state = ? ORDER BY rowid LIMIT ?`)
    .all(state, limit)
    .map((record) => fromColumns(columns, record))
}

/** A payment with the model that its offer names. */
export type SellerExactListed = SellerExactRow & { model: string | null }

const listedColumns: Columns<SellerExactListed> = { ...columns, model: 'text' }

/** The newest first. */
export function exactList(db: Db): SellerExactListed[] {
  return sql(
    db,
    `SELECT e.*, o.json ->> '$.details.model' AS model
     FROM exactPayments e LEFT JOIN offers o ON o.hash = e.offerHash ORDER BY e.rowid DESC`,
  )
    .all()
    .map((record) => fromColumns(listedColumns, record))
}

export const sellerExactWrites = { exactReserve, exactMove, exactAbandon }
export const sellerExactReads = { exactFind, exactInState, exactList }
