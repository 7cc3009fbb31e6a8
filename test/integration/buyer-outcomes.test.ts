/** What a buyer makes of outcomes it was not told: nothing is lost, nothing is paid twice, no lie is paid again. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { Channel } from '../../src/buyer/channel.ts'
import { chatBody, newWallet, openTestBuyer, settled, testCaps, type TestBuyer } from '../fixtures/buyer.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { lie } from '../fixtures/lying-seller.ts'
import { gate, startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { patient } from '../fixtures/patient.ts'
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

/** A buyer whose channel is open and funded. */
async function openBuyer(options: Options = {}): Promise<TestBuyer> {
  const buyer = await openTestBuyer(chain, [proxy.url], { keys: await newWallet(chain), ...options })
  expect((await buyer.chat()).status).toBe(200)
  await settled(buyer)
  return buyer
}

const chatPath = '/v1/chat/completions'
const channelOf = (buyer: TestBuyer): Channel => buyer.book.all()[0]!
const theirCharge = (buyer: TestBuyer) => seller.book.find(channelOf(buyer).id)!.ledger.charged
const codeOf = (text: string) => (JSON.parse(text) as { error: { code: string } }).error.code
const requests = (buyer: TestBuyer) => buyer.store.read('listRequests', { limit: 100 })

