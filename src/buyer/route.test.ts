import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { termsWith } from '../../test/fixtures/buyer-market.ts'
import type { Ceiling } from '../wire/ceiling.ts'
import type { Hex } from '../wire/hex.ts'
import type { SignedOffer } from '../wire/offer.ts'
import type { SellerHealth } from './health.ts'
import { chooseRoutes, quoteCeilings, type Candidate } from './route.ts'

const nowMs = 1_000_000
const hashOf = (n: number): Hex => `0x${n.toString(16).padStart(64, '0')}`

const unsigned = (hash: Hex, model: string, maxN = 4): SignedOffer => ({
  offer: {
    modelHash: hash,
    payTo: '0x01',
    priceIn: 150_000n,
    priceCached: 0n,
    priceOut: 600_000n,
    fixedPrice: 0n,
    maxContext: 131_072,
    maxOutput: 8192,
    validUntilSec: 2e9,
    detailsHash: hash,
  },
  details: { model, min: 1n, defOut: 2048, img: 0, maxN },
  signature: '0x',
  hash,
})

const candidateOf = (seller: number, offer: number, model = 'm'): Candidate => ({
  sellerUrl: `http://s${seller}`,
  terms: termsWith({ offers: [] }),
  signedOffer: unsigned(hashOf(offer), model),
})

const ceilingOf = (amount: bigint): Ceiling => ({ amount, maxOutput: 1, n: 1, promptBound: 1 })

const scene = fc
  .record({
    offers: fc.uniqueArray(fc.record({ seller: fc.nat(6), offer: fc.nat(30), amount: fc.bigInt(1n, 5n) }), {
      selector: ({ offer }) => offer,
      maxLength: 12,
    }),
    health: fc.array(
      fc.record({ failures: fc.nat(3), coolUntilMs: fc.integer({ min: nowMs - 3, max: nowMs + 3 }) }),
      {
        minLength: 7,
        maxLength: 7,
      },
    ),
  })
  .map(({ offers, health }) => ({
    candidates: offers.map(({ seller, offer }) => candidateOf(seller, offer)),
    ceilings: new Map(offers.map(({ offer, amount }) => [hashOf(offer), ceilingOf(amount)])),
    health: new Map<string, SellerHealth>(health.map((state, seller) => [`http://s${seller}`, state])),
  }))

describe('the order of routes', () => {
  test('has each seller once, the healthy before the cooling, and cheap before dear among the healthy', () => {
    fc.assert(
      fc.property(scene, ({ candidates, ceilings, health }) => {
        const routes = chooseRoutes('m', candidates, health, ceilings, nowMs)
        const sellers = routes.map(({ sellerUrl }) => sellerUrl)
        expect(new Set(sellers)).toEqual(new Set(candidates.map(({ sellerUrl }) => sellerUrl)))
        expect(sellers.length).toBe(new Set(sellers).size)
        const cooling = routes.map(({ sellerUrl }) => (health.get(sellerUrl)?.coolUntilMs ?? 0) > nowMs)
        expect(cooling).toEqual(cooling.toSorted((a, b) => Number(a) - Number(b)))
        const healthyAmounts = routes.filter((_, i) => !cooling[i]).map(({ ceiling }) => ceiling.amount)
        expect(healthyAmounts).toEqual(healthyAmounts.toSorted((a, b) => Number(a - b)))
        for (const route of routes) {
          const own = candidates.filter(({ sellerUrl }) => sellerUrl === route.sellerUrl)
          const amounts = own.map(({ signedOffer }) => ceilings.get(signedOffer.hash)?.amount ?? 0n)
          expect(amounts.every((amount) => amount >= route.ceiling.amount)).toBe(true)
        }
      }),
    )
  })

  test('does not depend on the order in which offers were listed', () => {
    fc.assert(
      fc.property(scene, fc.infiniteStream(fc.nat()), ({ candidates, ceilings, health }, random) => {
        const shuffled = candidates
          .map((candidate) => ({ candidate, at: random.next().value as number }))
          .toSorted((a, b) => a.at - b.at)
          .map(({ candidate }) => candidate)
        expect(chooseRoutes('m', shuffled, health, ceilings, nowMs)).toEqual(
          chooseRoutes('m', candidates, health, ceilings, nowMs),
        )
      }),
    )
  })

  test('takes a full seller after those with a free slot, and before those that cool down', () => {
    const candidates = [candidateOf(1, 1), { ...candidateOf(2, 2), isFull: true }, candidateOf(3, 3)]
    const ceilings = new Map([1, 2, 3].map((n) => [hashOf(n), ceilingOf(BigInt(n))]))
    ceilings.set(hashOf(3), ceilingOf(9n))
    const health = new Map([['http://s1', { failures: 1, coolUntilMs: nowMs + 1 }]])
    const routes = chooseRoutes('m', candidates, health, ceilings, nowMs)
    expect(routes.map(({ sellerUrl }) => sellerUrl)).toEqual(['http://s3', 'http://s2', 'http://s1'])
  })

  test('goes to nobody that failed and was not heard of since, while there are others', () => {
    const candidates = [candidateOf(1, 1), { ...candidateOf(2, 2), isFull: true }, candidateOf(3, 3)]
    const ceilings = new Map([1, 2, 3].map((n) => [hashOf(n), ceilingOf(BigInt(n))]))
    const failed = { failures: 3, coolUntilMs: nowMs - 60_000 }
    const health = new Map<string, SellerHealth>([
      ['http://s1', { ...failed, isSilent: true }],
      ['http://s3', failed],
    ])
    const routes = chooseRoutes('m', candidates, health, ceilings, nowMs)
    expect(routes.map(({ sellerUrl }) => sellerUrl)).toEqual(['http://s3', 'http://s2', 'http://s1'])
  })

  test('leaves out other models and offers without a ceiling', () => {
    const candidates = [candidateOf(1, 1), candidateOf(2, 2, 'other'), candidateOf(3, 3)]
    const ceilings = new Map([
      [hashOf(1), ceilingOf(5n)],
      [hashOf(2), ceilingOf(1n)],
    ])
    const routes = chooseRoutes('m', candidates, new Map(), ceilings, nowMs)
    expect(routes.map(({ sellerUrl }) => sellerUrl)).toEqual(['http://s1'])
  })
})

describe('quoting', () => {
  const json = { model: 'm', messages: [{ role: 'user', content: 'hi' }], n: 2 }

  test('gives a ceiling to each offer that can take the request', () => {
    const one = { ...candidateOf(1, 1), signedOffer: unsigned(hashOf(1), 'm', 1) }
    const small = { ...candidateOf(2, 2), terms: termsWith({ offers: [], maxBodyBytes: 50 }) }
    const ceilings = quoteCeilings([one, small, candidateOf(3, 3)], json, 57)
    expect([...ceilings.keys()]).toEqual([hashOf(3)])
    expect(ceilings.get(hashOf(3))).toMatchObject({ n: 2, promptBound: 313, maxOutput: 2048 })
  })

  test('throws what is wrong when no offer can take it', () => {
    expect(() => quoteCeilings([candidateOf(1, 1)], { ...json, n: 99 }, 57)).toThrow(
      expect.objectContaining({ code: 'invalid_request', details: { param: 'n' } }),
    )
  })
})
