import { conflict } from './faults.ts'
import { sql, type Db } from './open.ts'
import type { Hex } from '../wire/hex.ts'
import { fromColumns, outboxColumns, type OutboxRow } from './rows.ts'

type Key = Pick<OutboxRow, 'key'>

/**
 * Stores an intent before anything of it exists outside; false when a live or finished row has its key. A row that
 * was dropped unsigned can never reach the chain, so its key is free again.
 */
export function intend(
  db: Db,
  row: Pick<OutboxRow, 'key' | 'kind' | 'to' | 'data' | 'createdAtMs'>,
): boolean {
  const { changes } = sql(
    db,
    `INSERT INTO outbox (key, kind, "to", data, status, createdAtMs)
     VALUES (@key, @kind, @to, @data, 'intended', @createdAtMs)
     ON CONFLICT (key) DO UPDATE SET kind = @kind, "to" = @to, data = @data, status = 'intended',
       block = NULL, result = NULL, createdAtMs = @createdAtMs
     WHERE status = 'dropped' AND raw IS NULL`,
  ).run(row)
  return changes === 1
}

/** The exact bytes that may be broadcast, and again after a crash. */
export function outboxSigned(db: Db, signed: Key & { nonce: number; raw: string; hash: string }): void {
  const { changes } = sql(
    db,
    `UPDATE outbox SET nonce = @nonce, raw = @raw, hash = @hash, status = 'signed'
     WHERE key = @key AND status = 'intended'`,
  ).run(signed)
  if (changes !== 1) throw conflict('missing', `No intended transaction has the key ${signed.key}.`)
}

export function outboxDone(
  db: Db,
  done: Key & Pick<OutboxRow, 'block' | 'result'> & { status: 'confirmed' | 'reverted' | 'dropped' },
): void {
  const { changes } = sql(
    db,
    `UPDATE outbox SET status = @status, block = @block, result = @result
     WHERE key = @key AND status IN ('intended', 'signed')`,
  ).run(done)
  if (changes !== 1) throw conflict('missing', `No pending transaction has the key ${done.key}.`)
}

/** Another copy of a signed transaction, with a higher fee. It is stored before anybody else sees it. */
export function outboxBumped(db: Db, bumped: Key & { raw: string; hash: string }): void {
  const { changes } = sql(
    db,
    `INSERT INTO outboxBumps (hash, key, raw)
     SELECT @hash, @key, @raw FROM outbox WHERE key = @key AND status = 'signed'`,
  ).run(bumped)
  if (changes !== 1) throw conflict('missing', `No signed transaction has the key ${bumped.key}.`)
}

/** A mined transaction whose block the chain gave up waits again; false when it was not mined or waits already. */
export function outboxReopen(db: Db, { key }: Key): boolean {
  const { changes } = sql(
    db,
    `UPDATE outbox SET status = 'signed', block = NULL, result = NULL
     WHERE key = ? AND status IN ('confirmed', 'reverted')`,
  ).run(key)
  return changes === 1
}

/** The copies with higher fees, oldest first. */
export function outboxCopies(db: Db, { key }: Key): { raw: Hex; hash: Hex }[] {
  return sql(db, `SELECT raw, hash FROM outboxBumps WHERE key = ? ORDER BY rowid`).all(key) as {
    raw: Hex
    hash: Hex
  }[]
}

/** What was mined in this block or a later one, by nonce. */
export function outboxMinedSince(db: Db, { block }: { block: number }): OutboxRow[] {
  return sql(
    db,
    `SELECT * FROM outbox WHERE block >= ? AND status IN ('confirmed', 'reverted') ORDER BY nonce`,
  )
    .all(block)
    .map((record) => fromColumns(outboxColumns, record))
}

export function outboxPending(db: Db): OutboxRow[] {
  return sql(db, `SELECT * FROM outbox WHERE status IN ('intended', 'signed') ORDER BY createdAtMs, rowid`)
    .all()
    .map((record) => fromColumns(outboxColumns, record))
}

export function outboxFind(db: Db, { key }: Key): OutboxRow | null {
  const record = sql(db, `SELECT * FROM outbox WHERE key = ?`).get(key)
  return record ? fromColumns(outboxColumns, record) : null
}

/** Null when nothing was ever signed. */
export function outboxMaxNonce(db: Db): number | null {
  const { nonce } = sql(db, `SELECT MAX(nonce) AS nonce FROM outbox`).get() as { nonce: bigint | null }
  return nonce === null ? null : Number(nonce)
}

export const outboxWrites = { intend, outboxSigned, outboxBumped, outboxDone, outboxReopen }
export const outboxReads = { outboxPending, outboxFind, outboxCopies, outboxMinedSince, outboxMaxNonce }
