import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { sellerChannel, hex32 } from '../store/samples.ts'
import type { SellerChannelRow } from '../store/rows.ts'
import { curve } from '../wire/curve.ts'
import { openDigests } from '../wire/digests.ts'
import { mostUpdates, type TowerPage } from '../wire/tower.ts'
import { claimOfRow, TowerFeed } from './tower-feed.ts'

const digests = openDigests({ chainId: 31_337, escrow: `0x${'4'.repeat(40)}` })
const key = hex32(7)
const openFeed = () => new TowerFeed({ epoch: 'run', digests, curve, key, gatherMs: 0 })
const never = new AbortController().signal

const row = (index: number, rev: number, change: Partial<SellerChannelRow> = {}): SellerChannelRow =>
  sellerChannel({
    id: hex32(index),
    charged: BigInt(rev * 10),
    signed: BigInt(rev * 20),
    signature: `0x${'11'.repeat(65)}`,
    rev,
    ...change,
  })

const totals = ({ updates }: TowerPage) => updates.map(({ totalClaimed }) => totalClaimed)

test('a claim takes what is charged, or what the channel still holds, and needs a voucher', () => {
  expect(claimOfRow(row(1, 3))?.totalClaimed).toBe(30n)
  expect(claimOfRow(row(1, 3, { balance: 12n }))?.totalClaimed).toBe(12n)
  expect(claimOfRow(row(1, 3, { totalClaimed: 30n }))).toBeNull()
  expect(claimOfRow(row(1, 3, { signature: null }))).toBeNull()
})

test('of many changes of one channel a tower hears the latest, signed for that alone', async () => {
  const feed = openFeed()
  for (let rev = 1; rev <= 5; rev += 1) feed.stored(row(1, rev))
  feed.stored(row(1, 4))
  const page = await feed.next('', never)
  const [update] = page.updates
  expect(update).toMatchObject({ totalClaimed: 50n, maxClaimable: 100n })
  const claim = { channelId: hex32(1), maxClaimable: 100n, totalClaimed: 50n }
  expect(curve.recover(digests.claimBatch([claim]), update!.claim)).toBe(curve.addressOf(key))
  expect(feed.behind(page.cursor)).toBe(0)
})

test('who has everything waits for the next change, or until told to stop', async () => {
  const feed = openFeed()
  feed.stored(row(1, 1))
  const { cursor } = await feed.next('', never)
  const waiting = feed.next(cursor, never)
  feed.stored(row(2, 1))
  expect(totals(await waiting)).toEqual([10n])
  const stop = new AbortController()
  const empty = feed.next(`run.2`, stop.signal)
  stop.abort()
  expect(await empty).toEqual({ updates: [], cursor: 'run.2', more: false })
})

test('a channel without anything to claim is not told of, also when it had something before', async () => {
  const feed = openFeed()
  feed.stored(row(1, 1))
  feed.stored(row(1, 2, { totalClaimed: 20n }))
  feed.stored(row(2, 1, { charged: 0n }))
  expect(feed.behind('')).toBe(0)
})

test('a cursor of another run begins anew', async () => {
  const feed = openFeed()
  feed.stored(row(1, 1))
  expect(totals(await feed.next('before.99', never))).toEqual([10n])
})

test('many channels come in pages', async () => {
  const feed = openFeed()
  for (let index = 1; index <= mostUpdates + 5; index += 1) feed.stored(row(index, 1))
  const first = await feed.next('', never)
  expect([first.updates.length, first.more]).toEqual([mostUpdates, true])
  const second = await feed.next(first.cursor, never)
  expect([second.updates.length, second.more]).toEqual([5, false])
})

test('whatever happens in between, a tower that goes on asking ends with the latest of every channel', async () => {
  const change = fc.record({ index: fc.integer({ min: 1, max: 4 }), asks: fc.boolean() })
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 30 }), async (changes) => {
      const feed = openFeed()
      const revs = new Map<number, number>()
      const heard = new Map<string, bigint>()
      let cursor = ''
      const ask = async () => {
        const page = await feed.next(cursor, never)
        cursor = page.cursor
        for (const { voucher, totalClaimed } of page.updates) heard.set(voucher, totalClaimed)
      }
      for (const { index, asks } of changes) {
        const rev = (revs.get(index) ?? 0) + 1
        revs.set(index, rev)
        feed.stored(row(index, rev, { signature: `0x${`0${index}`.repeat(65)}` }))
        if (asks) await ask()
      }
      if (feed.behind(cursor) > 0) await ask()
      const wanted = [...revs].map(([index, rev]) => [`0x${`0${index}`.repeat(65)}`, BigInt(rev * 10)])
      expect(Object.fromEntries(heard)).toEqual(Object.fromEntries(wanted))
    }),
    { numRuns: 50 },
  )
})
