/** A deposit that was signed for a seller that is gone moves nothing: once the chain says so, no cap counts it. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { newWallet, openTestBuyer, testCaps } from '../fixtures/buyer.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey } from '../fixtures/seller-process.ts'
import { openTestSeller } from '../fixtures/seller.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
})
afterAll(() => parts.disposeAsync())

const codeOf = (text: string) => (JSON.parse(text) as { error: { code: string } }).error.code

test('a deposit that expired unused leaves the day its room, in memory and on disk', async () => {
  const seller = await openTestSeller(chain, engine.url, { key: await freshSellerKey(chain) })
  let shiftMs = 0
  const now = () => Date.now() + shiftMs
  const keys = await newWallet(chain)
  // Room for one deposit and no more.
  const caps = { ...testCaps, maxPerDay: 150_000n }
  await using buyer = await openTestBuyer(chain, [seller.url], { keys, caps, now })
  await buyer.market.candidates('test-model')
  await seller.close(0)
  const lost = async () => codeOf((await buyer.chat()).text)
  const depositedToday = async () => {
    const sinceMs = now() - 86_400_000
    return (await buyer.store.read('spentSince', { sinceMs })).deposited
  }
  expect(await lost()).toBe('seller_unreachable')
  const [channel] = buyer.book.all()
  const first = channel!.deposit!
  expect(await depositedToday()).toBe(first.amount)

  await chain.advance(700)
  shiftMs = 700_000
  expect(await lost()).toBe('seller_unreachable')
  const second = channel!.deposit!
  expect(second.authorization.salt).not.toBe(first.authorization.salt)
  expect(await depositedToday()).toBe(second.amount)
})
