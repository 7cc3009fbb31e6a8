import { createHash, getHashes, hash } from 'node:crypto'
import { keccak256 as portableKeccak256 } from 'ethers'
import { bytesToHex, type Hex } from './hex.ts'

const algorithm = 'keccak-256'
// OpenSSL knows it from 3.2 on; older Node lines hash in JavaScript.
const isNative = getHashes().includes(algorithm)

/** keccak256 of bytes, or of a string's UTF-8 bytes (never of hex: convert first). */
export function keccak256(input: Uint8Array | string): Hex {
  if (isNative) return `0x${hash(algorithm, input, 'hex')}`
  return portableKeccak(typeof input === 'string' ? Buffer.from(input) : input)
}

/** Hashes a stream of bytes piece by piece. `digest` may be asked once. */
export interface Keccak {
  update(bytes: Uint8Array): void
  digest(): Hex
}

/** Starts a running keccak256. */
export function createKeccak(): Keccak {
  return isNative ? nativeKeccak() : collectingKeccak()
}

function nativeKeccak(): Keccak {
  const running = createHash(algorithm)
  return {
    update: (bytes) => void running.update(bytes),
    digest: () => `0x${running.digest('hex')}`,
  }
}

/** The portable form of `createKeccak`: it keeps the bytes, because ethers hashes in one piece only. */
export function collectingKeccak(): Keccak {
  const pieces: Uint8Array[] = []
  return {
    update: (bytes) => void pieces.push(Buffer.from(bytes)),
    digest: () => portableKeccak(Buffer.concat(pieces)),
  }
}

/** The portable form of `keccak256`. */
export function portableKeccak(bytes: Uint8Array): Hex {
  return portableKeccak256(bytesToHex(bytes)) as Hex
}
