import { createHash, getHashes, hash } from 'node:crypto'
import { keccak_256 } from '@noble/hashes/sha3'
import type { Hex } from './hex.ts'

const algorithm = 'keccak-256'
// OpenSSL knows it from 3.2 on; older Node lines hash in JavaScript.
const isNative = getHashes().includes(algorithm)

/** keccak256 of bytes, or of a string's UTF-8 bytes (never of hex: convert first). */
export function keccak256(input: Uint8Array | string): Hex {
  return isNative ? `0x${hash(algorithm, input, 'hex')}` : portableKeccak(input)
}

/** Hashes a stream of bytes piece by piece. `digest` may be asked once. */
export interface Keccak {
  update(bytes: Uint8Array): void
  digest(): Hex
}

/** Starts a running keccak256. */
export function createKeccak(): Keccak {
  return isNative ? nativeKeccak() : createPortableKeccak()
}

function nativeKeccak(): Keccak {
  const running = createHash(algorithm)
  return {
    update: (bytes) => void running.update(bytes),
    digest: () => `0x${running.digest('hex')}`,
  }
}

/** The portable form of `createKeccak`. */
export function createPortableKeccak(): Keccak {
  const running = keccak_256.create()
  return {
    update: (bytes) => void running.update(bytes),
    digest: () => `0x${Buffer.from(running.digest()).toString('hex')}`,
  }
}

/** The portable form of `keccak256`. */
export function portableKeccak(input: Uint8Array | string): Hex {
  return `0x${Buffer.from(keccak_256(input)).toString('hex')}`
}
