import { chmodSync, closeSync, existsSync, mkdirSync, openSync } from 'node:fs'
import { dirname } from 'node:path'
import Database from 'better-sqlite3'
import { loadAddon } from '../base/assets.ts'

export type Db = Database.Database
export type Statement = Database.Statement

/** Opens a database file through the one native addon, readable by this user alone. Integers come back as bigint. */
export function openFile(path: string, options: { readonly: boolean; timeoutMs: number }): Db {
  // The constructor takes a loaded addon, which its types do not say; it is what works inside one file.
  const nativeBinding = loadAddon('better_sqlite3') as string
  if (!options.readonly) makePrivateFile(path)
  const db = new Database(path, { nativeBinding, readonly: options.readonly, timeout: options.timeoutMs })
  return db.defaultSafeIntegers(true)
}

/** Sets what makes a commit survive a power cut: the log is on disk before COMMIT returns. */
export function makeDurable(db: Db): void {
  db.pragma('journal_mode = WAL')
  db.pragma('synchronous = FULL')
  // Only macOS has an fsync that stops short of the disk; elsewhere these change nothing.
  db.pragma('fullfsync = ON')
  db.pragma('checkpoint_fullfsync = ON')
  db.pragma('foreign_keys = ON')
  // After a burst the log shrinks again at its next checkpoint (every 1000 pages).
  db.pragma(`journal_size_limit = ${16 * 1024 * 1024}`)
}

// The log and its index take the mode of the main file. A file that exists is not opened: closing it again would
// drop every lock that this process has on it.
function makePrivateFile(path: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  if (existsSync(path)) chmodSync(path, 0o600)
  else closeSync(openSync(path, 'a', 0o600))
}

const statements = new WeakMap<Db, Map<string, Statement>>()

/** A prepared statement, compiled once per database. */
export function sql(db: Db, text: string): Statement {
  let known = statements.get(db)
  if (!known) statements.set(db, (known = new Map()))
  let statement = known.get(text)
  if (!statement) known.set(text, (statement = db.prepare(text)))
  return statement
}
