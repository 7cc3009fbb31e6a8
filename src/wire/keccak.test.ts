import { id, keccak256 as ethersKeccak } from 'ethers'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { createPortableKeccak, createKeccak, keccak256, portableKeccak } from './keccak.ts'

test('the empty input has the well-known hash', () => {
  expect(keccak256('')).toBe('0xc5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470')
})

test('a string is hashed as UTF-8, never as hex', () => {
  expect(keccak256('Grüße 日本')).toBe(id('Grüße 日本'))
  expect(keccak256('0x00')).toBe(id('0x00'))
})

test('in one piece or in many, native or portable, the hash is the same', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 6 }), (pieces) => {
      const whole = Buffer.concat(pieces)
      for (const running of [createKeccak(), createPortableKeccak()]) {
        for (const piece of pieces) running.update(piece)
        expect(running.digest()).toBe(keccak256(whole))
      }
      expect(portableKeccak(whole)).toBe(keccak256(whole))
    }),
    { numRuns: 50 },
  )
})

test('a running hash does not look at bytes that the caller changes later', () => {
  for (const running of [createKeccak(), createPortableKeccak()]) {
    const bytes = Buffer.from('abc')
    running.update(bytes)
    bytes.fill(0)
    expect(running.digest()).toBe(keccak256('abc'))
  }
})

test('the portable hash is right around the ends of its blocks', () => {
  for (const length of [0, 1, 7, 8, 134, 135, 136, 137, 271, 272, 273, 1_000]) {
    const bytes = Uint8Array.from({ length }, (_, at) => (at * 37 + length) % 256)
    expect(portableKeccak(bytes)).toBe(ethersKeccak(bytes))
  }
})
