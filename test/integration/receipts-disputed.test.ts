/** A seller whose receipts do not hold: the evidence stays, nothing more is signed for it, and the rest comes back. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { Channel } from '../../src/buyer/channel.ts'
import { listStandings } from '../../src/node/seller-standings.ts'
import { loadConfig } from '../../src/config/config.ts'
import { readEnv } from '../../src/config/env.ts'
import { collectEvidence, everything } from '../../src/node/receipts-tools.ts'
import { probeEngine } from '../../src/seller/engine/probe.ts'
import { curve } from '../../src/wire/curve.ts'
import { parseTermsExtension, encodeTermsExtension } from '../../src/wire/extension.ts'
import type { Hex } from '../../src/wire/hex.ts'
import { judgeEvidence } from '../../src/wire/judge-evidence.ts'
import type { Receipt } from '../../src/wire/receipt.ts'
import {
  encodeHeader,
  parsePaymentRequired,
  paymentRequiredHeader,
  paymentSignatureHeader,
} from '../../src/wire/x402.ts'
import { newWallet, openTestBuyer, settled, type TestBuyer } from '../fixtures/buyer.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { lie } from '../fixtures/lying-seller.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey } from '../fixtures/seller-process.ts'
import { openSellerProxy, type Fault, type SellerProxy } from '../fixtures/seller-proxy.ts'
import { openTestSeller } from '../fixtures/seller.ts'
import { patient } from '../fixtures/patient.ts'

const parts = new AsyncDisposableStack()
const counted = 'gpt-oss:20b'
let chain: TestChain
let engine: ScriptedEngine
let sellerKey: Hex
let proxy: SellerProxy
let otherUrl: string

/** A seller of one model whose tokens a buyer can count, and of one that it cannot. */
async function openSeller(key: Hex, dearness = 1n) {
  const probed = await probeEngine(engine.url, AbortSignal.timeout(5000))
  const models = ['test-model', counted].flatMap((id) => probed.models.map((model) => ({ ...model, id })))
  const prices = { priceIn: 2_000_000n, priceCached: 1_000_000n, priceOut: 6_000_000n, fixedPrice: 0n }
  const dearer = Object.fromEntries(Object.entries(prices).map(([name, price]) => [name, price * dearness]))
  return parts.use(
    await openTestSeller(chain, engine.url, {
      key,
      engines: [{ ...probed, models }],
      pricesOf: () => dearer as typeof prices,
    }),
  )
}

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
  sellerKey = await freshSellerKey(chain)
  proxy = parts.use(await openSellerProxy((await openSeller(sellerKey)).url))
  otherUrl = (await openSeller(await freshSellerKey(chain), 2n)).url
})
afterAll(() => parts.disposeAsync())

interface Home extends AsyncDisposable {
  path: string
  folder: string
}

async function openHome(): Promise<Home> {
  const path = await mkdtemp(join(tmpdir(), 'openseed-disputed-'))
  return {
    path,
    folder: join(path, 'buyer', 'local'),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  }
}

/** A buyer with gas of its own, whose channel with the seller behind the proxy is open and settled. */
async function openBuyer(home: Home, sellers: readonly string[] = [proxy.url]): Promise<TestBuyer> {
  const keys = await newWallet(chain)
  await chain.fund([{ address: curve.addressOf(keys.payer), eth: 10n ** 18n }])
  const buyer = await openTestBuyer(chain, sellers, { keys, folder: home.folder })
  expect((await buyer.chat()).headers.get('x-openseed-seller')).toBe(proxy.url)
  await settled(buyer)
  return Object.assign(buyer, { keys })
}

const channelOf = (buyer: TestBuyer): Channel =>
  buyer.book.all().find(({ config }) => config.receiverAuthorizer === curve.addressOf(sellerKey))!
const configOf = ({ path }: Home) =>
  loadConfig(readEnv({ OPENSEED_HOME: path, OPENSEED_NETWORK: 'local' }), {})
const verdictsOf = (home: Home) => judgeEvidence(collectEvidence(configOf(home), everything), curve).receipts
const paidFor = (passed: SellerProxy['seen']) =>
  passed.filter(({ headers, body }) => headers[paymentSignatureHeader] !== undefined && body.length > 0)
const codeOf = (text: string) => (JSON.parse(text) as { error: { code: string } }).error.code

