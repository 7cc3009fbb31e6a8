/**
 * The messages of libp2p's circuit relay v2, in protobuf: what the relay reads and writes, and what a seller writes
 * and reads to reserve. Fields that nobody here needs are skipped; a limit's duration is in seconds, as specified.
 */
export const relayStatus = {
  ok: 100,
  full: 201,
  denied: 202,
  connectionFailed: 203,
  noReservation: 204,
  malformed: 400,
} as const

export type RelayStatus = (typeof relayStatus)[keyof typeof relayStatus]

export interface CircuitLimit {
  durationSec: number
  bytes: number
}

export interface Reservation {
  endsAtSec: number
  /** Binary multiaddrs of the relay. */
  addrs: readonly Uint8Array[]
}

/** `peer` is the multihash of whom to connect to. */
export type HopRequest = { type: 'reserve' } | { type: 'connect'; peer: Uint8Array }

export interface HopReply {
  status: number
  reservation: Reservation | null
}

export const reserveRequest: Uint8Array = encode([1, 0])

/** Null for anything but a request. */
export function decodeHopRequest(bytes: Uint8Array): HopRequest | null {
  const fields = decode(bytes)
  const type = number(fields, 1)
  if (type === 0) return { type: 'reserve' }
  const peer = message(message(fields, 2), 1)
  return type === 1 && peer !== null ? { type: 'connect', peer } : null
}

export function encodeHopReply(
  status: RelayStatus,
  { reservation, limit }: { reservation?: Reservation; limit?: CircuitLimit } = {},
): Uint8Array {
  const fields: Field[] = [[1, 2]]
  if (reservation !== undefined) {
    const addrs = reservation.addrs.map((addr): Field => [2, addr])
    fields.push([3, encode([1, reservation.endsAtSec], ...addrs)])
  }
  if (limit !== undefined) fields.push([4, encodeLimit(limit)])
  return encode(...fields, [5, status])
}

/** Null for anything but a reply. */
export function decodeHopReply(bytes: Uint8Array): HopReply | null {
  const fields = decode(bytes)
  const status = number(fields, 5)
  if (number(fields, 1) !== 2 || status === null) return null
  const reservation = decode(message(fields, 3) ?? new Uint8Array())
  const endsAtSec = number(reservation, 1)
  if (endsAtSec === null) return { status, reservation: null }
  const addrs = (reservation ?? []).flatMap(([id, value]) =>
    id === 2 && value instanceof Uint8Array ? [value] : [],
  )
  return { status, reservation: { endsAtSec, addrs } }
}

/** What the relay says to the peer that a circuit is to end at. */
export function encodeStopRequest(from: Uint8Array, limit: CircuitLimit): Uint8Array {
  return encode([1, 0], [2, encode([1, from])], [3, encodeLimit(limit)])
}

/** Its answer: a status, or null for anything but an answer. */
export function decodeStopReply(bytes: Uint8Array): number | null {
  const fields = decode(bytes)
  return number(fields, 1) === 1 ? number(fields, 4) : null
}

type Field = readonly [id: number, value: number | Uint8Array]

function encodeLimit({ durationSec, bytes }: CircuitLimit): Uint8Array {
  return encode([1, durationSec], [2, bytes])
}

function encode(...fields: readonly Field[]): Uint8Array {
  const parts = fields.flatMap(([id, value]) =>
    typeof value === 'number'
      ? [varint(id << 3), varint(value)]
      : [varint((id << 3) | 2), varint(value.length), value],
  )
  return Buffer.concat(parts)
}

function varint(value: number): Uint8Array {
  const bytes: number[] = []
  let rest = value
  for (; rest > 127; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return Uint8Array.from([...bytes, rest])
}

// Null for what is no protobuf, or has parts of a kind that these messages do not have.
function decode(bytes: Uint8Array | null): Field[] | null {
  if (bytes === null) return null
  const fields: Field[] = []
  let at = 0
  const next = (): number | null => {
    let value = 0
    for (let factor = 1; at < bytes.length && factor <= 2 ** 63; factor *= 128) {
      const byte = bytes[at++]!
      value += (byte & 127) * factor
      if (byte < 128) return value
    }
    return null
  }
  while (at < bytes.length) {
    const tag = next()
    const value = next()
    if (tag === null || value === null || tag > 2 ** 16) return null
    if ((tag & 7) === 0) fields.push([tag >> 3, value])
    else if ((tag & 7) === 2 && value <= bytes.length - at) {
      fields.push([tag >> 3, bytes.subarray(at, at + value)])
      at += value
    } else return null
  }
  return fields
}

function number(fields: readonly Field[] | null, wanted: number): number | null {
  const value = fields?.find(([id]) => id === wanted)?.[1]
  return typeof value === 'number' ? value : null
}

function message(from: readonly Field[] | Uint8Array | null, wanted: number): Uint8Array | null {
  const fields = from instanceof Uint8Array ? decode(from) : from
  const value = fields?.find(([id]) => id === wanted)?.[1]
  return value instanceof Uint8Array ? value : null
}
