/** A buyer that pays: deposits, vouchers, many requests at once, and every cap it was given. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Channel } from '../../src/buyer/channel.ts'
import { parseBatchPayload } from '../../src/wire/batch-settlement.ts'
import { curve } from '../../src/wire/curve.ts'
import { parsePaymentPayload, paymentSignatureHeader } from '../../src/wire/x402.ts'
import { newWallet, openTestBuyer, settled, testCaps, type TestBuyer } from '../fixtures/buyer.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { openSellerProxy, type SellerProxy } from '../fixtures/seller-proxy.ts'
import { openTestSeller } from '../fixtures/seller.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine
let seller: Awaited<ReturnType<typeof openTestSeller>>
let proxy: SellerProxy

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
  seller = parts.use(await openTestSeller(chain, engine.url))
  proxy = parts.use(await openSellerProxy(seller.url))
})
afterAll(() => parts.disposeAsync())

type Options = Parameters<typeof openTestBuyer>[2]
const openBuyer = async (options: Options = {}) => {
  proxy.seen.length = 0
  return openTestBuyer(chain, [proxy.url], { keys: await newWallet(chain), ...options })
}

const channelOf = (buyer: TestBuyer): Channel => buyer.book.all()[0]!
const paid = () =>
  proxy.seen
    .map(({ headers }) => headers[paymentSignatureHeader])
    .filter((header) => header !== undefined)
    .map((header) => parseBatchPayload(parsePaymentPayload(header).payload))
const errorOf = (text: string) => (JSON.parse(text) as { error: { code: string; message: string } }).error

/** Both sides and the chain say the same. */
async function expectAgreement(buyer: TestBuyer): Promise<void> {
  await settled(buyer)
  const { id, ledger } = channelOf(buyer)
  const theirs = seller.book.find(id)!.ledger
  expect(ledger.charged).toBe(theirs.charged)
  expect(ledger.balance).toBe((await chain.escrow.channel(id)).balance)
  const stored = await buyer.store.read('loadChannel', { channelId: id })
  expect(stored).toMatchObject({ charged: ledger.charged, signed: ledger.signed, balance: ledger.balance })
  expect(stored?.openRequests).toEqual([])
}

test('the first request carries the deposit, the next ones a voucher, each in one round trip', async () => {
  await using buyer = await openBuyer()
  const plain = await buyer.chat()
  expect(plain.status).toBe(200)
  expect(BigInt(plain.headers.get('x-openseed-cost')!)).toBe(channelOf(buyer).ledger.charged)
  const streamed = await buyer.chat({ stream: true })
  expect(streamed.text).toContain('[DONE]')
  expect(streamed.text).not.toContain('x402-payment-response')
  await expectAgreement(buyer)
  expect(paid().map(({ type }) => type)).toEqual(['deposit', 'voucher'])
})

test('forty requests at once share one channel and one deposit, and the books agree to the unit', async () => {
  await using buyer = await openBuyer()
  const replies = await Promise.all(
    Array.from({ length: 40 }, (_, at) =>
      buyer.chat({ content: `tokens=${(at % 7) + 1}`, stream: at % 2 === 0 }),
    ),
  )
  expect(replies.map(({ status }) => status)).toEqual(replies.map(() => 200))
  await expectAgreement(buyer)
  expect(buyer.book.all()).toHaveLength(1)
  expect(paid().filter(({ type }) => type === 'deposit')).toHaveLength(1)
  // While money is on its way, nothing is signed that the chain does not cover.
  const { balance } = channelOf(buyer).ledger
  for (const { voucher } of paid()) expect(voucher.maxClaimable).toBeLessThanOrEqual(balance)
})

test('a channel that runs low is topped up by the request that lacks money', async () => {
  await using buyer = await openBuyer()
  await buyer.chat({ maxTokens: 1 })
  const first = channelOf(buyer).ledger.balance
  const big = await buyer.chat({ content: `tokens=5`, maxTokens: 8000 })
  expect(big.status).toBe(200)
  const more = await Promise.all(Array.from({ length: 5 }, () => buyer.chat({ maxTokens: 8000 })))
  expect(more.every(({ status }) => status === 200)).toBe(true)
  await expectAgreement(buyer)
  expect(channelOf(buyer).ledger.balance).toBeGreaterThan(first)
  expect(buyer.book.all()).toHaveLength(1)
})

test('an empty wallet is told the address and the amount, and nothing is signed', async () => {
  const keys = await newWallet(chain, 99_999n)
  await using buyer = await openBuyer({ keys })
  const reply = await buyer.chat()
  expect(reply.status).toBe(402)
  expect(reply.headers.get('x-should-retry')).toBe('false')
  expect(errorOf(reply.text)).toMatchObject({ code: 'balance_insufficient' })
  expect(errorOf(reply.text).message.toLowerCase()).toContain(curve.addressOf(keys.payer))
  expect(paid()).toEqual([])
})

test.each([
  ['request', { maxPerRequest: 10n }],
  ['deposit at one seller', { maxDepositPerSeller: 99_999n }],
  ['day', { maxPerDay: 10n }],
])('the cap per %s stops a request before anything is signed', async (_, cap) => {
  await using buyer = await openBuyer({ caps: { ...testCaps, ...cap } })
  const reply = await buyer.chat()
  expect(reply.status).toBe(402)
  expect(errorOf(reply.text).code).toBe('budget_exceeded')
  expect(paid()).toEqual([])
})

test('the cap of a day counts what was charged, also after a restart', async () => {
  const keys = await newWallet(chain)
  const { folder, dispose } = await keepFolder()
  await using _ = { [Symbol.asyncDispose]: dispose }
  const caps = { ...testCaps, maxPerDay: 200_000n }
  let charged = 0n
  {
    await using buyer = await openBuyer({ keys, caps, folder })
    for (let at = 0; at < 4; at++) await buyer.chat({ content: 'tokens=8000', maxTokens: 8000 })
    await settled(buyer)
    charged = channelOf(buyer).ledger.charged
  }
  expect(charged).toBeGreaterThan(0n)
  await using again = await openBuyer({ keys, folder, caps: { ...caps, maxPerDay: charged + 100n } })
  const reply = await again.chat()
  expect(errorOf(reply.text).code).toBe('budget_exceeded')
})

test('the cap on what is signed beyond the charges makes requests wait for each other, not fail', async () => {
  await using buyer = await openBuyer({ caps: { ...testCaps, maxExposure: 3000n } })
  const replies = await Promise.all(Array.from({ length: 12 }, () => buyer.chat({ maxTokens: 100 })))
  expect(replies.map(({ status }) => status)).toEqual(replies.map(() => 200))
  await expectAgreement(buyer)
})

test('a model that costs nothing is served without a payment', async () => {
  const pricesOf = () => ({ priceIn: 0n, priceCached: 0n, priceOut: 0n, fixedPrice: 0n })
  await using gift = await openTestSeller(chain, engine.url, { pricesOf })
  await using buyer = await openTestBuyer(chain, [gift.url], { keys: await newWallet(chain, 0n) })
  const reply = await buyer.chat({ stream: true })
  expect(reply.text).toContain('[DONE]')
  expect(buyer.book.all()).toEqual([])
})

async function keepFolder() {
  const { mkdtemp, rm } = await import('node:fs/promises')
  const { tmpdir } = await import('node:os')
  const folder = await mkdtemp(`${tmpdir()}/openseed-buyer-`)
  return { folder, dispose: () => rm(folder, { recursive: true, force: true }) }
}
