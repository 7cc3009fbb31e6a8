/** The node's own key and the wallet's word for it, as files of the home. */
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
import type { Digests } from '../wire/digests.ts'
import type { Address, Hex } from '../wire/hex.ts'
import { nodeKeyOf, type NodeKey } from '../wire/node-key.ts'
import type { PeerId } from '../wire/peer-id.ts'
import {
  bindingHash,
  encodeBinding,
  mostBindingSec,
  parseBinding,
  type PeerBinding,
  type SignedBinding,
} from '../wire/peer-binding.ts'
import { nextSeq } from '../wire/record.ts'

const keyFile = 'node.key'
const bindingFile = 'node.binding.json'
const renewBeforeSec = 30 * 86_400

/** The node key in `folder`, made at the first call. */
export function openNodeKey(folder: string): NodeKey {
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const path = join(folder, keyFile)
  if (!existsSync(path)) createOnce(folder, path, randomBytes(32))
  return readNodeKey(path)
}

/** Replaces the node key. The old one stays beside it as `node.key.<n>`; until the new one is whole it stays in use. */
export function rotateNodeKey(folder: string): NodeKey {
  openNodeKey(folder)
  const path = join(folder, keyFile)
  let n = 1
  while (existsSync(`${path}.${n}`)) n += 1
  linkSync(path, `${path}.${n}`)
  replace(folder, path, randomBytes(32))
  return readNodeKey(path)
}

export interface BindingNeeds {
  peer: PeerId
  payTo: Address
  digests: Digests
  nowMs: number
  /** The wallet's signature over a digest. Asked only when a new binding is needed. */
  sign: (digest: Hex) => Hex | Promise<Hex>
}

/**
 * The wallet's binding for this node: the stored one while it fits and has 30 days left, else a new one. Its sequence
 * is above the stored one's, also when key or wallet were changed since.
 */
export async function openBinding(folder: string, needs: BindingNeeds): Promise<SignedBinding> {
  const { peer, payTo, digests, nowMs, sign } = needs
  const path = join(folder, bindingFile)
  const stored = readBinding(path)
  const nowSec = Math.floor(nowMs / 1_000)
  if (stored && isUsable(stored, needs, nowSec)) return stored.signed

  const binding: PeerBinding = {
    peer,
    payTo,
    notBeforeSec: nowSec,
    notAfterSec: nowSec + mostBindingSec,
    seq: nextSeq(stored?.signed.seq ?? null, nowMs),
  }
  const hash = bindingHash(digests, binding)
  const signed = { ...binding, signature: await sign(hash) }
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  replace(folder, path, JSON.stringify({ hash, binding: encodeBinding(signed) }))
  return signed
}

interface StoredBinding {
  /** The digest that was signed: it tells the network, which the binding itself does not name. */
  hash: unknown
  signed: SignedBinding
}

function isUsable({ hash, signed }: StoredBinding, needs: BindingNeeds, nowSec: number): boolean {
  return (
    signed.peer === needs.peer &&
    signed.payTo === needs.payTo &&
    signed.notBeforeSec <= nowSec &&
    signed.notAfterSec - nowSec > renewBeforeSec &&
    hash === bindingHash(needs.digests, signed)
  )
}

// A damaged file costs one more signature and nothing else.
function readBinding(path: string): StoredBinding | null {
  try {
    const { hash, binding } = JSON.parse(readFileSync(path, 'utf8')) as { hash?: unknown; binding?: unknown }
    return { hash, signed: parseBinding(binding) }
  } catch {
    return null
  }
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

function replace(folder: string, path: string, content: Uint8Array | string): void {
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
