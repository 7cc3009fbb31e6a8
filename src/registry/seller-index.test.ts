import { isDeepStrictEqual } from 'node:util'
import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { announcedSeller, modelOf } from '../../test/fixtures/announced-seller.ts'
import { parseSellersQuery } from './query.ts'
import { SellerIndex } from './seller-index.ts'

const startMs = 1_900_000_000_000
const sellers = Array.from({ length: 6 }, (_, at) => announcedSeller(at, startMs))
const query = (text: string) => parseSellersQuery(new URLSearchParams(text))

const step = fc.record({
  at: fc.nat(sellers.length - 1),
  act: fc.constantFrom('register', 'beat', 'leave', 'wait'),
  price: fc.bigInt(1n, 5n),
  model: fc.constantFrom('a', 'b'),
  waitSec: fc.nat(400),
})

test('whatever happens, lists are in order, counts agree, and following changes gives the same list', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      let nowMs = startMs
      let seq = startMs
      const index = new SellerIndex({ now: () => nowMs, epoch: 'e' })
      const followed = new Map<string, string>()
      let version = 'e-0'
      for (const { at, act, price, model, waitSec } of steps) {
        const seller = sellers[at]!
        const source = { from: null, seenMs: nowMs }
        seq = Math.max(seq + 1, nowMs)
        const when = { seq }
        const recordSeq = index.find(seller.peer)?.recordSeq ?? 0
        if (act === 'register')
          index.upsert(seller.record({ models: [modelOf(model, price)] }, when), seller.binding, source)
        else if (act === 'beat') index.beat(seller.heartbeat({ recordSeq }, when), source)
        else if (act === 'leave') index.beat(seller.heartbeat({ recordSeq, leaving: true }, when), source)
        else nowMs += waitSec * 1_000
        index.sweep()

        const hasNews = index.hasNews({ model: 'a', since: version })
        const before = [...followed]
        const page = index.query(query(`model=a&since=${version}&limit=500`))
        expect(page).toMatchObject({ reset: false, more: false })
        for (const { peer, recordText, state } of page.entries) followed.set(peer, recordText + state)
        for (const peer of page.gone) followed.delete(peer)
        version = page.version
        // Who waits for news of a model is woken by whatever moves its list.
        if (!isDeepStrictEqual(new Map(before), followed)) expect(hasNews).toBe(true)

        const { entries } = index.query(query('model=a&stale=true&limit=500'))
        expect(new Map(entries.map(({ peer, recordText, state }) => [peer, recordText + state]))).toEqual(
          followed,
        )
        const prices = entries.map(({ models }) => models.find(({ id }) => id === 'a')!.in)
        expect(prices).toEqual(prices.toSorted((x, y) => Number(x - y)))
        const all = index.query(query('stale=true&limit=500')).entries
        expect(index.counts.live + index.counts.stale).toBe(all.length)
        expect(index.query(query('limit=500')).entries.length).toBe(index.counts.live)
        const sold = new Set(all.flatMap(({ models }) => models.map(({ id }) => id)))
        expect(new Set(index.models.keys())).toEqual(sold)
      }
    }),
    { numRuns: 60 },
  )
})

test('a full list makes room by forgetting who was silent longest, and never who is live', () => {
  let nowMs = startMs
  const index = new SellerIndex({ now: () => nowMs, epoch: 'e', mostSellers: 2 })
  const [first, second, third] = sellers
  const register = (seller = sellers[0]!) =>
    index.upsert(seller.record(), seller.binding, { from: null, seenMs: nowMs })
  register(first)
  nowMs += 1_000
  register(second)
  expect(register(third)).toBe('full')
  nowMs += 89_000
  index.sweep()
  expect(register(third)).toBe('ok')
  expect(index.find(first!.peer)).toBeUndefined()
  expect(index.find(second!.peer)).toBeDefined()
})
