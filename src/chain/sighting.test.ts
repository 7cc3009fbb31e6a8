import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Hex } from '../wire/hex.ts'
import { judgeSightings, type Sighting } from './sighting.ts'

const hashOf = (digit: number): Hex => `0x${String(digit).repeat(64)}`
const hash = hashOf(1)
const mined = (
  block: number,
  head: number,
  more: Partial<NonNullable<Sighting['receipt']>> = {},
): Sighting => ({
  receipt: { hash, succeeded: true, block, logs: [], ...more },
  head,
  used: 6,
})
const unseen = (used = 5): Sighting => ({ receipt: null, head: 9, used })
const judge = (sightings: Sighting[], confirmations = 2, needed = 2) =>
  judgeSightings(sightings, { nonce: 5, confirmations, needed })

test('is mined when enough see the same receipt deep enough', () => {
  expect(judge([mined(7, 8), mined(7, 9), unseen()])).toMatchObject({ kind: 'mined', block: 7, hash })
})

test.for([
  { why: 'one alone sees it', sightings: [mined(7, 9), unseen(), unseen()] },
  { why: 'one lags', sightings: [mined(7, 8), mined(7, 7), unseen()] },
  { why: 'they see it in different blocks', sightings: [mined(7, 9), mined(6, 9), unseen()] },
  {
    why: 'they differ about its success',
    sightings: [mined(7, 9), mined(7, 9, { succeeded: false }), unseen()],
  },
  {
    why: 'they differ about what it did',
    sightings: [
      mined(7, 9),
      mined(7, 9, { logs: [{ address: hash, topics: [hash], data: '0x' }] }),
      unseen(),
    ],
  },
  { why: 'they see different copies', sightings: [mined(7, 9), mined(7, 9, { hash: hashOf(2) }), unseen()] },
])('is too young while $why', ({ sightings }) => {
  expect(judge(sightings)).toEqual({ kind: 'too-young' })
})

test('has lost its nonce only when enough say so and nobody sees it', () => {
  expect(judge([unseen(6), unseen(6), unseen()])).toEqual({ kind: 'nonce-used' })
  expect(judge([unseen(6), unseen(), unseen()])).toEqual({ kind: 'unseen', isNext: true })
  expect(judge([unseen(6), unseen(6), mined(7, 9)])).toEqual({ kind: 'too-young' })
})

test('is not next in line while earlier nonces are unmined', () => {
  expect(judge([unseen(3), unseen(4)])).toEqual({ kind: 'unseen', isNext: false })
})

test('fewer liars than must agree can neither make up its end nor its loss', () => {
  const lie = fc.oneof(
    fc
      .record({ block: fc.nat(9), head: fc.nat(99), succeeded: fc.boolean() })
      .map(({ block, head, succeeded }) => mined(block, head, { succeeded })),
    fc.nat(99).map(unseen),
  )
  fc.assert(
    fc.property(fc.integer({ min: 2, max: 5 }), lie, (honest, told) => {
      const sightings = [told, ...Array<Sighting>(honest).fill(unseen())]
      expect(['unseen', 'too-young']).toContain(judge(sightings, 1, honest).kind)
    }),
  )
})
