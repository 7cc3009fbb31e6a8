/** Starting where one should not, a chain that goes away, offers over restarts, and models that cost nothing. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SellerNodeOptions } from '../../src/node/seller-node.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { startMuteEngine } from '../fixtures/odd-engine.ts'
import { openRawBuyer, type RawBuyer } from '../fixtures/raw-buyer.ts'
import { call } from '../fixtures/raw-http.ts'
import { openRpcProxy } from '../fixtures/rpc-proxy.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey } from '../fixtures/seller-process.ts'
import { openTestSeller, testPrices } from '../fixtures/seller.ts'

type Seller = Awaited<ReturnType<typeof openTestSeller>>

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine
let nextIndex = 1

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
})
afterAll(() => parts.disposeAsync())

const openBuyer = ({ url }: { url: string }) => openRawBuyer(chain, url, nextIndex++)

/** A buyer whose channel holds money and was charged once. */
async function openPaying(where: { url: string }): Promise<RawBuyer> {
  const buyer = await openBuyer(where)
  expect((await buyer.chat({ deposit: 100_000n })).status).toBe(200)
  return buyer
}

async function openFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'openseed-seller-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

async function openOther(options: Partial<SellerNodeOptions> = {}): Promise<Seller> {
  return openTestSeller(chain, engine.url, { key: await freshSellerKey(chain), ...options })
}

const ledgerOf = ({ channelId }: RawBuyer, { book }: Seller) => book.find(channelId)!.ledger

describe('a chain that cannot be reached', () => {
  test('does not stop vouchers; deposits, unknown channels and refunds are refused in time, and go on afterwards', async () => {
    await using proxy = await openRpcProxy(chain.url)
    await using other = await openOther({ rpcUrls: [proxy.url] })
    const buyer = await openPaying(other)
    const fresh = await openBuyer(other)
    const depositOrder = await fresh.deposit(100_000n)
    for (const mode of ['drop', 'http500'] as const) {
      proxy.mode = mode
      expect((await buyer.chat()).status).toBe(200)
      const unavailable = { status: 503, code: 'chain_unavailable' }
      expect(await fresh.chat({ depositOrder })).toMatchObject(unavailable)
      expect(await fresh.chat()).toMatchObject(unavailable)
    }
    expect(await buyer.refund({ amount: 5000n })).toMatchObject({ status: 503, code: 'chain_unavailable' })
    expect(ledgerOf(buyer, other).refunding).toBe(5000n)
    proxy.mode = 'forward'
    expect((await fresh.chat({ depositOrder })).status).toBe(200)
    // The reserved one is finished by whoever asks next, and not made twice.
    expect((await buyer.refund({ amount: 5000n })).settlement?.amount).toBe('5000')
    expect(await chain.escrow.channel(buyer.channelId)).toMatchObject({ balance: 95_000n, refundNonce: 1n })
    expect(ledgerOf(buyer, other)).toMatchObject({ refunding: 0n, balance: 95_000n })
  })

  test('that goes away while claims are sent: nothing is lost, the next settlement claims', async () => {
    await using proxy = await openRpcProxy(chain.url)
    await using other = await openOther({ rpcUrls: [proxy.url] })
    const buyer = await openPaying(other)
    proxy.mode = 'drop'
    await expect(other.settle()).rejects.toMatchObject({ code: 'chain_unavailable' })
    proxy.mode = 'forward'
    expect(await other.settle()).toBe(buyer.charged)
  })

  test('keeps a seller from starting', async () => {
    await using proxy = await openRpcProxy(chain.url)
    proxy.mode = 'drop'
    await expect(openOther({ rpcUrls: [proxy.url] })).rejects.toMatchObject({ code: 'chain_unavailable' })
  })
})

describe('a start', () => {
  test('on another chain is refused', async () => {
    const network = { ...chain.network, chainId: 1 }
    await expect(openOther({ network })).rejects.toMatchObject({ code: 'chain_mismatch' })
  })

  test('on a chain without the contracts is refused', async () => {
    const network = { ...chain.network, escrow: accounts.stranger.address }
    await expect(openOther({ network })).rejects.toMatchObject({ code: 'chain_mismatch' })
  })

  test('on a home that another seller uses is refused, and names it', async () => {
    await using first = await openOther()
    const { folder } = first
    await expect(openOther({ folder })).rejects.toMatchObject({
      code: 'home_locked',
      message: expect.stringContaining(String(process.pid)),
    })
    expect((await openPaying(first)).charged).toBeGreaterThan(0n)
  })
})

describe('offers over a restart', () => {
  test('stay the same while nothing about them changes, so that buyers can go on', async () => {
    await using folder = await openFolder()
    const key = await freshSellerKey(chain)
    const start = (options: Partial<SellerNodeOptions> = {}) =>
      openOther({ folder: folder.path, key, ...options })
    const offerOf = ({ offers }: Seller) => offers.all()[0]!.signed
    const first = await start()
    const before = offerOf(first)
    const buyer = await openPaying(first)
    await first.close()
    {
      await using second = await start()
      expect(offerOf(second)).toEqual(before)
      const reply = await buyer.with({ url: second.url }).chat()
      expect(reply.status).toBe(200)
      buyer.book(reply)
    }
    // With a new price the old one can still be paid for a while.
    await using third = await start({ pricesOf: () => ({ ...testPrices, priceOut: 9_000_000n }) })
    expect(offerOf(third).offer.priceOut).toBe(9_000_000n)
    const reply = await buyer.with({ url: third.url }).chat()
    expect(reply.receipt?.receipt.offerHash).toBe(before.hash)
  })

  test('are made anew in time before they end', async () => {
    await using folder = await openFolder()
    const key = await freshSellerKey(chain)
    const first = await openOther({ folder: folder.path, key })
    const [before] = first.offers.all()
    await first.close()
    const now = () => Date.now() + 13 * 3600 * 1000
    await using second = await openOther({ folder: folder.path, key, now })
    const [after] = second.offers.all()
    expect(after!.signed.hash).not.toBe(before!.signed.hash)
    expect(second.offers.byHash(before!.signed.hash, 'test-model')).toBeDefined()
  })
})

describe('a model that costs nothing', () => {
  const free = { priceIn: 0n, priceCached: 0n, priceOut: 0n, fixedPrice: 0n }
  const body = (stream: boolean) =>
    Buffer.from(JSON.stringify({ model: 'test-model', stream, messages: [{ role: 'user', content: 'hi' }] }))

  test('is served without a payment, streamed and not', async () => {
    await using other = await openOther({ pricesOf: () => free })
    const plain = await call(`${other.url}/v1/chat/completions`, { body: body(false) })
    expect(plain.status).toBe(200)
    expect(plain.headers['payment-response']).toBeUndefined()
    const streamed = await call(`${other.url}/v1/chat/completions`, { body: body(true) })
    expect(streamed.events.at(-1)?.data).toBe('[DONE]')
    expect(streamed.settlement).toBeNull()
    expect([...other.book.entries()]).toEqual([])
  })

  test('fails as clearly as a paid one', async () => {
    await using mute = await startMuteEngine('dies')
    const key = await freshSellerKey(chain)
    await using other = await openTestSeller(chain, mute.url, { key, pricesOf: () => free })
    const reply = await call(`${other.url}/v1/chat/completions`, { body: body(true) })
    expect(reply).toMatchObject({ status: 502, code: 'engine_stream_broken' })
  })
})
