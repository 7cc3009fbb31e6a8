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
  outboxDone(row: {
    key: string
    status: 'confirmed' | 'reverted' | 'dropped'
    block: number | null
    result: string | null
  }): Promise<unknown>
  /** Rows `intended` or `signed`, oldest first. */
  outboxPending(): Promise<OutboxRow[]>
  outboxFind(row: { key: string }): Promise<OutboxRow | null>
  /** The highest nonce ever signed, null when none was. */
  outboxMaxNonce(): Promise<number | null>
}

/** A row whose transaction is signed and may be on its way. */
export interface SignedRow extends OutboxRow {
  status: 'signed'
  nonce: number
  raw: Hex
  hash: Hex
}

/** Narrows a row that the store says is signed. */
export function signedRow(row: OutboxRow): SignedRow {
  const { nonce, raw, hash } = row
  if (nonce === null || raw === null || hash === null)
    throw new OpenSeedError('internal_error', {
      message: `The outbox row ${row.key} is signed but incomplete.`,
    })
  return { ...row, status: 'signed', nonce, raw, hash }
}
