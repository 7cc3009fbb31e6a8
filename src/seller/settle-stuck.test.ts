import { expect, test } from 'vitest'
import type { Hex } from '../wire/hex.ts'
import { openStuck } from './settle-stuck.ts'

const id: Hex = '0x01'
const second = 1000
const minute = 60_000

function openAt() {
  const clock = { nowMs: 0 }
  return { clock, stuck: openStuck(() => clock.nowMs) }
}

test('a claim that was refused is left alone for a while, longer each time, unless it is another one', () => {
  const { clock, stuck } = openAt()
  expect(stuck.mayTry(id, 5n)).toBe(true)
  for (const pause of [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600]) {
    stuck.refused(id, 5n)
    expect(stuck.mayTry(id, 6n)).toBe(true)
    clock.nowMs += pause * second - 1
    expect(stuck.mayTry(id, 5n)).toBe(false)
    clock.nowMs += 1
    expect(stuck.mayTry(id, 5n)).toBe(true)
  }
  stuck.settled(id)
  stuck.refused(id, 5n)
  clock.nowMs += second
  expect(stuck.mayTry(id, 5n)).toBe(true)
})

test('how long claims fail is counted from the first failure, of the channel or of whole turns', () => {
  const { clock, stuck } = openAt()
  expect(stuck.sinceMs(id)).toBe(0)
  stuck.refused(id, 5n)
  clock.nowMs += minute
  stuck.turnFailed()
  clock.nowMs += minute
  stuck.turnFailed()
  stuck.refused(id, 5n)
  expect(stuck.sinceMs(id)).toBe(2 * minute)
  expect(stuck.sinceMs('0x02')).toBe(minute)
  stuck.turnDone()
  expect(stuck.sinceMs('0x02')).toBe(0)
  expect(stuck.sinceMs(id)).toBe(2 * minute)
  stuck.settled(id)
  expect(stuck.sinceMs(id)).toBe(0)
})
