import { expect, test } from 'vitest'
import { networkOf, RateLimit } from './rate-limit.ts'

test('a bucket empties, says when it would serve again, and fills evenly', () => {
  let nowMs = 0
  const limit = new RateLimit({ perSec: 2, burst: 4, now: () => nowMs })
  expect(limit.take('a', 3)).toEqual({ ok: true, limit: 4, remaining: 1, resetSec: 2, retryAfterSec: 0 })
  expect(limit.take('a', 3)).toMatchObject({ ok: false, remaining: 1, retryAfterSec: 1 })
  expect(limit.take('b', 4)).toMatchObject({ ok: true, remaining: 0 })
  nowMs = 1_000
  expect(limit.take('a', 3)).toMatchObject({ ok: true, remaining: 0 })
  nowMs = 60_000
  expect(limit.take('a', 0)).toMatchObject({ remaining: 4, resetSec: 0 })
})

test('what is owed is waited for, and nobody owes more than a bucket', () => {
  let nowMs = 0
  const limit = new RateLimit({ perSec: 2, burst: 4, now: () => nowMs })
  expect(limit.owe('a', 6)).toEqual({ ok: true, limit: 4, remaining: 0, resetSec: 3, retryAfterSec: 0 })
  expect(limit.take('a', 1)).toMatchObject({ ok: false, remaining: 0, retryAfterSec: 2 })
  nowMs = 1_500
  expect(limit.take('a', 1)).toMatchObject({ ok: true, remaining: 0 })
  expect(limit.owe('a', 1_000)).toMatchObject({ resetSec: 4 })
  expect(limit.take('b', 4)).toMatchObject({ ok: true })
})

test('a clock that goes back fills nothing', () => {
  let nowMs = 10_000
  const limit = new RateLimit({ perSec: 1, burst: 2, now: () => nowMs })
  limit.take('a', 2)
  nowMs = 0
  expect(limit.take('a', 1)).toMatchObject({ ok: false, retryAfterSec: 1 })
})

test('one IPv6 network and one IPv4 address in two spellings are one caller', () => {
  expect(networkOf('2001:db8:1:2:3::4')).toBe(networkOf('2001:db8:1:2::'))
  expect(networkOf('2001:db8:1:2::1')).not.toBe(networkOf('2001:db8:1:3::1'))
  expect(networkOf('::ffff:192.0.2.1')).toBe('192.0.2.1')
  expect(networkOf('fe80::1%eth0')).toBe('fe80:0:0:0')
  expect(networkOf('::1')).toBe('0:0:0:0')
})
