/**
 * One process per role and home. The lock is an exclusive SQLite transaction on a file of its own: the kernel gives
 * it back when the process dies, however it dies. The owner's pid stands in a second file, for people.
 */
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { OpenSeedError } from '../base/errors.ts'
import type { SchemaName } from './migrate.ts'
import { openFile, type Db } from './open.ts'
import { sqliteCode, unavailable } from './faults.ts'

export interface RoleLock extends Disposable {
  release(): void
}

interface LockOwner {
  pid: number
  startedAtMs: number
}

/** Takes the role's lock in `dir`, or throws `home_locked` naming the process that has it. */
export function lockRole(dir: string, role: SchemaName): RoleLock {
  const ownerPath = join(dir, `${role}.pid`)
  const db = holdExclusive(join(dir, `${role}.lock`))
  if (!db) throw lockedBy(readOwner(ownerPath), role, dir)
  writeOwner(ownerPath, { pid: process.pid, startedAtMs: Date.now() })
  let held = true
  const release = () => {
    if (!held) return
    held = false
    rmSync(ownerPath, { force: true })
    db.close()
  }
  return { release, [Symbol.dispose]: release }
}

function holdExclusive(path: string): Db | null {
  let db: Db | undefined
  try {
    db = openFile(path, { readonly: false, timeoutMs: 0 })
    db.exec('BEGIN EXCLUSIVE')
    return db
  } catch (thrown) {
    db?.close()
    if (sqliteCode(thrown).startsWith('SQLITE_BUSY')) return null
    throw unavailable(thrown)
  }
}

// Renamed into place, so that a contender reads a whole owner or none.
function writeOwner(path: string, owner: LockOwner): void {
  const draft = `${path}.${process.pid}`
  writeFileSync(draft, JSON.stringify(owner), { mode: 0o600 })
  renameSync(draft, path)
}

/** Null when the owner has not written its name yet: the file is missing, or left by a dead process. */
function readOwner(path: string): LockOwner | null {
  try {
    const owner = JSON.parse(readFileSync(path, 'utf8')) as LockOwner
    return isAlive(owner.pid) ? owner : null
  } catch {
    return null
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (thrown) {
    return (thrown as NodeJS.ErrnoException).code === 'EPERM'
  }
}

function lockedBy(owner: LockOwner | null, role: SchemaName, dir: string): OpenSeedError {
  const who = owner
    ? `process ${owner.pid}, running since ${new Date(owner.startedAtMs).toISOString()}`
    : 'another process that has just started'
  return new OpenSeedError('home_locked', {
    message: `The ${role} in ${dir} is in use by ${who}.`,
    hint: `Stop it first, or give this ${role} another home with --home.`,
    details: { pid: owner?.pid ?? null },
  })
}
