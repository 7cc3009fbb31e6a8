import { conflict } from './faults.ts'
import { sql, type Db } from './open.ts'
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

export const outboxWrites = { intend, outboxSigned, outboxDone }
export const outboxReads = { outboxPending, outboxFind, outboxMaxNonce }
