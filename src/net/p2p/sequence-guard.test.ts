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
  const put = (seq: number) => guard.see('a', seq) && guard.settle('a') === seq
  expect(put(100_000)).toBe(true)
  expect(put(100_000)).toBe(true)
  expect(put(101_000)).toBe(false)
  expect(put(160_000)).toBe(true)
  nowMs += 30_000
  expect(put(161_000)).toBe(true)
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
