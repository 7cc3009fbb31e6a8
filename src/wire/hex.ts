import { OpenSeedError } from '../base/errors.ts'
import { keccak256 } from './keccak.ts'

/** A 0x-prefixed, lower-case hex string. */
export type Hex = `0x${string}`
/** A 20-byte address, lower case, so that equality is `===`. `checksummed` gives the form shown to people and peers. */
export type Address = Hex

const hexPattern = /^0x(?:[0-9a-f]{2})*$/i
const hex32Pattern = /^0x[0-9a-f]{64}$/i
const addressPattern = /^0x[0-9a-f]{40}$/i

const malformed = (name: string, wanted: string) =>
  new OpenSeedError('invalid_message', { message: `${name} must be ${wanted}.` })

/** Parses hex of any even length. Throws `invalid_message`. */
export function asHex(input: unknown, name = 'value'): Hex {
  if (typeof input !== 'string' || !hexPattern.test(input)) throw malformed(name, '0x-prefixed hex')
  return input.toLowerCase() as Hex
}

/** Parses a 32-byte hex value. Throws `invalid_message`. */
export function asHex32(input: unknown, name = 'value'): Hex {
  if (typeof input !== 'string' || !hex32Pattern.test(input))
    throw malformed(name, '32 bytes of 0x-prefixed hex')
  return input.toLowerCase() as Hex
}

/** Parses an address in any case (checksums are not enforced: peers send both). Throws `invalid_message`. */
export function asAddress(input: unknown, name = 'address'): Address {
  if (typeof input !== 'string' || !addressPattern.test(input)) throw malformed(name, 'a 20-byte address')
  return input.toLowerCase() as Address
}

// The same few addresses stand in every payment, and a checksum costs as much as a signature: a hash in JavaScript.
const checksummedForms = new Map<Address, string>()
const mostForms = 1024

/** The EIP-55 form of an address. */
export function checksummed(address: Address): string {
  const known = checksummedForms.get(address)
  if (known !== undefined) return known
  if (checksummedForms.size >= mostForms) checksummedForms.clear()
  const form = eip55(address)
  checksummedForms.set(address, form)
  return form
}

// A letter is a capital where the hash of the whole has a digit of 8 or more.
function eip55(address: Address): string {
  const hash = keccak256(address.slice(2))
  return address.replace(/[a-f]/g, (letter, at: number) =>
    Number.parseInt(hash[at]!, 16) >= 8 ? letter.toUpperCase() : letter,
  )
}

/** Bytes of a hex string (no check: the type says it is one). */
export function hexToBytes(hex: Hex): Uint8Array {
  return Buffer.from(hex.slice(2), 'hex')
}

/** Hex of bytes. */
export function bytesToHex(bytes: Uint8Array): Hex {
  return `0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex')}`
}
