/** The payout wallet's word for this node, as a file of the home: signed here, or elsewhere and brought in. */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { OpenSeedError } from '../base/errors.ts'
import type { Digests } from '../wire/digests.ts'
import type { Address, Hex } from '../wire/hex.ts'
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
import { replaceFile } from './identity.ts'

const bindingFile = 'node.binding.json'
const draftFile = 'node.binding.draft.json'
const renewBeforeSec = 30 * 86_400

export interface BindingNeeds {
  peer: PeerId
  payTo: Address
  digests: Digests
  nowMs: number
}

/**
 * The wallet's binding for this node: the stored one while it fits and has 30 days left, else a new one. Its sequence
 * is above the stored one's, also when key or wallet were changed since. `sign` gives the wallet's signature over a
 * digest and is asked only for a new one; with null a stored one that fits is good until its end, and without it
 * `binding_missing` is thrown.
 */
export async function openBinding(
  folder: string,
  needs: BindingNeeds & { sign: ((digest: Hex) => Hex | Promise<Hex>) | null },
): Promise<SignedBinding> {
  const { sign, digests, nowMs } = needs
  const stored = readStored(folder)
  if (stored && fits(stored, needs)) {
    const leftSec = stored.signed.notAfterSec - Math.floor(nowMs / 1000)
    if (leftSec > (sign === null ? 0 : renewBeforeSec)) return stored.signed
  }
  if (sign === null) throw missing(stored, needs)
  const binding = newBinding(stored, needs)
  const signed = { ...binding, signature: await sign(bindingHash(digests, binding)) }
  storeBinding(folder, digests, signed)
  return signed
}

/** The binding that lies in `folder`, for whatever node, wallet and network; null when there is none. */
export function findBinding(folder: string): SignedBinding | null {
  return readStored(folder)?.signed ?? null
}

/** Keeps a binding, verified by the caller, in place of the one before. */
export function storeBinding(folder: string, digests: Digests, signed: SignedBinding): void {
  const content = { hash: bindingHash(digests, signed), binding: encodeBinding(signed) }
  replaceFile(folder, join(folder, bindingFile), JSON.stringify(content))
  rmSync(join(folder, draftFile), { force: true })
}

/** What the wallet is to sign elsewhere. The same one when asked again soon: it may be on its way to the wallet. */
export function draftBinding(folder: string, needs: BindingNeeds): PeerBinding {
  const draft = findDraft(folder, needs)
  const nowSec = Math.floor(needs.nowMs / 1000)
  if (draft !== null && draft.notAfterSec - nowSec > mostBindingSec - renewBeforeSec) return draft
  const binding = newBinding(readStored(folder), needs)
  // In the form of a binding, so that one parser reads both.
  const content = {
    hash: bindingHash(needs.digests, binding),
    binding: encodeBinding({ ...binding, signature: '0x' }),
  }
  replaceFile(folder, join(folder, draftFile), JSON.stringify(content))
  return binding
}

/** What was drafted for this node, wallet and network and is not signed yet; null when nothing was. */
export function findDraft(folder: string, needs: BindingNeeds): PeerBinding | null {
  const draft = readFile(join(folder, draftFile))
  if (draft === null || !fits(draft, needs)) return null
  const { signature: _, ...binding } = draft.signed
  return binding
}

interface StoredBinding {
  /** The digest that was signed: it tells the network, which the binding itself does not name. */
  hash: unknown
  signed: SignedBinding
}

function newBinding(stored: StoredBinding | null, { peer, payTo, nowMs }: BindingNeeds): PeerBinding {
  const nowSec = Math.floor(nowMs / 1_000)
  return {
    peer,
    payTo,
    notBeforeSec: nowSec,
    notAfterSec: nowSec + mostBindingSec,
    seq: nextSeq(stored?.signed.seq ?? null, nowMs),
  }
}

function fits({ hash, signed }: StoredBinding, { peer, payTo, digests, nowMs }: BindingNeeds): boolean {
  return (
    signed.peer === peer &&
    signed.payTo === payTo &&
    signed.notBeforeSec <= nowMs / 1_000 &&
    hash === bindingHash(digests, signed)
  )
}

function missing(stored: StoredBinding | null, needs: BindingNeeds): OpenSeedError {
  const { peer, payTo } = needs
  const endSec = stored && fits(stored, needs) ? stored.signed.notAfterSec : null
  return new OpenSeedError('binding_missing', {
    message:
      endSec === null
        ? `The wallet ${payTo} has not signed for this node (${peer}), so it cannot be announced.`
        : `What the wallet ${payTo} signed for this node ran out on ${dayOf(endSec)}, so it cannot be announced.`,
    hint: 'openseed wallet bind, then sign what it prints with that wallet. Or set sell.announce to false.',
  })
}

/** A day of UTC, as people read it. */
export function dayOf(atSec: number): string {
  return new Date(atSec * 1000).toISOString().slice(0, 10)
}

const readStored = (folder: string) => readFile(join(folder, bindingFile))

// A damaged file costs one more signature and nothing else.
function readFile(path: string): StoredBinding | null {
  try {
    const { hash, binding } = JSON.parse(readFileSync(path, 'utf8')) as { hash?: unknown; binding?: unknown }
    return { hash, signed: parseBinding(binding) }
  } catch {
    return null
  }
}
