import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { ChangeLog } from './change-log.ts'

test('after any version stands every peer that changed since, once, in the order of its last change', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 60 }), fc.nat(70), (touched, since) => {
      const log = new ChangeLog(100)
      for (const peer of touched) log.touch(String(peer))
      const later = touched.slice(since).map(String)
      const wanted = later.filter((peer, at) => !later.slice(at + 1).includes(peer))
      expect([...log.after(since)]).toEqual(wanted)
      expect(log.knows(since)).toBe(since <= touched.length)
    }),
  )
})

test('it remembers the last changes only, and says so', () => {
  const log = new ChangeLog(10)
  for (let peer = 0; peer < 5_000; peer += 1) log.touch(String(peer))
  expect(log.knows(0)).toBe(false)
  expect(log.knows(log.version)).toBe(true)
  expect([...log.after(0)].length).toBeLessThanOrEqual(2 * 10 + 1_024)
  expect(log.versionOf('0')).toBe(0)
})
