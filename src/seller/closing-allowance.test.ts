import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Hex } from '../wire/hex.ts'
import { ClosingAllowance } from './closing-allowance.ts'

const limits = {
  perChannel: { most: 4, everyMs: 100 },
  inAll: { most: 10, everyMs: 10 },
  always: 2,
}
const channel = (n: number): Hex => `0x${n.toString(16).padStart(64, '0')}`

function openAt(startMs = 1_000_000) {
  const clock = { nowMs: startMs }
  const allowance = new ClosingAllowance(() => clock.nowMs, limits)
  const takeAll = (id: Hex) => {
    let count = 0
    while (allowance.take(id) === null) count += 1
    return count
  }
  return { clock, allowance, takeAll }
}

test('a channel may close so many at once, then one more every so often, and says when', () => {
  const { clock, allowance, takeAll } = openAt()
  expect(takeAll(channel(1))).toBe(4)
  expect(allowance.take(channel(1))).toBe(100)
  clock.nowMs += 60
  expect(allowance.take(channel(1))).toBe(40)
  clock.nowMs += 40
  expect(takeAll(channel(1))).toBe(1)
  clock.nowMs += 1_000_000
  expect(takeAll(channel(1))).toBe(4)
})

test('all channels together are bounded, but for the few that each may always have', () => {
  const { takeAll } = openAt()
  expect([1, 2, 3, 4, 5].map((n) => takeAll(channel(n)))).toEqual([4, 4, 2, 2, 2])
})

test('a clock that goes back gives nothing away and locks nobody out', () => {
  const { clock, allowance, takeAll } = openAt()
  expect(takeAll(channel(1))).toBe(4)
  clock.nowMs -= 500_000
  expect(allowance.take(channel(1))).toBe(100)
  clock.nowMs += 100
  expect(takeAll(channel(1))).toBe(1)
})

test('whatever is asked and when, no more is closed than the limits say', () => {
  const step = fc.record({ id: fc.nat(6), afterMs: fc.nat(120) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
      const { clock, allowance } = openAt()
      const startMs = clock.nowMs
      const closed = new Map<number, number>()
      for (const { id, afterMs } of steps) {
        clock.nowMs += afterMs
        if (allowance.take(channel(id)) === null) closed.set(id, (closed.get(id) ?? 0) + 1)
      }
      const passedMs = clock.nowMs - startMs
      for (const count of closed.values()) expect(count).toBeLessThanOrEqual(4 + passedMs / 100)
      const total = [...closed.values()].reduce((sum, count) => sum + count, 0)
      const always = closed.size * (2 + passedMs / 100)
      expect(total).toBeLessThanOrEqual(10 + passedMs / 10 + always)
    }),
  )
})
