/** What makes receipts evidence: finding them again, disputes, whom a buyer distrusts, and how far counts drift. */
import type { Usdc } from '../wire/amount.ts'
import type { Hex } from '../wire/hex.ts'
import { sql, type Db } from './open.ts'
import { fromColumns, toColumns, type Columns, type OfferRow, offerColumns } from './rows.ts'

/** A receipt with the request that it answers. */
export interface ReceiptRow {
  channelId: Hex
  id: Hex
  /** null in a seller's store */
  sellerUrl: string | null
  /** null when neither request nor offer names it */
  model: string | null
  offerHash: Hex
  bodyHash: Hex
  ceiling: Usdc
  admitBySec: number
  signature: Hex | null
  /** what it was booked at */
  charged: Usdc
  /** signed receipt as JSON */
  receipt: string
  atMs: number
  /** why the buyer disputes it */
  disputed: string | null
}

/** A receipt that contradicts its offer, its price or its reply. */
export interface DisputeRow {
  channelId: Hex
  requestId: Hex
  sellerUrl: string
  reason: string
  /** the signatures alone show it, to anybody */
  provable: boolean
  receipt: string
  /** what the buyer saw, as JSON */
  facts: string
  atMs: number
}

/** A signer of receipts that is not paid for a while. */
export interface DistrustRow {
  signer: Hex
  reason: string
  sinceMs: number
  untilMs: number
}

/** Sums over replies of one signer and model whose tokens were counted here too. */
export interface DriftRow {
  signer: Hex
  model: string
  replies: number
  reportedOutput: number
  countedOutput: number
  reportedInput: number
  countedInput: number
  atMs: number
}

export interface ReceiptFilter {
  /** null for every channel */
  channelIds: readonly string[] | null
  model: string | null
  /** the first hex digits, with 0x */
  idPrefix: string | null
  sinceMs: number | null
  untilMs: number | null
  /** -1 for all */
  limit: number
}

const receiptColumns: Columns<ReceiptRow> = {
  channelId: 'text',
  id: 'text',
  sellerUrl: 'text',
  model: 'text',
  offerHash: 'text',
  bodyHash: 'text',
  ceiling: 'bigint',
  admitBySec: 'number',
  signature: 'text',
  charged: 'bigint',
  receipt: 'text',
  atMs: 'number',
  disputed: 'text',
}

const disputeColumns: Columns<DisputeRow> = {
  channelId: 'text',
  requestId: 'text',
  sellerUrl: 'text',
  reason: 'text',
  provable: 'flag',
  receipt: 'text',
  facts: 'text',
  atMs: 'number',
}

const distrustColumns: Columns<DistrustRow> = {
  signer: 'text',
  reason: 'text',
  sinceMs: 'number',
  untilMs: 'number',
}

const driftColumns: Columns<DriftRow> = {
  signer: 'text',
  model: 'text',
  replies: 'number',
  reportedOutput: 'number',
  countedOutput: 'number',
  reportedInput: 'number',
  countedInput: 'number',
  atMs: 'number',
}

/** Keeps the evidence and stops paying its signer, in one commit. The first dispute of a request is the one kept. */
export function dispute(db: Db, { dispute, distrust }: { dispute: DisputeRow; distrust: DistrustRow }): void {
  sql(
    db,
    `INSERT INTO disputes (channelId, requestId, sellerUrl, reason, provable, receipt, facts, atMs)
     VALUES (@channelId, @requestId, @sellerUrl, @reason, @provable, @receipt, @facts, @atMs)
     ON CONFLICT DO NOTHING`,
  ).run(toColumns(disputeColumns, dispute))
  sql(
    db,
    `INSERT INTO distrusted (signer, reason, sinceMs, untilMs) VALUES (@signer, @reason, @sinceMs, @untilMs)
     ON CONFLICT (signer) DO UPDATE SET reason = @reason, sinceMs = @sinceMs, untilMs = @untilMs
     WHERE untilMs < @untilMs`,
  ).run(toColumns(distrustColumns, distrust))
}

