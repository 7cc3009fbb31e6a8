/** Group commit: what waits together is committed together, with one fsync. */
import { crashPoint } from '../base/crash.ts'
import { asOperationError, isStorageFault, toPlainError, unavailable, type PlainError } from './faults.ts'
import type { Db } from './open.ts'
import type { Operations } from './operations.ts'

/** One operation on its way to the database. */
export interface Call {
  id: number
  kind: 'write' | 'read'
  name: string
  params: unknown
}

export type Reply = { id: number; value: unknown } | { id: number; error: PlainError }

/**
 * Runs the writes in one transaction and then the reads. A write that fails is undone alone; when the transaction
 * itself fails, every write in it fails with `store_unavailable` and the database is ready for the next group.
 */
export function runGroup(db: Db, operations: Operations, calls: readonly Call[]): Reply[] {
  const writes = calls.filter((call) => call.kind === 'write')
  const reads = calls.filter((call) => call.kind === 'read')
  return [
    ...(writes.length > 0 ? commit(db, operations, writes) : []),
    ...reads.map((call) => read(db, operations, call)),
  ]
}

function commit(db: Db, operations: Operations, writes: readonly Call[]): Reply[] {
  try {
    db.exec('BEGIN IMMEDIATE')
    const replies = writes.map((call) => write(db, operations, call))
    crashPoint('store.commit')
    db.exec('COMMIT')
    crashPoint('store.committed')
    return replies
  } catch (thrown) {
    rollBack(db)
    const error = toPlainError(unavailable(thrown))
    return writes.map(({ id }) => ({ id, error }))
  }
}

function write(db: Db, operations: Operations, { id, name, params }: Call): Reply {
  db.exec('SAVEPOINT operation')
  try {
    const value = find(operations.writes, name)(db, params as never)
    db.exec('RELEASE operation')
    return { id, value }
  } catch (thrown) {
    if (isStorageFault(thrown)) throw thrown
    db.exec('ROLLBACK TO operation; RELEASE operation')
    return { id, error: toPlainError(asOperationError(thrown)) }
  }
}

function read(db: Db, operations: Operations, { id, name, params }: Call): Reply {
  try {
    return { id, value: find(operations.reads, name)(db, params as never) }
  } catch (thrown) {
    const error = isStorageFault(thrown) ? unavailable(thrown) : asOperationError(thrown)
    return { id, error: toPlainError(error) }
  }
}

function find<Op>(operations: Record<string, Op>, name: string): Op {
  const operation = operations[name]
  if (!operation) throw new Error(`The store has no operation ${name}.`)
  return operation
}

// Some faults end the transaction by themselves.
function rollBack(db: Db): void {
  if (db.inTransaction) db.exec('ROLLBACK')
}