async function expectNothingSigned(buyer: TestBuyer): Promise<void> {
  const { signed } = channelOf(buyer).ledger
  const seen = proxy.seen.length
  const next = await buyer.chat()
  expect([next.status, codeOf(next.text)]).toEqual([402, 'charge_refused'])
  expect(paidFor(proxy.seen.slice(seen))).toEqual([])
  expect(channelOf(buyer).ledger.signed).toBe(signed)
}

test.each<[string, string, 'refunded' | 'withdrawn', (receipt: Receipt) => Partial<Receipt>]>([
  [
    'more than its own price',
    'over_price',
    'withdrawn',
    ({ charged, cumulative }) => ({ charged: charged + 7n, cumulative: cumulative + 7n }),
  ],
  ['under another offer', 'other_offer', 'refunded', () => ({ offerHash: `0x${'0f'.repeat(32)}` })],
  [
    'more cached tokens than there were',
    'cached_implausible',
    'refunded',
    ({ inputTokens }) => ({ cachedTokens: inputTokens + 1 }),
  ],
])(
  'a receipt that charges %s is kept as evidence that anybody can check, and the money comes back',
  async (_what, reason, end, change) => {
    await using home = await openHome()
    await using buyer = await openBuyer(home)
    const before = channelOf(buyer).ledger.charged
    proxy.faults.push(lie(chain.digests, sellerKey, change))
    expect((await buyer.chat()).status).toBe(200)
    await expectNothingSigned(buyer)
    const [dispute] = await buyer.store.read('listDisputes')
    expect(dispute).toMatchObject({ reason, provable: true, channelId: channelOf(buyer).id })
    // Where the seller's own books say otherwise it refuses the refund: then the chain gives it back.
    await vi.waitUntil(
      async () => channelOf(buyer).state === 'withdrawing' || (await unspentOf(buyer)) === 0n,
      { timeout: 30_000, interval: 50 },
    )
    expect(channelOf(buyer).state).toBe(end === 'withdrawn' ? 'withdrawing' : 'distrusted')
    const lost = channelOf(buyer).ledger.charged - before
    const [row] = await buyer.store.read('listRequests', { limit: 1 })
    expect(lost).toBeLessThanOrEqual(row!.ceiling)
    await buyer.close(0)
    const verdicts = verdictsOf(home)
    expect(verdicts.map(({ kind }) => kind).toSorted()).toEqual(['contradicts', 'valid'])
    expect(verdicts.flatMap(({ faults }) => faults)).toContain(reason)
  },
)

const unspentOf = async (buyer: TestBuyer) => {
  const { ledger, refunding, id } = channelOf(buyer)
  if (refunding > 0n || ledger.balance > ledger.charged) return 1n
  const { balance } = await chain.escrow.channel(id)
  return balance - ledger.charged
}

test('counts above our own end the relationship: the charge is recorded, the seller asked for the rest, and others serve', async () => {
  await using home = await openHome()
  await using buyer = await openBuyer(home, [proxy.url, otherUrl])
  const honest = await buyer.chat({ model: counted, content: 'tokens=20' })
  expect(honest.headers.get('x-openseed-seller')).toBe(proxy.url)
  await vi.waitUntil(async () => (await buyer.store.read('listDrift')).length === 1, patient)
  expect(channelOf(buyer).state).toBe('open')
  // Within what bytes allow, and three times what a tokenizer finds.
  engine.next({ tokens: 20, usage: { prompt_tokens: 20, completion_tokens: 120, total_tokens: 140 } })
  const { balance } = channelOf(buyer).ledger
  const inflated = await buyer.chat({ model: counted, maxTokens: 200, stream: true })
  expect(inflated.status).toBe(200)
  await vi.waitUntil(() => channelOf(buyer).state === 'distrusted', patient)
  const [dispute] = await buyer.store.read('listDisputes')
  expect(dispute).toMatchObject({ reason: 'over_count', provable: false })
  expect(JSON.parse(dispute!.receipt)).toMatchObject({ outputTokens: 120 })
  // Its books say what ours say, so what is left comes back at once.
  await vi.waitUntil(async () => (await unspentOf(buyer)) === 0n, { timeout: 30_000, interval: 50 })
  expect(channelOf(buyer).ledger.charged).toBeLessThan(balance / 10n)
  const served = await buyer.chat({ model: counted })
  expect([served.status, served.headers.get('x-openseed-seller')]).toEqual([200, otherUrl])
  await settled(buyer)
  await buyer.close(0)
  const [worst] = listStandings(configOf(home))
  expect(worst).toMatchObject({ seller: proxy.url, disputes: [{ reason: 'over_count', provable: false }] })
  expect(worst!.drift[0]!.outputPercent).toBeGreaterThan(20)
  expect(worst!.distrustedUntil).not.toBeNull()
  // The receipts themselves are in order: what was inflated is the count.
  expect(verdictsOf(home).map(({ kind }) => kind)).not.toContain('contradicts')
})