test('a client that leaves a stream stops the seller at once and pays for what was produced', async () => {
  await using buyer = await openBuyer()
  const door = gate()
  engine.next({ tokens: 40, pause: { after: 10, gate: door } })
  const left = new AbortController()
  const called = engine.nextCall()
  const response = await fetch(`${buyer.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: chatBody({ stream: true }),
    signal: left.signal,
  })
  await response.body!.getReader().read()
  const call = await called
  left.abort()
  await call.aborted
  door.open()
  await settled(buyer)
  const [last] = await requests(buyer)
  expect(last).toMatchObject({ state: 'final', outcome: 'learned' })
  expect(last!.charged).toBeGreaterThan(0n)
  expect(last!.charged).toBeLessThan(last!.ceiling)
  expect(channelOf(buyer).ledger.charged).toBe(theirCharge(buyer))
})

test('a client that leaves before the first byte pays nothing', async () => {
  await using buyer = await openBuyer()
  const before = channelOf(buyer).ledger.charged
  engine.next({ hang: 'headers' })
  const called = engine.nextCall()
  const left = new AbortController()
  const reply = buyer.chat({ signal: left.signal }).catch((error: unknown) => error)
  const call = await called
  left.abort()
  await call.aborted
  await reply
  await settled(buyer)
  expect(channelOf(buyer).ledger.charged).toBe(before)
})

test('an answer that is lost on the way is asked about, and paid once', async () => {
  await using buyer = await openBuyer()
  proxy.faults.push({ loseReply: true })
  const reply = await buyer.chat()
  expect(reply.status).toBe(502)
  expect(reply.headers.get('x-should-retry')).toBe('false')
  await settled(buyer)
  const [last] = await requests(buyer)
  expect(last).toMatchObject({ state: 'final', outcome: 'learned' })
  expect(last!.charged).toBeGreaterThan(0n)
  expect(channelOf(buyer).ledger.charged).toBe(theirCharge(buyer))
})

test('an engine that fails before the first token costs nothing and may be tried again', async () => {
  await using buyer = await openBuyer()
  const before = channelOf(buyer).ledger.charged
  const reply = await buyer.chat({ content: 'status=500' })
  expect(reply.status).toBe(502)
  expect(reply.headers.get('x-openseed-cost')).toBe('0')
  expect(reply.headers.get('x-should-retry')).toBeNull()
  await settled(buyer)
  expect(channelOf(buyer).ledger.charged).toBe(before)
})

test('an engine that dies in the middle of a stream is paid for what it said', async () => {
  await using buyer = await openBuyer()
  const before = channelOf(buyer).ledger.charged
  const reply = await buyer.chat({ content: 'tokens=20 die=5', stream: true })
  expect(reply.text).toContain('"error"')
  expect(reply.text).not.toContain('[DONE]')
  await settled(buyer)
  expect(channelOf(buyer).ledger.charged).toBeGreaterThan(before)
  expect(channelOf(buyer).ledger.charged).toBe(theirCharge(buyer))
})

test('a request that never left is closed at nothing without asking', async () => {
  await using gone = await openSellerProxy(seller.url)
  await using buyer = await openTestBuyer(chain, [gone.url], { keys: await newWallet(chain) })
  await buyer.chat()
  await settled(buyer)
  const before = channelOf(buyer).ledger.charged
  await gone.close()
  const reply = await buyer.chat()
  expect(reply.status).toBe(502)
  expect(codeOf(reply.text)).toBe('seller_unreachable')
  expect(channelOf(buyer).ledger.open.size).toBe(0)
  expect(channelOf(buyer).ledger.charged).toBe(before)
  const [last] = await requests(buyer)
  expect(last).toMatchObject({ state: 'final', outcome: 'not_sent', charged: 0n })
})

test('while outcomes above the limit are unknown nothing is signed; once they are known it goes on', async () => {
  await using buyer = await openBuyer({ caps: { ...testCaps, maxUnresolved: 0n } })
  const real = proxy.url
  expect(real).toBe(channelOf(buyer).sellerUrl)
  const door = gate()
  engine.next({ tokens: 3, pause: { after: 'headers', gate: door } })
  const called = engine.nextCall()
  const left = new AbortController()
  const first = buyer.chat({ signal: left.signal }).catch((error: unknown) => error)
  await called
  // The seller cannot be asked what became of it, and yet is there.
  proxy.deafTo = '/openseed/v1/status'
  left.abort()
  await first
  await vi.waitUntil(() => [...channelOf(buyer).ledger.open.values()].some(({ lost }) => lost), patient)
  const refused = await buyer.chat()
  expect(refused.status).toBe(402)
  expect(codeOf(refused.text)).toBe('money_outcome_unknown')
  proxy.deafTo = null
  door.open()
  await settled(buyer)
  expect((await buyer.chat()).status).toBe(200)
})

test.each([
  ['is not signed by the seller', accounts.stranger.key, (charged: bigint) => ({ charged })],
  [
    'charges more than its tokens cost',
    accounts.receiverAuthorizer.key,
    (charged: bigint) => ({ charged: charged + 1n }),
  ],
  ['charges more than was agreed', accounts.receiverAuthorizer.key, () => ({ charged: 10n ** 9n })],
  [
    'claims more in all than was ever signed',
    accounts.receiverAuthorizer.key,
    (charged: bigint) => ({ charged, cumulative: 10n ** 12n }),
  ],
])(
  'a receipt that %s ends the relationship, and the answer is delivered all the same',
  async (_, key, change) => {
    await using buyer = await openBuyer()
    proxy.faults.push(lie(chain.digests, key, ({ charged }) => change(charged)))
    const reply = await buyer.chat()
    expect(reply.status).toBe(200)
    expect(reply.text).toContain('choices')
    expect(reply.headers.get('x-openseed-cost')).toBeNull()
    expect(channelOf(buyer).state).toBe('distrusted')
    const seen = proxy.seen.length
    const next = await buyer.chat()
    expect(next.status).toBe(402)
    expect(codeOf(next.text)).toBe('charge_refused')
    // The refund is asked for under the same path, without a body.
    expect(proxy.seen.slice(seen).filter(({ path, body }) => path === chatPath && body.length > 0)).toEqual(
      [],
    )
    const stored = await buyer.store.read('loadChannel', { channelId: channelOf(buyer).id })
    expect(stored?.state).toBe('distrusted')
  },
)

test('a seller that is busy says when to come back, and costs nothing', async () => {
  await using full = await openTestSeller(chain, engine.url, { maxConcurrency: 1 })
  await using buyer = await openTestBuyer(chain, [full.url], { keys: await newWallet(chain) })
  await buyer.chat()
  await settled(buyer)
  const before = channelOf(buyer).ledger.charged
  const door = gate()
  engine.next({ tokens: 1, pause: { after: 'headers', gate: door } })
  const called = engine.nextCall()
  const first = buyer.chat()
  await called
  const second = await buyer.chat()
  expect(second.status).toBe(429)
  expect(Number(second.headers.get('retry-after'))).toBeGreaterThan(0)
  door.open()
  expect((await first).status).toBe(200)
  await settled(buyer)
  expect(channelOf(buyer).ledger.charged).toBeGreaterThan(before)
  expect((await requests(buyer)).filter(({ charged }) => charged > 0n)).toHaveLength(2)
})

test('a second seller serves what the first one cannot', async () => {
  await using second = await openTestSeller(chain, engine.url, {
    pricesOf: () => ({ priceIn: 3_000_000n, priceCached: 3_000_000n, priceOut: 9_000_000n, fixedPrice: 0n }),
    key: accounts.stranger.key,
  })
  await using buyer = await openTestBuyer(chain, [proxy.url, second.url], { keys: await newWallet(chain) })
  expect((await buyer.chat()).headers.get('x-openseed-seller')).toBe(proxy.url)
  await settled(buyer)
  proxy.down = true
  const reply = await buyer.chat()
  proxy.down = false
  expect(reply.status).toBe(200)
  expect(reply.headers.get('x-openseed-seller')).toBe(second.url)
  expect(reply.headers.get('x-openseed-attempts')).toBe('2')
  await settled(buyer)
})
