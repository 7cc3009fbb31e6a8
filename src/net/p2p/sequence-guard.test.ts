import { expect, test } from 'vitest'
import { openSequenceGuard } from './sequence-guard.ts'

test('a lower sequence is refused once a higher one was seen, the same one is not', () => {
  const guard = openSequenceGuard(() => 0)
  expect([5, 5, 4, 6, 5].map((seq) => guard.see('a', seq))).toEqual([true, true, false, true, false])
  expect(guard.see('b', 1)).toBe(true)
})

test('a key is stored anew every half minute, or at once when the record is a minute newer', () => {
  let nowMs = 1_000_000
  const guard = openSequenceGuard(() => nowMs)
  const put = (seq: number) => guard.offer('a', seq) && guard.settle('a') === seq
  expect(put(100_000)).toBe(true)
  expect(put(100_000)).toBe(true)
  expect(put(101_000)).toBe(false)
  expect(put(160_000)).toBe(true)
  nowMs += 30_000
  expect(put(161_000)).toBe(true)
})

test('what came too soon leaves the record that is stored as good as it was', () => {
  const guard = openSequenceGuard(() => 1_000_000)
  expect([guard.offer('a', 100_000), guard.settle('a')]).toEqual([true, 100_000])
  expect([guard.offer('a', 105_000), guard.settle('a')]).toEqual([true, null])
  expect(guard.see('a', 100_000)).toBe(true)
  expect([guard.offer('a', 100_000), guard.settle('a')]).toEqual([true, 100_000])
  // What is read counts at once, and so does what is stored.
  expect(guard.see('a', 105_000)).toBe(true)
  expect(guard.offer('a', 100_000)).toBe(false)
  expect([guard.offer('a', 170_000), guard.settle('a'), guard.see('a', 105_000)]).toEqual([
    true,
    170_000,
    false,
  ])
})

test('of two that are offered at the same time the newer one is stored', () => {
  const guard = openSequenceGuard(() => 0)
  expect([guard.offer('a', 6), guard.offer('a', 5), guard.settle('a')]).toEqual([true, false, 6])
  expect(guard.settle('b')).toBeNull()
})

test('the memory is bounded and forgets what was longest not seen', () => {
  const guard = openSequenceGuard(() => 0, 2)
  guard.see('a', 9)
  guard.see('b', 9)
  guard.see('a', 9)
  guard.see('c', 9)
  expect(guard.see('a', 1)).toBe(false)
  expect(guard.see('b', 1)).toBe(true)
})
