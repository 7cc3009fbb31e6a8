/** Sellers that take what they can. Each story ends with the most that it brings them, in base units. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Usdc } from '../../src/wire/amount.ts'
import { parseBatchPayload } from '../../src/wire/batch-settlement.ts'
import type { Hex } from '../../src/wire/hex.ts'
import { parsePaymentPayload, paymentSignatureHeader } from '../../src/wire/x402.ts'
import { mined, openSlowSeller, takeAll } from '../fixtures/adversary-seller.ts'
import { newWallet, openTestBuyer, settled, type TestBuyer } from '../fixtures/buyer.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { lie } from '../fixtures/lying-seller.ts'
import { call } from '../fixtures/raw-http.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey } from '../fixtures/seller-process.ts'
import { openSellerProxy, type Fault, type SellerProxy } from '../fixtures/seller-proxy.ts'
import { openTestSeller } from '../fixtures/seller.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine
let sellerUrl: string
let key: Hex
let proxy: SellerProxy

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
  key = await freshSellerKey(chain)
  sellerUrl = parts.use(await openTestSeller(chain, engine.url, { key })).url
})
beforeEach(async () => {
  proxy = await openSellerProxy(sellerUrl)
  return () => proxy.close()
})
afterAll(() => parts.disposeAsync())

const openBuyer = async (options: Parameters<typeof openTestBuyer>[2] = {}, url = proxy.url) =>
  openTestBuyer(chain, [url], { keys: await newWallet(chain), ...options })

const channelOf = (buyer: TestBuyer) => buyer.book.all()[0]!
const newest = async (buyer: TestBuyer) => (await buyer.store.read('listRequests', { limit: 1 }))[0]!
const paidFor = () => proxy.seen.filter(({ headers }) => headers[paymentSignatureHeader] !== undefined)
const codeOf = (text: string) => (JSON.parse(text) as { error?: { code: string } }).error?.code

// Nine tokens of prompt and two of reply.
const honest = 9n * 2n + 2n * 6n

/** The ceiling of the request that runs now. */
const ceilingNow = (buyer: TestBuyer): Usdc => [...channelOf(buyer).ledger.open.values()][0]!.ceiling

const frauds: [string, (buyer: TestBuyer) => Fault][] = [
  [
    'that inflates the usage',
    () =>
      lie(chain.digests, key, ({ cumulative, charged }) => ({
        outputTokens: 50,
        charged: charged + 288n,
        cumulative: cumulative + 288n,
      })),
  ],
  [
    'that always charges the ceiling',
    (buyer) =>
      lie(chain.digests, key, ({ cumulative, charged }) => ({
        outputTokens: 50,
        charged: ceilingNow(buyer),
        cumulative: cumulative - charged + ceilingNow(buyer),
      })),
  ],
  [
    'that sends junk under the receipt of an answer',
    () => ({ change: () => ({ body: Buffer.from('<p>') }) }),
  ],
]

test.each(frauds)(
  'a seller %s gets one ceiling at most, and nothing is signed for it again',
  async (_, fraud) => {
    await using buyer = await openBuyer()
    for (let i = 0; i < 3; i += 1) expect((await buyer.chat({ content: 'tokens=2' })).status).toBe(200)
    await settled(buyer)
    const fair = channelOf(buyer).ledger.charged
    proxy.faults.push(fraud(buyer))
    await buyer.chat({ content: 'tokens=2' })
    // It gives nothing back by itself.
    proxy.down = true
    const { signed } = channelOf(buyer).ledger
    const { ceiling } = await newest(buyer)
    const attempts = await Promise.all([buyer.chat(), buyer.chat()])
    for (const { status } of attempts) expect(status).not.toBe(200)
    expect(channelOf(buyer).ledger.signed).toBe(signed)
    const taken = await takeAll(chain, key, proxy.seen)
    expect(taken - fair).toBeLessThanOrEqual(ceiling)
    expect(taken).toBe(signed)
  },
)

test('a seller that serves junk and then claims all it holds gets what it was asked for, and one ceiling more', async () => {
  await using buyer = await openBuyer()
  for (let i = 0; i < 5; i += 1) {
    const reply = await buyer.chat({ content: 'tokens=2 split=1' })
    expect(reply.status).toBe(200)
  }
  await settled(buyer)
  const { ceiling } = await newest(buyer)
  const { charged } = channelOf(buyer).ledger
  expect(charged).toBeLessThanOrEqual(5n * (honest + 20n))
  const taken = await takeAll(chain, key, proxy.seen)
  expect(taken - charged).toBeLessThanOrEqual(ceiling)
})

test('a seller that uses everything twice gets everything once', async () => {
  await using buyer = await openBuyer()
  await buyer.chat()
  await buyer.chat()
  await settled(buyer)
  const first = await takeAll(chain, key, proxy.seen)
  expect(await takeAll(chain, key, proxy.seen)).toBe(first)
  const payloads = paidFor().map(({ headers }) =>
    parseBatchPayload(parsePaymentPayload(headers[paymentSignatureHeader]).payload),
  )
  const { balance } = await chain.escrow.channel(channelOf(buyer).id)
  const again = payloads.flatMap((payload) =>
    payload.type === 'deposit'
      ? [chain.escrow.calls.deposit(payload.config, payload.deposit.amount, payload.deposit.authorization)]
      : [],
  )
  expect(again).toHaveLength(1)
  expect(await mined(chain, again[0]!)).toBe(false)
  expect((await chain.escrow.channel(channelOf(buyer).id)).balance).toBe(balance)

  // Passed on to another seller, the request is worth nothing there.
  await using other = await openTestSeller(chain, engine.url, { key: await freshSellerKey(chain) })
  const calls = engine.calls.length
  for (const { headers, body } of paidFor().filter(({ body: sent }) => sent.length > 0)) {
    const payment = { [paymentSignatureHeader]: String(headers[paymentSignatureHeader]) }
    const url = `${other.url}/v1/chat/completions`
    expect((await call(url, { headers: payment, body })).status).toBe(402)
  }
  expect(engine.calls.length).toBe(calls)
  expect([...other.book.entries()]).toEqual([])
})

test.each(['silent', 'drip'] as const)(
  'a seller that keeps its buyer waiting (%s) gets the ceilings that were in flight at most',
  async (mode) => {
    await using slow = await openSlowSeller(sellerUrl, mode)
    await using buyer = await openBuyer({ firstByteTimeoutMs: 300, idleTimeoutMs: 300 }, slow.url)
    const replies = await Promise.all(
      Array.from({ length: 4 }, () =>
        buyer.chat({ stream: true, signal: AbortSignal.timeout(3000) }).catch(() => null),
      ),
    )
    for (const reply of replies) if (reply !== null) expect(codeOf(reply.text)).toBeDefined()
    const rows = await buyer.store.read('listRequests', { limit: 100 })
    const inFlight = rows.reduce((sum, { ceiling }) => sum + ceiling, 0n)
    const { signed, charged } = channelOf(buyer).ledger
    expect(charged).toBe(0n)
    expect(signed).toBeLessThanOrEqual(inFlight)
    expect(slow.seen.length).toBeGreaterThan(0)
  },
)
