/** What a buyer stores and asks. One function, one transaction, one invariant. */
import type { Usdc } from '../wire/amount.ts'
import { buyerExactReads, buyerExactWrites } from './buyer-exact-operations.ts'
import { channelReads } from './channel-reads.ts'
import { commonReads, commonWrites, saveOffer } from './common-operations.ts'
import { conflict, outdated } from './faults.ts'
import { sql, type Db } from './open.ts'
import { outboxReads, outboxWrites } from './outbox-operations.ts'
import { buyerReceiptReads, buyerReceiptWrites } from './receipt-operations.ts'
import {
  buyerChannelColumns,
  buyerDepositColumns,
  buyerRequestColumns,
  fromColumns,
  sellerColumns,
  toColumns,
  type BuyerChannelRow,
  type BuyerDepositRow,
  type BuyerRequestRow,
  type OfferRow,
  type SellerRow,
} from './rows.ts'

type RequestKey = Pick<BuyerRequestRow, 'channelId' | 'id'>

/** Stores a channel that was computed from the stored one: revision 1 is new, any other replaces its predecessor. */
export function saveChannel(db: Db, { channel }: { channel: BuyerChannelRow }): void {
  const statement =
    channel.rev === 1
      ? sql(
          db,
          `INSERT INTO channels (id, sellerUrl, config, "index", balance, charged, signed, signature, deposit,
             refunding, state, rev)
           VALUES (@id, @sellerUrl, @config, @index, @balance, @charged, @signed, @signature, @deposit,
             @refunding, @state, @rev)
           ON CONFLICT (id) DO NOTHING`,
        )
      : sql(
          db,
          `UPDATE channels SET sellerUrl = @sellerUrl, balance = @balance,
             charged = @charged, signed = @signed, signature = @signature, deposit = @deposit,
             refunding = @refunding, state = @state, rev = @rev
           WHERE id = @id AND rev = @rev - 1`,
        )
  const { changes } = statement.run(toColumns(buyerChannelColumns, channel))
  if (changes !== 1) throw outdated(channel)
}

/**
 * Stores a voucher and the request it pays for, before either leaves this machine; with it the offer that the receipt
 * will refer to, unless it is known to be there.
 */
export function open(
  db: Db,
  { channel, request, offer }: { channel: BuyerChannelRow; request: BuyerRequestRow; offer?: OfferRow },
): void {
  saveChannel(db, { channel })
  if (offer !== undefined) saveOffer(db, offer)
  sql(
    db,
    `INSERT INTO requests (channelId, id, sellerUrl, model, offerHash, bodyHash, ceiling, admitBySec, signature,
       openedAtMs, state, charged, receipt, outcome, closedAtMs)
     VALUES (@channelId, @id, @sellerUrl, @model, @offerHash, @bodyHash, @ceiling, @admitBySec, @signature,
       @openedAtMs, @state, @charged, @receipt, @outcome, @closedAtMs)`,
  ).run(toColumns(buyerRequestColumns, request))
}

export interface SettledRequest extends RequestKey {
  charged: Usdc
  receipt: string | null
  outcome: string
  closedAtMs: number
}

/** Books a request's final: once, in the commit that raises the channel's total. */
export function settleRequest(
  db: Db,
  { channel, request }: { channel: BuyerChannelRow; request: SettledRequest },
): void {
  saveChannel(db, { channel })
  const { changes } = sql(
    db,
    `UPDATE requests SET state = 'final', charged = @charged, receipt = @receipt, outcome = @outcome,
       closedAtMs = @closedAtMs
     WHERE channelId = @channelId AND id = @id AND state = 'open'`,
  ).run(request)
  if (changes !== 1) throw conflict('missing', `Request ${request.id} is not open.`)
}

/** The newest terms of a seller replace the older ones. */
export function saveSeller(db: Db, seller: SellerRow): void {
  sql(
    db,
    `INSERT INTO sellers (url, terms, atMs) VALUES (@url, @terms, @atMs)
     ON CONFLICT (url) DO UPDATE SET terms = @terms, atMs = @atMs WHERE atMs <= @atMs`,
  ).run(toColumns(sellerColumns, seller))
}

