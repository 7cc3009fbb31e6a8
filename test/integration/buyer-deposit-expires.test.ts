/** A deposit that was signed for a seller that is gone moves nothing: once the chain says so, no cap counts it. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openBuyerHome } from '../fixtures/buyer-home.ts'
import { newWallet, openTestBuyer, settled, testCaps } from '../fixtures/buyer.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey } from '../fixtures/seller-process.ts'
import { openSellerProxy } from '../fixtures/seller-proxy.ts'
import { openTestSeller, testPrices } from '../fixtures/seller.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
})
afterAll(() => parts.disposeAsync())

test('none is signed for a seller that changed its terms and is not there, although a channel under the old ones has money', async () => {
  let shiftMs = 0
  const now = () => Date.now() + shiftMs
  const key = await freshSellerKey(chain)
  const open = (withdrawDelaySec: number) => openTestSeller(chain, engine.url, { key, withdrawDelaySec, now })
  await using before = await open(900)
  await using after = await open(1_800)
  await using proxy = await openSellerProxy(before.url)
  await using home = await openBuyerHome(chain, [])
  const options = { folder: home.config.paths.buyer, keys: await newWallet(chain), now }
  {
    await using first = await openTestBuyer(chain, [proxy.url], options)
    expect((await first.chat()).status).toBe(200)
    await settled(first)
  }
  proxy.aim(after.url)
  shiftMs += 61_000
  await using buyer = await openTestBuyer(chain, [proxy.url], options)
  await buyer.market.probe(proxy.url)
  expect(buyer.market.terms(proxy.url)?.withdrawDelay).toBe(1_800)
  proxy.down = true
  shiftMs += 61_000
  // Its answer to a question of before may still come.
  await buyer.market.probe(proxy.url).catch(() => undefined)
  shiftMs += 61_000
  expect((await buyer.chat()).status).toBe(502)
  expect(await buyer.store.read('listDeposits', { limit: 9 })).toHaveLength(1)
})

test('a deposit that expired unused leaves its room to others, and none is signed for who is not there', async () => {
  let shiftMs = 0
  const now = () => Date.now() + shiftMs
  const open = async (factor: bigint) =>
    openTestSeller(chain, engine.url, {
      key: await freshSellerKey(chain),
      pricesOf: () => ({ ...testPrices, priceOut: testPrices.priceOut * factor }),
      now,
    })
  const dying = await open(1n)
  await using steady = await open(3n)
  const keys = await newWallet(chain)
  // Room for one deposit and no more.
  const caps = { ...testCaps, maxPerDay: 150_000n }
  await using buyer = await openTestBuyer(chain, [dying.url, steady.url], { keys, caps, now })
  await Promise.all([dying, steady].map(({ url }) => buyer.market.probe(url)))
  await dying.close(0)
  const depositedToday = async () => {
    const sinceMs = now() - 86_400_000
    return (await buyer.store.read('spentSince', { sinceMs })).deposited
  }
  expect((await buyer.chat()).status).toBe(402)
  const lost = buyer.book.all().find(({ sellerUrl }) => sellerUrl === dying.url)
  expect(await depositedToday()).toBe(lost!.deposit!.amount)

  await chain.advance(700)
  shiftMs = 700_000
  const reply = await buyer.chat()
  expect(reply.headers.get('x-openseed-seller')).toBe(steady.url)
  expect(reply.status).toBe(200)
  await settled(buyer)
  const paid = buyer.book.all().find(({ sellerUrl }) => sellerUrl === steady.url)
  expect(lost!.deposit).toBeNull()
  expect(await depositedToday()).toBe(paid!.ledger.balance)
})
