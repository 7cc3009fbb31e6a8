import { expect, test } from 'vitest'
import type { SellerListing } from '../wire/seller-listing.ts'
import { mergeLists } from './merge.ts'

const listing = (peer: string, seq: number, lastSeenMs: number, uptime = 1) =>
  ({
    record: { peer, seq },
    binding: { seq },
    heartbeat: { seq: lastSeenMs },
    lastSeenMs,
    state: lastSeenMs > 5 ? 'live' : 'stale',
    measured: { sinceMs: 0, uptime, heartbeats: 1 },
  }) as unknown as SellerListing

test('the newest word and the latest sign of life win, whoever tells them', () => {
  const [merged, ...others] = mergeLists([
    { url: 'a', listings: [listing('x', 2, 3)] },
    { url: 'b', listings: [listing('x', 1, 9)] },
  ])
  expect(others).toEqual([])
  expect(merged).toMatchObject({
    record: { seq: 2 },
    binding: { seq: 2 },
    heartbeat: { seq: 9 },
    state: 'live',
  })
})

test('what each registry saw stays its own, and who says it twice counts once', () => {
  const [merged] = mergeLists([
    { url: 'a', listings: [listing('x', 1, 1, 0.5)] },
    { url: 'b', listings: [listing('x', 1, 1, 0.9)] },
    { url: 'a', listings: [listing('x', 1, 1, 0.1)] },
  ])
  expect(merged!.observations.map(({ by, measured }) => [by, measured.uptime])).toEqual([
    ['a', 0.5],
    ['b', 0.9],
  ])
})