/** Stores a deposit, or the transaction of one that was stored without. */
export function recordDeposit(db: Db, deposit: BuyerDepositRow): void {
  sql(
    db,
    `INSERT INTO deposits (channelId, salt, sellerUrl, amount, txHash, atMs)
     VALUES (@channelId, @salt, @sellerUrl, @amount, @txHash, @atMs)
     ON CONFLICT (channelId, salt) DO UPDATE SET txHash = COALESCE(@txHash, txHash)`,
  ).run(toColumns(buyerDepositColumns, deposit))
}

/** Forgets a deposit that can never arrive. */
export function dropDeposit(db: Db, deposit: Pick<BuyerDepositRow, 'channelId' | 'salt'>): void {
  sql(db, `DELETE FROM deposits WHERE channelId = @channelId AND salt = @salt`).run(deposit)
}

export const { loadChannels, loadChannel, findRequest } = channelReads<BuyerChannelRow, BuyerRequestRow>(
  buyerChannelColumns,
  buyerRequestColumns,
)

/** The newest first. */
export function listRequests(
  db: Db,
  filter: { limit: number; state?: BuyerRequestRow['state'] | undefined },
): BuyerRequestRow[] {
  const { state = null, limit } = filter
  return sql(
    db,
    `SELECT * FROM requests WHERE @state IS NULL OR state = @state ORDER BY rowid DESC LIMIT @limit`,
  )
    .all({ state, limit })
    .map((record) => fromColumns(buyerRequestColumns, record))
}

/** What counts against a cap: charges and deposits since then, and what running requests may still cost. */
export function spentSince(
  db: Db,
  since: { sinceMs: number },
): { charged: Usdc; openCeilings: Usdc; deposited: Usdc } {
  return sql(
    db,
    `SELECT
       (SELECT COALESCE(SUM(charged), 0) FROM requests WHERE state = 'final' AND closedAtMs >= @sinceMs)
         + (SELECT COALESCE(SUM(charged), 0) FROM exactPayments WHERE state = 'final' AND closedAtMs >= @sinceMs)
         AS charged,
       (SELECT COALESCE(SUM(ceiling), 0) FROM requests WHERE state = 'open')
         + (SELECT COALESCE(SUM(amount), 0) FROM exactPayments WHERE state = 'open') AS openCeilings,
       (SELECT COALESCE(SUM(amount), 0) FROM deposits WHERE atMs >= @sinceMs) AS deposited`,
  ).get(since) as { charged: bigint; openCeilings: bigint; deposited: bigint }
}

export function loadSellers(db: Db): SellerRow[] {
  return sql(db, `SELECT * FROM sellers ORDER BY url`)
    .all()
    .map((record) => fromColumns(sellerColumns, record))
}

/** The newest first. */
export function listDeposits(db: Db, { limit }: { limit: number }): BuyerDepositRow[] {
  return sql(db, `SELECT * FROM deposits ORDER BY rowid DESC LIMIT ?`)
    .all(limit)
    .map((record) => fromColumns(buyerDepositColumns, record))
}

/** Of the newest requests, by seller: how many it was to answer, and answered. */
export interface ServedRow {
  sellerUrl: string
  asked: number
  answered: number
}

/** Requests broken off midway are not counted: nobody noted by whom. */
export function countServed(db: Db, { newest }: { newest: number }): ServedRow[] {
  return sql(
    db,
    `SELECT sellerUrl, COUNT(*) AS asked, SUM(outcome = 'answered') AS answered
     FROM (SELECT sellerUrl, outcome, charged FROM requests WHERE state = 'final' ORDER BY rowid DESC LIMIT @newest)
     WHERE outcome = 'answered' OR (outcome IN ('learned', 'refused') AND charged = 0)
     GROUP BY sellerUrl`,
  )
    .all({ newest })
    .map((row) => {
      const { sellerUrl, asked, answered } = row as { sellerUrl: string; asked: bigint; answered: bigint }
      return { sellerUrl, asked: Number(asked), answered: Number(answered) }
    })
}

export const buyerOperations = {
  writes: {
    ...commonWrites,
    ...outboxWrites,
    ...buyerExactWrites,
    ...buyerReceiptWrites,
    saveChannel,
    open,
    settleRequest,
    saveSeller,
    recordDeposit,
    dropDeposit,
  },
  reads: {
    ...commonReads,
    ...outboxReads,
    ...buyerExactReads,
    ...buyerReceiptReads,
    loadChannels,
    loadChannel,
    findRequest,
    listRequests,
    spentSince,
    loadSellers,
    listDeposits,
    countServed,
  },
}
