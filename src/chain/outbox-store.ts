import { OpenSeedError } from '../base/errors.ts'
import type { Address, Hex } from '../wire/hex.ts'

/** Where a transaction of the outbox stands. Only `signed` rows hold a nonce that the chain may still see. */
export type OutboxStatus = 'intended' | 'signed' | 'confirmed' | 'reverted' | 'dropped'

/** One intent: a call that is to happen once, whatever crashes. `result` is JSON: logs, or the reason of a failure. */
export interface OutboxRow {
  key: string
  kind: string
  to: Address
  data: Hex
  nonce: number | null
  raw: Hex | null
  hash: Hex | null
  status: OutboxStatus
  block: number | null
  result: string | null
  createdAtMs: number
}

/** Durable rows of one gas-paying key. Every promise resolves after the commit. */
export interface OutboxStore {
  /** Inserts an `intended` row, or makes one again of a `dropped` row with this key; false when a live row has it. */
  intend(row: Pick<OutboxRow, 'key' | 'kind' | 'to' | 'data' | 'createdAtMs'>): Promise<boolean>
  /** Moves an `intended` row to `signed`. */
  outboxSigned(row: { key: string; nonce: number; raw: Hex; hash: Hex }): Promise<unknown>
  /** Adds a copy with a higher fee to a `signed` row. */
  outboxBumped(row: { key: string; raw: Hex; hash: Hex }): Promise<unknown>
  /** Moves a `confirmed` or `reverted` row back to `signed`: the chain gave its block up. */
  outboxReopen(row: { key: string }): Promise<boolean>
  outboxDone(row: {
    key: string
    status: 'confirmed' | 'reverted' | 'dropped'
    block: number | null
    result: string | null
  }): Promise<unknown>
  /** Rows `intended` or `signed`, oldest first. */
  outboxPending(): Promise<OutboxRow[]>
  outboxFind(row: { key: string }): Promise<OutboxRow | null>
  /** The row's copies with higher fees, oldest first. */
  outboxCopies(row: { key: string }): Promise<SignedCopy[]>
  /** Rows `confirmed` or `reverted` in this block or a later one. */
  outboxMinedSince(row: { block: number }): Promise<OutboxRow[]>
  /** The highest nonce ever signed, null when none was. */
  outboxMaxNonce(): Promise<number | null>
}

/** Signed bytes and their hash. */
export interface SignedCopy {
  raw: Hex
  hash: Hex
}

/** A row whose transaction is signed and may be on its way. */
export interface SignedRow extends OutboxRow {
  nonce: number
  raw: Hex
  hash: Hex
  /** The same transaction at rising fees, the first one included: one nonce, so at most one of them is mined. */
  copies: readonly [SignedCopy, ...SignedCopy[]]
}

/** The copy that offers most. */
export const newestCopy = ({ copies }: SignedRow): SignedCopy => copies.at(-1) ?? copies[0]

/** Completes a row that was signed. Throws what the store throws. */
export async function loadSigned(store: OutboxStore, row: OutboxRow): Promise<SignedRow> {
  const { nonce, raw, hash } = row
  if (nonce === null || raw === null || hash === null)
    throw new OpenSeedError('internal_error', {
      message: `The outbox row ${row.key} is signed but incomplete.`,
    })
  return {
    ...row,
    nonce,
    raw,
    hash,
    copies: [{ raw, hash }, ...(await store.outboxCopies({ key: row.key }))],
  }
}
