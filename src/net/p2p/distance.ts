/** How far keys and peers are from each other in the DHT: Kademlia's XOR of SHA-256 digests. */
import { createHash } from 'node:crypto'
import { peerIdBytes, type PeerId } from '../../wire/peer-id.ts'

/** Where a key, or the bytes of a peer id, lies. */
export function placeOf(bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(bytes).digest()
}

/** The distance of keys from a peer. */
export function farFrom(peer: PeerId): (key: Uint8Array) => bigint {
  const here = placeOf(peerIdBytes(peer) ?? new Uint8Array())
  return (key) => distance(here, placeOf(key))
}

/** The distance of two places. */
export function distance(a: Uint8Array, b: Uint8Array): bigint {
  return numberOf(a) ^ numberOf(b)
}

function numberOf(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString('hex')}`)
}
