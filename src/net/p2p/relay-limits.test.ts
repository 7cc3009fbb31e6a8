import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { defaultRelayLimits, openRelayBook, reservationMs } from './relay-limits.ts'

const small = { ...defaultRelayLimits, reservations: 3, circuitsPerPair: 2, circuitsPerBuyer: 3, circuits: 4 }

function openSmall() {
  const clock = { nowMs: 0 }
  return { clock, book: openRelayBook<string>(small, () => clock.nowMs) }
}

test('a relay has so many places, one for each peer, and gives a freed one away again', () => {
  const { book } = openSmall()
  for (const peer of ['a', 'b', 'c', 'a', 'b', 'c']) expect(book.reserve(peer, peer)).toBe(reservationMs)
  expect(book.reserve('d', 'd')).toBeNull()
  book.release('b', 'b')
  expect(book.wayTo('b')).toBeNull()
  expect(book.reserve('d', 'd')).toBe(reservationMs)
  expect(book.reserve('b', 'b')).toBeNull()
})

test('a place ends with its time, and is then free for others', () => {
  const { book, clock } = openSmall()
  for (const peer of ['a', 'b', 'c']) book.reserve(peer, peer)
  clock.nowMs = reservationMs - 1
  expect(book.reserve('c', 'c')).toBe(2 * reservationMs - 1)
  expect(book.reserve('d', 'd')).toBeNull()
  clock.nowMs = reservationMs
  expect(book.wayTo('a')).toBeNull()
  expect(book.reserve('d', 'd')).toBe(2 * reservationMs)
  expect(book.reserve('e', 'e')).toBe(2 * reservationMs)
  expect(book.reserve('f', 'f')).toBeNull()
  expect(book.wayTo('c')).toBe('c')
})

test('the end of an old connection does not take the place that was renewed over a new one', () => {
  const { book } = openSmall()
  book.reserve('a', 'old')
  book.reserve('a', 'new')
  book.release('a', 'old')
  expect(book.wayTo('a')).toBe('new')
})

test('circuits are counted by pair, by buyer and in all', () => {
  const { book } = openSmall()
  const first = book.openCircuit('buyer', 'x')
  expect(book.openCircuit('buyer', 'x')).not.toBeNull()
  expect(book.openCircuit('buyer', 'x')).toBeNull()
  expect(book.openCircuit('buyer', 'y')).not.toBeNull()
  expect(book.openCircuit('buyer', 'z')).toBeNull()
  expect(book.openCircuit('other', 'x')).not.toBeNull()
  expect(book.openCircuit('third', 'x')).toBeNull()
  first?.()
  expect(book.openCircuit('third', 'x')).not.toBeNull()
  // Closed twice frees once.
  first?.()
  expect(book.openCircuit('buyer', 'z')).toBeNull()
})

test('whatever peers do, no limit is passed, and when all have gone every place is free', () => {
  const name = fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f')
  const step = fc.oneof(
    fc.record({ act: fc.constant('reserve' as const), peer: name }),
    fc.record({ act: fc.constant('release' as const), peer: name }),
    fc.record({ act: fc.constant('open' as const), peer: name, to: name }),
    fc.record({ act: fc.constant('close' as const), at: fc.nat(8) }),
  )
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const { book } = openSmall()
      const open: { from: string; to: string; close: () => void }[] = []
      const places = new Set<string>()
      for (const taken of steps) {
        if (taken.act === 'reserve') {
          if (book.reserve(taken.peer, taken.peer) !== null) places.add(taken.peer)
        } else if (taken.act === 'release') {
          book.release(taken.peer, taken.peer)
          places.delete(taken.peer)
        } else if (taken.act === 'open') {
          const close = book.openCircuit(taken.peer, taken.to)
          if (close !== null) open.push({ from: taken.peer, to: taken.to, close })
        } else open.splice(taken.at, 1)[0]?.close()
        expect(places.size).toBeLessThanOrEqual(small.reservations)
        expect(open.length).toBeLessThanOrEqual(small.circuits)
        for (const { from, to } of open) {
          const mine = open.filter((other) => other.from === from)
          expect(mine.length).toBeLessThanOrEqual(small.circuitsPerBuyer)
          expect(mine.filter((other) => other.to === to).length).toBeLessThanOrEqual(small.circuitsPerPair)
        }
      }
      for (const { close } of open) close()
      for (let count = 0; count < small.circuits; count += 1) {
        expect(book.openCircuit(`buyer ${count}`, 'x')).not.toBeNull()
      }
    }),
  )
})
