/** What a seller stores and asks. One function, one transaction, one invariant. */
import type { Usdc } from '../wire/amount.ts'
import { channelReads } from './channel-reads.ts'
import { commonReads, commonWrites } from './common-operations.ts'
import { conflict, outdated } from './faults.ts'
import { sql, type Db } from './open.ts'
import { outboxReads, outboxWrites } from './outbox-operations.ts'
import { sellerReceiptReads } from './receipt-operations.ts'
import { sellerExactReads, sellerExactWrites } from './seller-exact-operations.ts'
import {
  fromColumns,
  sellerChannelColumns,
  sellerRequestColumns,
  toColumns,
  type SellerChannelRow,
  type SellerRequestRow,
} from './rows.ts'

type RequestKey = Pick<SellerRequestRow, 'channelId' | 'id'>

/** Stores a channel that was computed from the stored one: revision 1 is new, any other replaces its predecessor. */
export function saveChannel(db: Db, { channel }: { channel: SellerChannelRow }): void {
  const statement =
    channel.rev === 1
      ? sql(
          db,
          `INSERT INTO channels (id, config, balance, totalClaimed, charged, signed, signature, told, refunding,
             withdrawing, withdrawInitiatedAtSec, refundNonce, rev)
           VALUES (@id, @config, @balance, @totalClaimed, @charged, @signed, @signature, @told, @refunding,
             @withdrawing, @withdrawInitiatedAtSec, @refundNonce, @rev)
           ON CONFLICT (id) DO NOTHING`,
        )
      : sql(
          db,
          `UPDATE channels SET balance = @balance, totalClaimed = @totalClaimed,
             charged = @charged, signed = @signed, signature = @signature, told = @told, refunding = @refunding,
             withdrawing = @withdrawing, withdrawInitiatedAtSec = @withdrawInitiatedAtSec,
             refundNonce = @refundNonce, rev = @rev
           WHERE id = @id AND rev = @rev - 1`,
        )
  const { changes } = statement.run(toColumns(sellerChannelColumns, channel))
  if (changes !== 1) throw outdated(channel)
}

/** Takes a request in: it is held under the channel's highest voucher from this commit on. */
export function admit(
  db: Db,
  { channel, request }: { channel: SellerChannelRow; request: SellerRequestRow },
): void {
  saveChannel(db, { channel })
  insertRequest(db, request)
  const held = heldCeilings(db, channel.id)
  if (channel.charged + held > channel.signed) {
    throw conflict('invariant', `Channel ${channel.id} would hold more than its buyer signed.`)
  }
}

export interface FinishedRequest extends RequestKey {
  charged: Usdc
  cumulative: Usdc
  receipt: string | null
  closedAtMs: number
  streamed: boolean
}

/** Charges a request: its row closes and the channel's total rises in one commit. */
export function finish(
  db: Db,
  { channel, request }: { channel: SellerChannelRow; request: FinishedRequest },
): void {
  const before = chargedSoFar(db, channel.id)
  if (channel.charged < before + request.charged) {
    throw conflict('invariant', `The charge of request ${request.id} is missing from its channel's total.`)
  }
  saveChannel(db, { channel })
  const { changes } = sql(
    db,
    `UPDATE requests SET state = 'closed', charged = @charged, cumulative = @cumulative, receipt = @receipt,
       streamed = @streamed, closedAtMs = @closedAtMs
     WHERE channelId = @channelId AND id = @id AND state = 'open'`,
  ).run({ ...request, streamed: request.streamed ? 1n : 0n })
  if (changes !== 1) throw conflict('missing', `Request ${request.id} is not open.`)
}

/** Closes ids that were asked about and never seen: at zero, for ever. */
export function closeUnknown(
  db: Db,
  { channel, requests }: { channel: SellerChannelRow; requests: SellerRequestRow[] },
): void {
  saveChannel(db, { channel })
  for (const request of requests) insertRequest(db, request)
}

/** Journals what a running request has produced, so that a restart can charge it; false when it is not open. */
export function meter(db: Db, metered: RequestKey & { meter: Usdc }): boolean {
  const { changes } = sql(
    db,
    `UPDATE requests SET meter = MIN(MAX(meter, @meter), ceiling)
     WHERE channelId = @channelId AND id = @id AND state = 'open'`,
  ).run(metered)
  return changes === 1
}

function insertRequest(db: Db, request: SellerRequestRow): void {
  sql(
    db,
    `INSERT INTO requests (channelId, id, stock, ceiling, meter, bodyHash, offerHash, admitBySec, signature,
       openedAtMs, state, charged, cumulative, receipt, streamed, closedAtMs)
     VALUES (@channelId, @id, @stock, @ceiling, @meter, @bodyHash, @offerHash, @admitBySec, @signature,
       @openedAtMs, @state, @charged, @cumulative, @receipt, @streamed, @closedAtMs)`,
  ).run(toColumns(sellerRequestColumns, request))
}

function heldCeilings(db: Db, channelId: string): Usdc {
  const held = sql(
    db,
    `SELECT COALESCE(SUM(ceiling), 0) AS sum FROM requests WHERE channelId = ? AND state = 'open'`,
  ).get(channelId)
  return (held as { sum: bigint }).sum
}

function chargedSoFar(db: Db, channelId: string): Usdc {
  const record = sql(db, `SELECT charged FROM channels WHERE id = ?`).get(channelId)
  return (record as { charged: bigint } | undefined)?.charged ?? 0n
}

export const { loadChannels, loadChannel, findRequest } = channelReads<SellerChannelRow, SellerRequestRow>(
  sellerChannelColumns,
  sellerRequestColumns,
)

/** The newest first. */
export function listRequests(
  db: Db,
  filter: { channelId?: string | undefined; limit: number },
): SellerRequestRow[] {
  const { channelId = null, limit } = filter
  return sql(
    db,
    `SELECT * FROM requests WHERE @channelId IS NULL OR channelId = @channelId ORDER BY rowid DESC LIMIT @limit`,
  )
    .all({ channelId, limit })
    .map((record) => fromColumns(sellerRequestColumns, record))
}

/** Over all channels; `requests` counts the finished ones that cost something. */
export function totals(db: Db): { charged: Usdc; claimed: Usdc; requests: number } {
  const sums = sql(
    db,
    `SELECT COALESCE(SUM(charged), 0) AS charged, COALESCE(SUM(totalClaimed), 0) AS claimed,
       (SELECT COUNT(*) FROM requests WHERE charged > 0) AS requests
     FROM channels`,
  ).get() as { charged: bigint; claimed: bigint; requests: bigint }
  return { ...sums, requests: Number(sums.requests) }
}

export const sellerOperations = {
  writes: {
    ...commonWrites,
    ...outboxWrites,
    ...sellerExactWrites,
    saveChannel,
    admit,
    finish,
    closeUnknown,
    meter,
  },
  reads: {
    ...commonReads,
    ...outboxReads,
    ...sellerReceiptReads,
    ...sellerExactReads,
    loadChannels,
    loadChannel,
    findRequest,
    listRequests,
    totals,
  },
}