/** Adds one reply, or some, to the sums. */
export function addDrift(db: Db, drift: DriftRow): void {
  sql(
    db,
    `INSERT INTO drift (signer, model, replies, reportedOutput, countedOutput, reportedInput, countedInput, atMs)
     VALUES (@signer, @model, @replies, @reportedOutput, @countedOutput, @reportedInput, @countedInput, @atMs)
     ON CONFLICT (signer, model) DO UPDATE SET
       replies = replies + @replies,
       reportedOutput = reportedOutput + @reportedOutput, countedOutput = countedOutput + @countedOutput,
       reportedInput = reportedInput + @reportedInput, countedInput = countedInput + @countedInput,
       atMs = @atMs`,
  ).run(toColumns(driftColumns, drift))
}

const filtered = `(@channelIds IS NULL OR r.channelId IN (SELECT value FROM json_each(@channelIds)))
  AND (@idPrefix IS NULL OR substr(r.id, 1, length(@idPrefix)) = @idPrefix)`

function parametersOf({ channelIds, ...filter }: ReceiptFilter) {
  return { ...filter, channelIds: channelIds === null ? null : JSON.stringify(channelIds) }
}

/** The newest first. Those that were refused are among them, although they closed no request. */
export function buyerReceipts(db: Db, filter: ReceiptFilter): ReceiptRow[] {
  return sql(
    db,
    `SELECT r.channelId, r.id, r.sellerUrl, r.model, r.offerHash, r.bodyHash, r.ceiling, r.admitBySec, r.signature,
       r.charged, COALESCE(r.receipt, d.receipt) AS receipt, COALESCE(r.closedAtMs, d.atMs) AS atMs,
       d.reason AS disputed
     FROM requests r LEFT JOIN disputes d ON d.channelId = r.channelId AND d.requestId = r.id
     WHERE ${filtered} AND COALESCE(r.receipt, d.receipt) IS NOT NULL AND (@model IS NULL OR r.model = @model)
       AND (@sinceMs IS NULL OR COALESCE(r.closedAtMs, d.atMs) >= @sinceMs)
       AND (@untilMs IS NULL OR COALESCE(r.closedAtMs, d.atMs) < @untilMs)
     ORDER BY atMs DESC, r.rowid DESC LIMIT @limit`,
  )
    .all(parametersOf(filter))
    .map((record) => fromColumns(receiptColumns, record))
}

/** The newest first. */
export function sellerReceipts(db: Db, filter: ReceiptFilter): ReceiptRow[] {
  return sql(
    db,
    `SELECT r.channelId, r.id, NULL AS sellerUrl, o.json ->> '$.details.model' AS model, r.offerHash, r.bodyHash,
       r.ceiling, r.admitBySec, r.signature, r.charged, r.receipt, r.closedAtMs AS atMs, NULL AS disputed
     FROM requests r LEFT JOIN offers o ON o.hash = r.offerHash
     WHERE ${filtered} AND r.receipt IS NOT NULL
       AND (@model IS NULL OR o.json ->> '$.details.model' = @model)
       AND (@sinceMs IS NULL OR r.closedAtMs >= @sinceMs) AND (@untilMs IS NULL OR r.closedAtMs < @untilMs)
     ORDER BY atMs DESC, r.rowid DESC LIMIT @limit`,
  )
    .all(parametersOf(filter))
    .map((record) => fromColumns(receiptColumns, record))
}

/** The offers of these hashes that are known. */
export function findOffers(db: Db, { hashes }: { hashes: readonly Hex[] }): OfferRow[] {
  return sql(db, `SELECT * FROM offers WHERE hash IN (SELECT value FROM json_each(?)) ORDER BY atMs, hash`)
    .all(JSON.stringify(hashes))
    .map((record) => fromColumns(offerColumns, record))
}

/** The newest first. */
export function listDisputes(db: Db): DisputeRow[] {
  return sql(db, `SELECT * FROM disputes ORDER BY rowid DESC`)
    .all()
    .map((record) => fromColumns(disputeColumns, record))
}

export function listDistrusted(db: Db): DistrustRow[] {
  return sql(db, `SELECT * FROM distrusted ORDER BY sinceMs DESC`)
    .all()
    .map((record) => fromColumns(distrustColumns, record))
}

export function listDrift(db: Db): DriftRow[] {
  return sql(db, `SELECT * FROM drift ORDER BY signer, model`)
    .all()
    .map((record) => fromColumns(driftColumns, record))
}

export const buyerReceiptWrites = { dispute, addDrift }
export const buyerReceiptReads = {
  listReceipts: buyerReceipts,
  findOffers,
  listDisputes,
  listDistrusted,
  listDrift,
}
export const sellerReceiptReads = { listReceipts: sellerReceipts, findOffers }
