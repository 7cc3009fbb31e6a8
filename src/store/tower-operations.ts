/** What a watchtower stores and asks. One function, one transaction, one invariant. */
import type { Usdc } from '../wire/amount.ts'
import type { ChannelConfig } from '../wire/channel.ts'
import type { Hex } from '../wire/hex.ts'
import { commonReads, commonWrites } from './common-operations.ts'
import { sql, type Db } from './open.ts'
import { outboxReads, outboxWrites } from './outbox-operations.ts'
import { fromColumns, toColumns, type Columns } from './rows.ts'

/** A seller that is followed. */
export interface WatchedRow {
  /** its address */
  seller: string
  /** JSON: who it said it is */
  pairing: string
  /** up to here its updates are stored; empty for none */
  cursor: string
  pairedAtMs: number
}

/** The newest claim of a channel that its seller signed. Amounts are cumulative. */
export interface TowerClaimRow {
  channelId: Hex
  seller: string
  config: ChannelConfig
  maxClaimable: Usdc
  /** the buyer's signature over `maxClaimable` */
  voucher: Hex
  totalClaimed: Usdc
  /** the seller's signature over the claim */
  claim: Hex
  atMs: number
}

const watchedColumns: Columns<WatchedRow> = {
  seller: 'text',
  pairing: 'text',
  cursor: 'text',
  pairedAtMs: 'number',
}

const claimColumns: Columns<TowerClaimRow> = {
  channelId: 'text',
  seller: 'text',
  config: 'json',
  maxClaimable: 'bigint',
  voucher: 'text',
  totalClaimed: 'bigint',
  claim: 'text',
  atMs: 'number',
}

/** Paired anew, a seller begins anew: it may not be the one of before. */
function watchSeller(db: Db, row: WatchedRow): void {
  sql(
    db,
    `INSERT INTO watched (seller, pairing, cursor, pairedAtMs) VALUES (@seller, @pairing, @cursor, @pairedAtMs)
     ON CONFLICT (seller) DO UPDATE SET pairing = @pairing, cursor = @cursor, pairedAtMs = @pairedAtMs`,
  ).run(toColumns(watchedColumns, row))
}

/** Claims and the cursor behind them, in one commit: what is confirmed is there. */
function saveClaims(
  db: Db,
  { seller, cursor, rows }: Pick<WatchedRow, 'seller' | 'cursor'> & { rows: readonly TowerClaimRow[] },
): void {
  for (const row of rows) {
    sql(
      db,
      `INSERT INTO claims (channelId, seller, config, maxClaimable, voucher, totalClaimed, claim, atMs)
       VALUES (@channelId, @seller, @config, @maxClaimable, @voucher, @totalClaimed, @claim, @atMs)
       ON CONFLICT (channelId) DO UPDATE SET seller = @seller, maxClaimable = @maxClaimable, voucher = @voucher,
         totalClaimed = @totalClaimed, claim = @claim, atMs = @atMs`,
    ).run(toColumns(claimColumns, row))
  }
  sql(db, `UPDATE watched SET cursor = @cursor WHERE seller = @seller`).run({ seller, cursor })
}

/** Forgets claims that have no more use, unless a newer one has come. */
function forgetClaims(
  db: Db,
  { rows }: { rows: readonly Pick<TowerClaimRow, 'channelId' | 'totalClaimed'>[] },
): void {
  for (const row of rows)
    sql(db, `DELETE FROM claims WHERE channelId = @channelId AND totalClaimed = @totalClaimed`).run(row)
}

const watchedSellers = (db: Db): WatchedRow[] =>
  sql(db, `SELECT * FROM watched ORDER BY pairedAtMs, seller`)
    .all()
    .map((record) => fromColumns(watchedColumns, record))

const loadClaims = (db: Db): TowerClaimRow[] =>
  sql(db, `SELECT * FROM claims ORDER BY rowid`)
    .all()
    .map((record) => fromColumns(claimColumns, record))

export const towerOperations = {
  writes: { ...commonWrites, ...outboxWrites, watchSeller, saveClaims, forgetClaims },
  reads: { ...commonReads, ...outboxReads, watchedSellers, loadClaims },
}
