import { decodeBase58, encodeBase58 } from './base58.ts'
import { refuseMessage } from './fields.ts'

/** The name of a node: libp2p's text form of its Ed25519 public key, `12D3KooW…`, 52 characters. */
export type PeerId = string

// An identity multihash (00, 36 bytes) of libp2p's protobuf public key: type Ed25519 (08 01), 32 bytes (12 20).
const prefix = Buffer.from('002408011220', 'hex')
const pattern = /^12D3KooW[1-9A-HJ-NP-Za-km-z]{44}$/
// Base58's letters stand in the order of their codes, so names of one length sort like the numbers they write.
const lowest = peerIdOf(new Uint8Array(32))
const highest = peerIdOf(new Uint8Array(32).fill(255))

/** The peer id of a 32-byte Ed25519 public key. Throws `invalid_message` for another length. */
export function peerIdOf(publicKey: Uint8Array): PeerId {
  if (publicKey.length !== 32) return refuseMessage('An Ed25519 public key', '32 bytes')
  return encodeBase58(Buffer.concat([prefix, publicKey]))
}

/** True for the name of an Ed25519 key, whether or not that key is a point of the curve. */
export function isPeerId(input: unknown): input is PeerId {
  return typeof input === 'string' && pattern.test(input) && input >= lowest && input <= highest
}

/** The 38 bytes a peer id stands for; null when it is none, or names a key of another kind. */
export function peerIdBytes(peer: PeerId): Uint8Array | null {
  if (!isPeerId(peer)) return null
  return decodeBase58(peer, 38)
}

/** The Ed25519 public key that a peer id carries; null when it is no such peer id. */
export function publicKeyOf(peer: PeerId): Uint8Array | null {
  return peerIdBytes(peer)?.subarray(6) ?? null
}

/** Parses a peer id. Throws `invalid_message`. */
export function asPeerId(input: unknown, name = 'peer'): PeerId {
  if (!isPeerId(input)) return refuseMessage(name, 'the peer id of an Ed25519 key')
  return input
}
