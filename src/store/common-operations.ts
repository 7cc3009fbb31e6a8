import { sql, type Db } from './open.ts'
import { fromColumns, offerColumns, toColumns, type OfferRow } from './rows.ts'

/** The same offer again is the same row: its hash is its content. */
export function saveOffer(db: Db, offer: OfferRow): void {
  sql(db, `INSERT INTO offers (hash, json, atMs) VALUES (@hash, @json, @atMs) ON CONFLICT DO NOTHING`).run(
    toColumns(offerColumns, offer),
  )
}

export function findOffer(db: Db, { hash }: Pick<OfferRow, 'hash'>): OfferRow | null {
  const record = sql(db, `SELECT * FROM offers WHERE hash = ?`).get(hash)
  return record ? fromColumns(offerColumns, record) : null
}

export function setMeta(db: Db, fact: { key: string; value: string }): void {
  sql(
    db,
    `INSERT INTO meta (key, value) VALUES (@key, @value) ON CONFLICT (key) DO UPDATE SET value = @value`,
  ).run(fact)
}

export function getMeta(db: Db, { key }: { key: string }): string | null {
  const record = sql(db, `SELECT value FROM meta WHERE key = ?`).get(key) as { value: string } | undefined
  return record?.value ?? null
}

export const commonWrites = { saveOffer, setMeta }
export const commonReads = { findOffer, getMeta }
