/** `openseed identity`: which nodes this home is, and a new name for one of them. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Config } from '../config/config.ts'
import { makeHeartbeat } from '../seller/announcement.ts'
import { lockRole } from '../store/lock.ts'
import { openReader } from '../store/reader.ts'
import { checksummed } from '../wire/hex.ts'
import type { NodeKey } from '../wire/node-key.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { announceSeqKey } from './announcing.ts'
import { findBinding } from './binding.ts'
import { findNodeKey, rotateNodeKey } from './identity.ts'
import { openRegistries } from './open-registries.ts'

export type NodeRole = 'seller' | 'buyer' | 'registry'

/** One node of this home. */
export interface Identity {
  role: NodeRole
  peer: PeerId
  /** Where its key lies. */
  folder: string
  /** The wallet's word for it; null where there is none for this key. */
  binding: { payTo: string; untilSec: number } | null
}

/** Every node of this home that has a key already. */
export function listIdentities({ paths }: Pick<Config, 'paths'>): Identity[] {
  const roles = ['seller', 'buyer', 'registry'] as const
  return roles.flatMap((role) => {
    const key = findNodeKey(paths[role])
    return key === null ? [] : [identityOf(role, paths[role], key)]
  })
}

export interface Rotated {
  /** Null when there was none yet. */
  before: PeerId | null
  now: Identity
  /** Registries that know by the old key that it left. */
  told: string[]
}

/**
 * Gives a role a new node key; the old one stays beside it. Registries in reach hear by the old one that it has left;
 * elsewhere its record runs out. Throws `home_locked` while the role runs.
 */
export async function rotateIdentity(config: Config, role: 'seller' | 'buyer'): Promise<Rotated> {
  const folder = config.paths[role]
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  using _ = lockRole(folder, role)
  const old = findNodeKey(folder)
  const told = old !== null && role === 'seller' ? await sayGoodbye(config, old, readSeq(folder)) : []
  const key = rotateNodeKey(folder)
  return { before: old?.peerId ?? null, now: identityOf(role, folder, key), told }
}

function identityOf(role: NodeRole, folder: string, { peerId }: NodeKey): Identity {
  const binding = role === 'seller' ? findBinding(folder) : null
  const isOurs = binding?.peer === peerId
  return {
    role,
    peer: peerId,
    folder,
    binding: isOurs ? { payTo: checksummed(binding.payTo), untilSec: binding.notAfterSec } : null,
  }
}

/** Of the last record that this home has signed: whoever has taken over the key since is not taken leave of. */
function readSeq(folder: string): number {
  using reader = openReader(join(folder, 'seller.db'), 'seller')
  return Number(reader?.read('getMeta', { key: announceSeqKey }) ?? 0)
}

/** Gives the registries that took it. */
async function sayGoodbye(config: Config, key: NodeKey, recordSeq: number): Promise<string[]> {
  const beat = makeHeartbeat(key, {
    slots: { taken: 0, limit: 0 },
    tps: null,
    warm: [],
    recordSeq,
    seq: Date.now(),
    leaving: true,
  })
  const { allowPrivate } = config.buy
  const clients = await openRegistries(config.registries, { allowPrivate }).catch(() => [])
  const goodbyes = clients.map(async (client) => {
    await using _ = client
    const { status } = await client.heartbeat(beat)
    return status === 'ok' ? [client.url] : []
  })
  const told = await Promise.allSettled(goodbyes)
  return told.flatMap((goodbye) => (goodbye.status === 'fulfilled' ? goodbye.value : []))
}
