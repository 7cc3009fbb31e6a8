import { expect, test } from 'vitest'
import type { AnnouncedSeller } from './announced.ts'
import { chooseWarm } from './warm-set.ts'

const address = `0x${'11'.repeat(20)}` as const

function seller(n: number, models: string[] | null, over: Partial<AnnouncedSeller> = {}): AnnouncedSeller {
  const limits = { maxContext: 8192, maxOutput: 2048 }
  return {
    peer: `peer ${String(n).padStart(5, '0')}`,
    url: `https://s${n}.example`,
    payTo: address,
    authorizer: address,
    models: models?.map((id) => ({ id, ...limits, priceIn: BigInt(n), priceOut: 0n })) ?? null,
    isFull: false,
    ...over,
  }
}

const none: ReadonlySet<string> = new Set()
const nobody = () => false
const peers = (sellers: readonly AnnouncedSeller[]) => sellers.map(({ peer }) => peer)

test('of a small market every seller is kept warm', () => {
  const sellers = Array.from({ length: 64 }, (_, n) => seller(n, ['m']))
  expect(chooseWarm(sellers, none, nobody)).toEqual(sellers)
})

test('of a large market the cheapest of each model are', () => {
  const sellers = Array.from({ length: 1000 }, (_, n) => seller(999 - n, [n % 2 === 0 ? 'even' : 'odd']))
  const chosen = chooseWarm(sellers, none, nobody)
  expect(peers(chosen).toSorted()).toEqual([0, 1, 2, 3, 4, 5].map((n) => `peer 0000${n}`))
})

test('more are kept of a model that was asked for, and full ones come last', () => {
  const sellers = Array.from({ length: 100 }, (_, n) => seller(n, ['m'], { isFull: n < 95 }))
  expect(peers(chooseWarm(sellers, new Set(['m']), nobody))).toEqual(
    [95, 96, 97, 98, 99, 0, 1, 2].map((n) => `peer ${String(n).padStart(5, '0')}`),
  )
})

test('sellers that fail leave their places to others, however cheap they say they are', () => {
  const sellers = Array.from({ length: 100 }, (_, n) => seller(n, ['m']))
  const failing = new Set(sellers.slice(0, 50).map(({ url }) => url))
  const chosen = peers(chooseWarm(sellers, new Set(['m']), (url) => failing.has(url)))
  expect(chosen).toEqual([50, 51, 52, 53, 54, 55, 56, 57].map((n) => `peer 000${n}`))
})

test('however many models there are, few sellers are asked', () => {
  const sellers = Array.from({ length: 500 }, (_, n) => seller(n, [`model ${n}`]))
  expect(chooseWarm(sellers, none, nobody)).toHaveLength(64)
})

test('sellers that announce no models are asked while there is room', () => {
  const sellers = Array.from({ length: 100 }, (_, n) => seller(n, n === 99 ? null : ['m']))
  expect(peers(chooseWarm(sellers, none, nobody))).toContain('peer 00099')
})

test('10,000 sellers of one model are ranked quickly', () => {
  const sellers = Array.from({ length: 10_000 }, (_, n) => seller(n, ['m']))
  const startedMs = performance.now()
  chooseWarm(sellers, new Set(['m']), nobody)
  expect(performance.now() - startedMs).toBeLessThan(3000)
})
