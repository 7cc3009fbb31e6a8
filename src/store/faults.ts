/** Turns what SQLite throws into our errors, and carries errors from the writer thread to its callers. */
import { OpenSeedError, asOpenSeedError } from '../base/errors.ts'
import type { ErrorCode } from '../base/error-codes.ts'
import type { Hex } from '../wire/hex.ts'

const checkDisk = 'Check the free space and the health of the disk.'

/** An error as plain values: classes do not survive the way between threads. */
export interface PlainError {
  code: ErrorCode
  message: string
  hint: string | undefined
  details: Record<string, unknown> | undefined
}

/** `missing`: no such open row. `invariant`: the database forbids it. */
export type ConflictReason = 'missing' | 'invariant'

export function conflict(reason: ConflictReason, message: string, cause?: unknown): OpenSeedError {
  return new OpenSeedError('store_conflict', { message, details: { reason }, cause })
}

/** Of a change that builds on one that was not stored: it is right, and may be made again once the channel is read back. */
export function outdated({ id, rev }: { id: Hex; rev: number }): OpenSeedError {
  return new OpenSeedError('store_unavailable', {
    message: `An earlier change of channel ${id} than ${rev} was not stored.`,
    hint: checkDisk,
  })
}

export function unavailable(thrown: unknown): OpenSeedError {
  const cause = thrown instanceof Error ? thrown.message : String(thrown)
  return new OpenSeedError('store_unavailable', {
    message: `The database cannot be used: ${cause}.`,
    hint: checkDisk,
    cause: thrown,
  })
}

// What concerns the file or the machine, never a single operation.
const storageFaults =
  /^SQLITE_(FULL|IOERR|NOMEM|BUSY|LOCKED|READONLY|CORRUPT|NOTADB|CANTOPEN|PERM|AUTH|PROTOCOL)(_|$)/

/** True for a fault of the disk or file: the whole transaction is lost, not one operation. */
export function isStorageFault(thrown: unknown): boolean {
  return storageFaults.test(sqliteCode(thrown))
}

/** The error of one failed operation. */
export function asOperationError(thrown: unknown): OpenSeedError {
  if (!sqliteCode(thrown).startsWith('SQLITE_CONSTRAINT')) return asOpenSeedError(thrown)
  return conflict('invariant', `The change breaks a rule of the store: ${(thrown as Error).message}.`, thrown)
}

/** SQLite's own code of a thrown value, '' for anything else. */
export function sqliteCode(thrown: unknown): string {
  const code = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : ''
  return code.startsWith('SQLITE_') ? code : ''
}

export function toPlainError({ code, message, hint, details }: OpenSeedError): PlainError {
  return { code, message, hint, details }
}

export function fromPlainError({ code, ...facts }: PlainError): OpenSeedError {
  return new OpenSeedError(code, facts)
}
