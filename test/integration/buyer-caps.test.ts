/** Caps that several sellers share, when all of them are paid at once. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { probeEngine } from '../../src/seller/engine/probe.ts'
import { newWallet, openTestBuyer, settled, testCaps } from '../fixtures/buyer.ts'
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

/** A seller of its own key whose only model has this name. */
async function openSellerOf(id: string) {
  const probed = await probeEngine(engine.url, AbortSignal.timeout(5000))
  const engines = [{ ...probed, models: probed.models.map((model) => ({ ...model, id })) }]
  return parts.use(await openTestSeller(chain, engine.url, { key: await freshSellerKey(chain), engines }))
}

test('deposits to several sellers at once stay together within the cap of a day', async () => {
  const models = ['one', 'two', 'three']
  const sellers = await Promise.all(models.map(openSellerOf))
  // The least deposit is 100,000: there is room for two of the three.
  const maxPerDay = 250_000n
  await using buyer = await openTestBuyer(
    chain,
    sellers.map(({ url }) => url),
    { keys: await newWallet(chain), caps: { ...testCaps, maxPerDay, maxDepositPerSeller: 120_000n } },
  )
  const replies = await Promise.all(models.map((model) => buyer.chat({ model, maxTokens: 10 })))
  await settled(buyer)
  const deposited = buyer.book.all().reduce((sum, { ledger }) => sum + ledger.balance, 0n)
  expect(deposited).toBeLessThanOrEqual(maxPerDay)
  const refused = replies.filter(({ status }) => status !== 200)
  expect(refused.map(({ status, text }) => [status, text])).toEqual([
    [402, expect.stringContaining('budget_exceeded')],
  ])
})
