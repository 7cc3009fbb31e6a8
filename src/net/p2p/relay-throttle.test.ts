import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { openThrottle } from './relay-throttle.ts'

const rate = 2_000_000
const burst = 4_000_000

test('what is small passes at once, however often, as long as the rate is kept', () => {
  let nowMs = 0
  const throttle = openThrottle({ perSec: rate, burst, now: () => nowMs })
  for (let sent = 0; sent < 10_000; sent += 1) {
    expect(throttle.take(2_000)).toBe(0)
    nowMs += 1
  }
})

test('who used up the burst waits as long as the debt takes at the full rate', () => {
  let nowMs = 0
  const throttle = openThrottle({ perSec: rate, burst, now: () => nowMs })
  expect(throttle.take(burst)).toBe(0)
  expect(throttle.take(rate)).toBe(1_000)
  nowMs += 400
  expect(throttle.take(0)).toBe(600)
  nowMs += 600
  expect(throttle.take(0)).toBe(0)
})

test('a rest earns no more than the burst, and a clock that is set back earns nothing', () => {
  let nowMs = 1_000_000
  const throttle = openThrottle({ perSec: rate, burst, now: () => nowMs })
  throttle.take(burst)
  nowMs += 3_600_000
  expect(throttle.take(burst)).toBe(0)
  nowMs -= 60_000
  expect(throttle.take(rate)).toBe(1_000)
})

test('a greedy sender that waits as told stays within burst, rate and its last piece', () => {
  const pieces = fc.array(fc.integer({ min: 1, max: 300_000 }), { maxLength: 200 })
  fc.assert(
    fc.property(pieces, (sizes) => {
      let nowMs = 0
      let sent = 0
      const throttle = openThrottle({ perSec: rate, burst, now: () => nowMs })
      for (const size of sizes) {
        sent += size
        expect(sent).toBeLessThanOrEqual(burst + (rate * nowMs) / 1000 + size)
        nowMs += throttle.take(size)
      }
    }),
  )
})

test('a greedy circuit keeps near its rate over a minute', () => {
  let nowMs = 0
  let sent = 0
  const throttle = openThrottle({ perSec: rate, burst, now: () => nowMs })
  while (nowMs < 60_000) {
    sent += 256 * 1024
    nowMs += throttle.take(256 * 1024)
  }
  expect(sent / 60).toBeGreaterThan(rate)
  expect(sent / 60).toBeLessThan(rate * 1.08)
})
