import { OpenSeedError } from '../base/errors.ts'
import { common } from './migrations/001-common.ts'
import { buyer } from './migrations/002-buyer.ts'
import { seller } from './migrations/002-seller.ts'
import { tower } from './migrations/002-tower.ts'
import { outboxBumps } from './migrations/003-outbox-bumps.ts'
import { sellerExact } from './migrations/004-seller-exact.ts'
import { buyerEvidence, sellerEvidence } from './migrations/005-evidence.ts'
import { buyerExact } from './migrations/006-buyer-exact.ts'
import { sellerDeposits } from './migrations/007-seller-deposits.ts'
import type { Db } from './open.ts'

export type SchemaName = 'buyer' | 'seller' | 'tower'

/** Each role's steps in order; a step that was released never changes, a new one is appended. */
export const migrations: Record<SchemaName, readonly string[]> = {
  buyer: [common, buyer, outboxBumps, buyerEvidence, buyerExact],
  seller: [common, seller, outboxBumps, sellerExact, sellerEvidence, sellerDeposits],
  tower: [common, tower, outboxBumps],
}

/** Brings a database to the newest schema, each step in a transaction of its own. */
export function migrate(db: Db, schema: SchemaName): void {
  const steps = migrations[schema]
  refuseNewer(db, schema)
  for (let version = versionOf(db); version < steps.length; version += 1) {
    const step = db.transaction(() => {
      db.exec(steps[version] ?? '')
      db.pragma(`user_version = ${version + 1}`)
    })
    step.immediate()
  }
}

/** True when the database has the newest schema; a newer one is refused with `store_newer`. */
export function isCurrent(db: Db, schema: SchemaName): boolean {
  refuseNewer(db, schema)
  return versionOf(db) === migrations[schema].length
}

function refuseNewer(db: Db, schema: SchemaName): void {
  const [stored, known] = [versionOf(db), migrations[schema].length]
  if (stored <= known) return
  throw new OpenSeedError('store_newer', {
    message: `The ${schema} database has schema ${stored}; this openseed knows up to ${known}.`,
    hint: 'Run the openseed that wrote it, or a newer one.',
  })
}

function versionOf(db: Db): number {
  return Number(db.pragma('user_version', { simple: true }))
}
