import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from 'node:crypto'
import { refuseMessage } from './fields.ts'
import { peerIdOf, publicKeyOf, type PeerId } from './peer-id.ts'

/** A node's own Ed25519 key. It signs records; it never touches money. */
export interface NodeKey {
  peerId: PeerId
  /** 64 bytes, deterministic. */
  sign(bytes: Uint8Array): Uint8Array
  /** The 32 secret bytes. */
  seed: Uint8Array
}

// RFC 8410: what stands before the 32 bytes of an Ed25519 key in DER.
const privatePrefix = Buffer.from('302e020100300506032b657004220420', 'hex')
const publicPrefix = Buffer.from('302a300506032b6570032100', 'hex')

/** The key of a 32-byte seed. Throws `invalid_message` for another length. */
export function nodeKeyOf(seed: Uint8Array): NodeKey {
  if (seed.length !== 32) return refuseMessage('A node key', '32 bytes')
  const der = Buffer.concat([privatePrefix, seed])
  const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
  der.fill(0)
  const publicDer = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  return {
    peerId: peerIdOf(publicDer.subarray(publicPrefix.length)),
    sign: (bytes) => sign(null, bytes, privateKey),
    seed: Uint8Array.from(seed),
  }
}

// Reading a key costs a good part of a check, and a registry hears the same sellers every half minute.
const mostKeys = 16_384
const keys = new Map<PeerId, KeyObject>()

/** True when the peer's key signed these bytes. False for anything malformed; never throws. */
export function verifyBy(peer: PeerId, bytes: Uint8Array, signature: Uint8Array): boolean {
  const known = keys.get(peer)
  const key = known ?? readKey(peer)
  if (key === null || signature.length !== 64 || !verify(null, bytes, key, signature)) return false
  // Only who signed something is remembered, so that made-up names cannot push out real ones for free.
  if (known === undefined) {
    if (keys.size >= mostKeys) forgetEldest()
    keys.set(peer, key)
  }
  return true
}

function readKey(peer: PeerId): KeyObject | null {
  const publicKey = publicKeyOf(peer)
  if (publicKey === null) return null
  try {
    return createPublicKey({ key: Buffer.concat([publicPrefix, publicKey]), format: 'der', type: 'spki' })
  } catch {
    return null
  }
}

function forgetEldest(): void {
  for (const peer of keys.keys()) {
    keys.delete(peer)
    return
  }
}
