/** What a buyer knows of the chain before it signs a deposit: which one it is, what is there, and that it is alive. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { networks } from '../../src/config/networks.ts'
import type { BuyerNodeOptions } from '../../src/node/buyer-node.ts'
import { newWallet, openTestBuyer, settled, type TestBuyer } from '../fixtures/buyer.ts'
import { openTestChain, word, type TestChain } from '../fixtures/chain.ts'
import { openSeveral, type SeveralRpcs } from '../fixtures/rpc-several.ts'
import { startScriptedEngine } from '../fixtures/scripted-engine.ts'
import { openTestSeller } from '../fixtures/seller.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let seller: Awaited<ReturnType<typeof openTestSeller>>
let three: SeveralRpcs

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  const engine = parts.use(await startScriptedEngine())
  seller = parts.use(await openTestSeller(chain, engine.url))
})
afterAll(() => parts.disposeAsync())
beforeEach(async () => {
  three = await openSeveral(chain, 3)
  return () => three[Symbol.asyncDispose]()
})

const openBuyer = async (options: Partial<BuyerNodeOptions> = {}) =>
  openTestBuyer(chain, [seller.url], { keys: await newWallet(chain), rpcUrls: three.urls, ...options })

async function expectRefused(buyer: TestBuyer, code: string, ...texts: string[]): Promise<void> {
  const { status, text } = await buyer.chat()
  const { error } = JSON.parse(text) as { error: { code: string; message: string } }
  expect([status, error.code]).toEqual([503, code])
  for (const part of texts) expect(text).toContain(part)
  // Nothing was signed: there is nothing whose outcome would have to be found out.
  expect(buyer.book.all().every(({ deposit, ledger }) => deposit === null && ledger.signed === 0n)).toBe(true)
}

const questions = ({ proxies }: SeveralRpcs, method: string) =>
  proxies.flatMap(({ methods }) => methods).filter((one) => one === method).length

test('the contracts are looked at for the first deposit, not at the start, and never again', async () => {
  await using buyer = await openBuyer()
  expect(questions(three, 'eth_getCode')).toBe(0)
  expect((await buyer.chat()).status).toBe(200)
  await settled(buyer)
  const asked = questions(three, 'eth_getCode')
  expect(asked).toBeGreaterThan(0)
  await buyer.refund(buyer.book.all()[0]!.id)
  expect((await buyer.chat()).status).toBe(200)
  await settled(buyer)
  expect(questions(three, 'eth_getCode')).toBe(asked)
})

test('no deposit is signed where one RPC is of another chain, until it is of the right one', async () => {
  const [liar] = three.proxies
  liar!.lie = ({ method }, result) => (method === 'eth_chainId' ? '0x2105' : result)
  await using buyer = await openBuyer()
  await expectRefused(buyer, 'chain_mismatch', new URL(liar!.url).host, 'serves chain 8453')
  liar!.lie = (_, result) => result
  expect((await buyer.chat()).status).toBe(200)
})

test('no deposit is signed where the escrow has other code than is pinned, or than the other RPCs show', async () => {
  {
    await using buyer = await openBuyer({ escrowCodeHash: word(1) })
    await expectRefused(buyer, 'chain_mismatch', 'is not the escrow that is expected')
  }
  three.proxies[1]!.lie = ({ method }, result) => (method === 'eth_getCode' ? '0x6001' : result)
  await using buyer = await openBuyer()
  await expectRefused(buyer, 'chain_mismatch')
})

test('no deposit is signed on the word of an old block; channels that are filled go on', async () => {
  let aheadMs = 0
  const options = {
    confirmation: { ...networks.local.confirmation, maxHeadAgeSec: 120 },
    now: () => Date.now() + aheadMs,
    // The seller's clock stays where it is.
    requestTtlSec: 20,
  }
  await chain.rpc.send('evm_mine')
  await using filled = await openBuyer(options)
  expect((await filled.chat()).status).toBe(200)
  await settled(filled)
  await using empty = await openBuyer(options)
  const { number } = await chain.escrow.head()
  await chain.advance(200)
  for (const proxy of three.proxies.slice(1)) proxy.frozenAt = number
  aheadMs = 150_000
  await expectRefused(empty, 'chain_stale', 'Only 1 of the 2 RPCs', 'no deposit is signed')
  three.proxies[0]!.frozenAt = number
  await expectRefused(empty, 'chain_stale', ' s old; no deposit is signed')
  expect((await filled.chat()).status).toBe(200)
  for (const proxy of three.proxies) proxy.frozenAt = null
  expect((await empty.chat()).status).toBe(200)
})