test('a sum that rises by more than its receipts say is a charge without one', async () => {
  await using home = await openHome()
  await using buyer = await openBuyer(home)
  proxy.faults.push(lie(chain.digests, sellerKey, ({ cumulative }) => ({ cumulative: cumulative + 9n })))
  expect((await buyer.chat()).status).toBe(200)
  await vi.waitUntil(() => channelOf(buyer).state !== 'open', patient)
  const [dispute] = await buyer.store.read('listDisputes')
  expect(dispute).toMatchObject({ reason: 'cumulative_unexplained', provable: false })
  await expectNothingSigned(buyer)
})

test('distrust outlives the process, and the way out goes on after it', async () => {
  await using home = await openHome()
  const keys = await newWallet(chain)
  {
    await using buyer = await openTestBuyer(chain, [proxy.url], { keys, folder: home.folder })
    await buyer.chat()
    await settled(buyer)
    proxy.faults.push(lie(chain.digests, sellerKey, ({ charged }) => ({ charged: charged + 1n })))
    await buyer.chat()
    // Without gas of its own, and with the seller down, nothing can come back now.
    proxy.down = true
    await buyer.close(0)
  }
  proxy.down = false
  await using buyer = await openTestBuyer(chain, [proxy.url], { keys, folder: home.folder })
  await expectNothingSigned(buyer)
  await chain.fund([{ address: buyer.payer, eth: 10n ** 18n }])
  await vi.waitUntil(
    async () => channelOf(buyer).state === 'withdrawing' || (await unspentOf(buyer)) === 0n,
    { timeout: 30_000, interval: 50 },
  )
  // Once the time is over, it is a seller like any other.
  const later = Date.now() + 40 * 86_400_000
  await buyer.close(0)
  await using patient = await openTestBuyer(chain, [proxy.url, otherUrl], {
    keys,
    folder: home.folder,
    now: () => later,
  })
  const reply = await patient.chat()
  expect(codeOf(reply.status === 200 ? '{"error":{"code":"none"}}' : reply.text)).not.toBe('charge_refused')
})

/** The next paid request is refused, and the refusal demands other terms. */
function demand(change: (required: ReturnType<typeof parsePaymentRequired>) => unknown): Fault {
  return {
    change: (headers) => {
      // What an unpaid request would be told; a seller that lies may say it at any time.
      const required = parsePaymentRequired(headers[paymentRequiredHeader])
      change(required)
      return { headers: { [paymentRequiredHeader]: encodeHeader(required) }, status: 402 }
    },
  }
}

test.each<[string, Fault]>([
  [
    'another price',
    demand((required) => {
      required.accepts[0]!.amount = '999999'
    }),
  ],
  [
    'another offer',
    demand((required) => {
      const terms = parseTermsExtension(required.extensions)!
      const offerHash = `0x${'0d'.repeat(32)}` as const
      required.extensions = { openseed: encodeTermsExtension({ ...terms, offerHash }) }
    }),
  ],
])('a refusal that demands %s in the middle is not paid', async (_what, fault) => {
  await using home = await openHome()
  await using buyer = await openBuyer(home)
  const { charged } = channelOf(buyer).ledger
  const seen = proxy.seen.length
  proxy.faults.push({ ...fault, unpaid: true })
  const reply = await buyer.chat()
  expect([reply.status, codeOf(reply.text)]).toEqual([402, 'payment_refused'])
  expect(reply.text).toContain('under its own signed offer')
  expect(paidFor(proxy.seen.slice(seen))).toHaveLength(1)
  await settled(buyer)
  expect(channelOf(buyer).ledger.charged).toBe(charged)
  // Under its signed offer it is paid as before.
  expect((await buyer.chat()).status).toBe(200)
})
