/** The node's own key, as a file of the home. */
import { randomBytes } from 'node:crypto'
import {
  chmodSync,
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { OpenSeedError } from '../base/errors.ts'
import { nodeKeyOf, type NodeKey } from '../wire/node-key.ts'

const keyFile = 'node.key'

/** The node key in `folder`, made at the first call. */
export function openNodeKey(folder: string): NodeKey {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const path = join(folder, keyFile)
  if (!existsSync(path)) createOnce(folder, path, randomBytes(32))
  return readNodeKey(path)
}

/** The node key in `folder`; null where none was made yet. */
export function findNodeKey(folder: string): NodeKey | null {
  const path = join(folder, keyFile)
  return existsSync(path) ? readNodeKey(path) : null
}

/** Replaces the node key. The old one stays beside it as `node.key.<n>`; until the new one is whole it stays in use. */
export function rotateNodeKey(folder: string): NodeKey {
  openNodeKey(folder)
  const path = join(folder, keyFile)
  let n = 1
  while (existsSync(`${path}.${n}`)) n += 1
  linkSync(path, `${path}.${n}`)
  replaceFile(folder, path, randomBytes(32))
  return readNodeKey(path)
}

function readNodeKey(path: string): NodeKey {
  const seed = readFileSync(path)
  // A new key would be another seller to everyone, without this one's past: never made behind its owner's back.
  if (seed.length !== 32) {
    throw new OpenSeedError('config_invalid', {
      message: `${path} is damaged: a node key has 32 bytes, this file has ${seed.length}.`,
      hint: 'Restore it from a backup, or move it away to get a new identity.',
    })
  }
  chmodSync(path, 0o600)
  return nodeKeyOf(seed)
}

// Linking, unlike renaming, fails when the name is taken: of two processes at once both end with the same key.
function createOnce(folder: string, path: string, content: Uint8Array): void {
  const draft = writeDraft(path, content)
  try {
    linkSync(draft, path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  } finally {
    unlinkSync(draft)
  }
  syncFolder(folder)
}

/** Writes a file that is either the old or the new one whatever happens, readable by its owner only. */
export function replaceFile(folder: string, path: string, content: Uint8Array | string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  renameSync(writeDraft(path, content), path)
  syncFolder(folder)
}

function writeDraft(path: string, content: Uint8Array | string): string {
  const draft = `${path}.${randomBytes(6).toString('hex')}.draft`
  const file = openSync(draft, 'wx', 0o600)
  try {
    writeFileSync(file, content)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
  return draft
}

function syncFolder(folder: string): void {
  // Windows has no handle on a folder; its journal keeps the entry.
  if (process.platform === 'win32') return
  const entries = openSync(folder, 'r')
  try {
    fsyncSync(entries)
  } finally {
    closeSync(entries)
  }
}
