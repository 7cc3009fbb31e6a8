import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  decodeHopReply,
  decodeHopRequest,
  decodeStopReply,
  encodeHopReply,
  encodeStopRequest,
  relayStatus,
  reserveRequest,
} from './relay-messages.ts'

// Hex in groups, as the fields go.
const bytesOf = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')

test('messages are, byte for byte, those of circuit relay v2', () => {
  const limit = { durationSec: 1_800, bytes: 64 * 1024 * 1024 }
  const reservation = { endsAtSec: 1_800_000_000, addrs: [bytesOf('0401020304')] }
  const messages: [Uint8Array, string][] = [
    [reserveRequest, '0800'],
    [encodeHopReply(relayStatus.denied), '0802 28ca01'],
    [encodeHopReply(relayStatus.ok, { limit }), '0802 2208 08880e 1080808020 2864'],
    [encodeHopReply(relayStatus.ok, { reservation }), '0802 1a0d 0880a4a7da06 12050401020304 2864'],
    [encodeStopRequest(bytesOf('0001ff'), limit), '0800 1205 0a030001ff 1a08 08880e 1080808020'],
  ]
  for (const [message, hex] of messages) expect(message).toEqual(bytesOf(hex))
})

test('requests and replies are read, whatever fields came with them', () => {
  expect(decodeHopRequest(reserveRequest)).toEqual({ type: 'reserve' })
  const connect = decodeHopRequest(bytesOf('0801 1209 0a030001ff 1202aabb 3a01ff'))
  expect(connect).toEqual({ type: 'connect', peer: bytesOf('0001ff') })
  expect(decodeStopReply(bytesOf('0801 2064'))).toBe(relayStatus.ok)
  const limit = { durationSec: 1, bytes: 2 }
  const reservation = { endsAtSec: 2 ** 33, addrs: [bytesOf('04'), bytesOf('05')] }
  const reply = decodeHopReply(encodeHopReply(relayStatus.ok, { reservation, limit }))
  expect(reply).toEqual({ status: relayStatus.ok, reservation })
  expect(decodeHopReply(encodeHopReply(relayStatus.full))).toEqual({ status: 201, reservation: null })
})

test('anything else is no message', () => {
  const wrong = ['', '08', '0801', '0802', '0801 1205', '1801', '0801 0d00000000', 'ff'.repeat(12)]
  for (const text of wrong) {
    expect(decodeHopRequest(bytesOf(text))).toBeNull()
    expect(decodeHopReply(bytesOf(text))).toBeNull()
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      decodeHopRequest(bytes)
      decodeHopReply(bytes)
      decodeStopReply(bytes)
    }),
  )
})
