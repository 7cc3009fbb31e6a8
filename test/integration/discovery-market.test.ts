/** Buying without being told of any seller: found through a registry, chosen by price, left when it dies or says so. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { SellerNodeOptions } from '../../src/node/seller-node.ts'
import { keccak256 } from '../../src/wire/keccak.ts'
import { parseCatalog } from '../../src/wire/seller-record.ts'
import { newWallet, openTestBuyer, settled, testCaps, type TestBuyer } from '../fixtures/buyer.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { startRegistry, type TestRegistry } from '../fixtures/registry.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey } from '../fixtures/seller-process.ts'
import { openTestSeller, testPrices } from '../fixtures/seller.ts'
import { patient } from '../fixtures/patient.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
})
afterAll(() => parts.disposeAsync())

async function openSeller({ url }: TestRegistry, factor = 1n, options: Partial<SellerNodeOptions> = {}) {
  const priceOut = testPrices.priceOut * factor
  return openTestSeller(chain, engine.url, {
    key: await freshSellerKey(chain),
    pricesOf: () => ({ ...testPrices, priceOut }),
    announce: {
      registries: [url],
      publicUrl: null,
      region: null,
      hardware: null,
      payToKey: accounts.receiver.key,
    },
    ...options,
  })
}

const openBuyer = async (registry: TestRegistry, options: Parameters<typeof openTestBuyer>[2] = {}) =>
  openTestBuyer(chain, [], {
    keys: await newWallet(chain),
    registries: [registry.url],
    allowPrivate: true,
    ...options,
  })

const sellersOf = (buyer: TestBuyer) => buyer.market.listModels()[0]?.sellers ?? 0
const knowsTerms = (buyer: TestBuyer, sellers: readonly { url: string }[]) =>
  vi.waitUntil(() => sellers.every(({ url }) => buyer.market.terms(url) !== null), patient)

test('a buyer finds the cheapest seller by itself and pays it', async () => {
  await using registry = await startRegistry({ network: chain.network })
  await using dear = await openSeller(registry, 3n)
  await using cheap = await openSeller(registry)
  await using buyer = await openBuyer(registry)
  await knowsTerms(buyer, [dear, cheap])
  const reply = await buyer.chat()
  expect(reply.status).toBe(200)
  expect(reply.headers.get('x-openseed-seller')).toBe(cheap.url)
  await settled(buyer)
  expect([...dear.book.entries()]).toEqual([])
})

test('the first request may come before anything is known', async () => {
  await using registry = await startRegistry({ network: chain.network })
  await using seller = await openSeller(registry)
  await vi.waitUntil(() => registry.node.index.counts.live === 1, patient)
  await using buyer = await openBuyer(registry)
  expect((await buyer.chat()).headers.get('x-openseed-seller')).toBe(seller.url)
})

test('a new seller is visible within three seconds, and one that leaves is gone as soon', async () => {
  await using registry = await startRegistry({ network: chain.network })
  await using buyer = await openBuyer(registry)
  await expect(buyer.market.candidates('test-model')).rejects.toMatchObject({ code: 'no_seller' })
  const seller = await openSeller(registry)
  await vi.waitUntil(() => sellersOf(buyer) === 1, patient)
  await seller[Symbol.asyncDispose]()
  await vi.waitUntil(() => sellersOf(buyer) === 0, patient)
})

test('a change of prices reaches buyers at once', async () => {
  await using registry = await startRegistry({ network: chain.network })
  let priceOut = 9_000_000n
  await using seller = await openSeller(registry, 1n, { pricesOf: () => ({ ...testPrices, priceOut }) })
  await vi.waitUntil(() => registry.node.index.counts.live === 1, patient)
  const announced = () => [...(registry.node.index.models.get('test-model')?.rows ?? [])][0]?.model?.out
  expect(announced()).toBe(9_000_000n)
  await using buyer = await openBuyer(registry)
  const known = () => buyer.market.listModels()[0]?.priceOut
  await vi.waitUntil(() => known() === 9_000_000n, patient)
  priceOut = 5_000_000n
  await seller.relist()
  await vi.waitUntil(() => announced() === 5_000_000n, patient)
  await vi.waitUntil(() => known() === 5_000_000n, patient)
})

test('a seller serves its catalogue, for records that cannot hold it', async () => {
  await using registry = await startRegistry({ network: chain.network })
  await using seller = await openSeller(registry)
  const reply = await fetch(`${seller.url}/openseed/v1/catalog`)
  const bytes = await reply.bytes()
  expect(parseCatalog(bytes, keccak256(bytes))).toMatchObject([{ id: 'test-model', in: testPrices.priceIn }])
})

test('a seller that dies is avoided after its first failure', async () => {
  await using registry = await startRegistry({ network: chain.network })
  await using steady = await openSeller(registry, 3n)
  await using buyer = await openBuyer(registry)
  await using dying = await openSeller(registry)
  await knowsTerms(buyer, [steady, dying])
  expect((await buyer.chat()).headers.get('x-openseed-seller')).toBe(dying.url)
  await dying.abandon()
  // It left without a word, so the registry goes on listing it.
  expect(registry.node.index.counts.live).toBe(2)
  for (let n = 0; n < 3; n += 1) {
    const reply = await buyer.chat()
    expect(reply.status).toBe(200)
    expect(reply.headers.get('x-openseed-seller')).toBe(steady.url)
  }
})

test('a seller that wants more of a deposit than the caps allow does not keep the others from being asked', async () => {
  await using registry = await startRegistry({ network: chain.network })
  await using greedy = await openSeller(registry, 1n, { minDeposit: testCaps.maxDepositPerSeller + 1n })
  await using modest = await openSeller(registry, 3n)
  await using buyer = await openBuyer(registry)
  await knowsTerms(buyer, [greedy, modest])
  const reply = await buyer.chat()
  expect(reply.status).toBe(200)
  expect(reply.headers.get('x-openseed-seller')).toBe(modest.url)
  expect([...greedy.book.entries()]).toEqual([])
})

test('with the wallet empty a buyer goes on where it has a deposit, whoever becomes cheaper', async () => {
  await using registry = await startRegistry({ network: chain.network })
  await using paid = await openSeller(registry, 3n)
  // No more than the first deposit takes.
  await using buyer = await openBuyer(registry, { keys: await newWallet(chain, 100_000n) })
  await vi.waitUntil(() => sellersOf(buyer) === 1, patient)
  expect((await buyer.chat()).status).toBe(200)
  await settled(buyer)
  await using first = await openSeller(registry)
  await using second = await openSeller(registry)
  await using third = await openSeller(registry)
  await knowsTerms(buyer, [first, second, third])
  const reply = await buyer.chat()
  expect(reply.status).toBe(200)
  expect(reply.headers.get('x-openseed-seller')).toBe(paid.url)
  for (const { book } of [first, second, third]) expect([...book.entries()]).toEqual([])
})
