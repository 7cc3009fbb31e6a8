import { OpenSeedError } from '../base/errors.ts'

/** The largest uint40, the width of every timestamp that is signed. */
export const maxUint40 = 2 ** 40 - 1

/** Throws `invalid_message`: the named part of a message is not what it must be. */
export function refuseMessage(name: string, wanted: string, cause?: unknown): never {
  throw new OpenSeedError('invalid_message', { message: `${name} must be ${wanted}.`, cause })
}

/** Parses a JSON object (no array, no null). Throws `invalid_message`. */
export function expectObject(input: unknown, name: string): Record<string, unknown> {
  if (typeof input !== 'object' || input === null || Array.isArray(input))
    return refuseMessage(name, 'an object')
  return input as Record<string, unknown>
}

/** Parses an array of at most `most` entries. Throws `invalid_message`. */
export function expectArray(input: unknown, name: string, most: number): unknown[] {
  if (!Array.isArray(input) || input.length > most) return refuseMessage(name, `an array of at most ${most}`)
  return input
}

/** Parses a string of 1 to `most` UTF-16 units. Throws `invalid_message`. */
export function expectText(input: unknown, name: string, most = 4096): string {
  if (typeof input !== 'string' || input.length === 0 || input.length > most)
    return refuseMessage(name, `a string of 1 to ${most} characters`)
  return input
}

// What strangers publish is printed on terminals: no control codes, no half characters, no reversed writing.
const printable = /^[^\p{Cc}\p{Cs}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+$/u

/** Parses a printable string of 1 to `most` UTF-16 units. Throws `invalid_message`. */
export function expectLine(input: unknown, name: string, most: number): string {
  if (typeof input !== 'string' || input.length > most || !printable.test(input))
    return refuseMessage(name, `a printable string of 1 to ${most} characters`)
  return input
}

/** Parses a JSON number from 0 to `most`, with or without a fraction. Never for money. Throws `invalid_message`. */
export function expectNumber(input: unknown, name: string, most: number): number {
  if (typeof input !== 'number' || !(input >= 0 && input <= most) || Object.is(input, -0))
    return refuseMessage(name, `a number from 0 to ${most}`)
  return input
}

/** Parses a JSON number that is an integer in 0..`most`. Throws `invalid_message`. */
export function expectInteger(input: unknown, name: string, most = Number.MAX_SAFE_INTEGER): number {
  // -0 is refused by identity so that what was parsed encodes to the same text again.
  if (
    !Number.isSafeInteger(input) ||
    (input as number) < 0 ||
    (input as number) > most ||
    Object.is(input, -0)
  )
    return refuseMessage(name, `an integer from 0 to ${most}`)
  return input as number
}

/** Parses a point in time in Unix seconds that fits a uint40. Throws `invalid_message`. */
export function expectTimeSec(input: unknown, name: string): number {
  return expectInteger(input, name, maxUint40)
}

/** Parses a canonical decimal string (no sign, no leading zero) of at most `bits` bits. Throws `invalid_message`. */
export function expectUint(input: unknown, name: string, bits: number): bigint {
  if (typeof input === 'string' && input.length <= 78 && /^(?:0|[1-9][0-9]*)$/.test(input)) {
    const value = BigInt(input)
    if (value < 1n << BigInt(bits)) return value
  }
  return refuseMessage(name, `a decimal string of at most ${bits} bits`)
}

/** Other SDKs send absent optional fields as null: both read as undefined. */
export function present(input: unknown): unknown {
  return input === null ? undefined : input
}

/** Parses what is there; absent and null read as null. */
export function optional<T>(input: unknown, parse: (input: unknown) => T): T | null {
  const value = present(input)
  return value === undefined ? null : parse(value)
}
