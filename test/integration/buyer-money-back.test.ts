/** Unspent money comes back: by the seller at once, without it after the delay; through a running buyer or in its place. */
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { listChannels, refundChannel, showChannel, withdrawChannel } from '../../src/node/channel-tools.ts'
import { runBuy, type BuyerFacts } from '../../src/node/run-buy.ts'
import { curve } from '../../src/wire/curve.ts'
import { chatBody, newWallet, openTestBuyer, settled, type TestBuyer } from '../fixtures/buyer.ts'
import { openBuyerHome } from '../fixtures/buyer-home.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { gate, startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { openSellerProxy } from '../fixtures/seller-proxy.ts'
import { openTestSeller } from '../fixtures/seller.ts'
import { patient } from '../fixtures/patient.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine
let seller: Awaited<ReturnType<typeof openTestSeller>>

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
  seller = parts.use(await openTestSeller(chain, engine.url))
})
afterAll(() => parts.disposeAsync())

const channelOf = (buyer: TestBuyer) => buyer.book.all()[0]!

async function openPaidBuyer(options: Parameters<typeof openTestBuyer>[2] = {}, url = seller.url) {
  const keys = await newWallet(chain, 5_000_000n)
  const buyer = await openTestBuyer(chain, [url], { keys, ...options })
  expect((await buyer.chat()).status).toBe(200)
  await settled(buyer)
  return Object.assign(buyer, { wallet: curve.addressOf((options.keys ?? keys).payer) })
}

test('a refund brings back everything that was not charged, and the channel goes on with a new deposit', async () => {
  await using buyer = await openPaidBuyer()
  const { id, ledger } = channelOf(buyer)
  const spent = ledger.charged
  const refunded = await buyer.refund(id)
  expect(refunded.transaction).toMatch(/^0x/)
  expect(await chain.escrow.tokenBalance(buyer.wallet)).toBe(5_000_000n - spent)
  expect(channelOf(buyer).ledger.balance).toBe(spent)
  expect((await buyer.chat()).status).toBe(200)
  await settled(buyer)
  expect(buyer.book.all()).toHaveLength(1)
})

test('a refund of a part leaves the rest usable without a new deposit', async () => {
  await using buyer = await openPaidBuyer()
  const { id, ledger } = channelOf(buyer)
  const before = ledger.balance
  expect((await buyer.refund(id.slice(0, 14), 10_000n)).amount).toBe(10_000n)
  expect(channelOf(buyer).ledger.balance).toBe(before - 10_000n)
  expect((await buyer.chat()).status).toBe(200)
  await settled(buyer)
  expect(channelOf(buyer).ledger.balance).toBe(before - 10_000n)
})

test('more than is unspent is refused, and so is a refund while a request runs', async () => {
  await using buyer = await openPaidBuyer()
  const { id, ledger } = channelOf(buyer)
  await expect(buyer.refund(id, ledger.balance)).rejects.toMatchObject({ code: 'invalid_request' })
  await expect(buyer.refund('0xffff')).rejects.toMatchObject({ code: 'channel_not_found' })
  const door = gate()
  engine.next({ pause: { after: 'headers', gate: door } })
  const called = engine.nextCall()
  const reply = buyer.chat()
  await called
  // It waits for the request to end, and then goes on by itself.
  const refunded = buyer.refund(id)
  door.open()
  expect((await reply).status).toBe(200)
  expect((await refunded).amount).toBeGreaterThan(0n)
})

test('a refund whose answer is lost is counted as gone until the chain shows it', async () => {
  await using proxy = await openSellerProxy(seller.url)
  await using buyer = await openPaidBuyer({}, proxy.url)
  const { id } = channelOf(buyer)
  // The probe passes, the answer to the refund does not.
  proxy.faults.push({}, { loseReply: true })
  await expect(buyer.refund(id)).rejects.toMatchObject({ code: 'seller_unreachable' })
  const { ledger } = channelOf(buyer)
  expect(channelOf(buyer).refunding).toBeGreaterThan(0n)
  expect(ledger.balance).toBe(ledger.charged)
  await expect(buyer.refund(id)).rejects.toMatchObject({ code: 'invalid_request' })
  expect(channelOf(buyer).refunding).toBe(0n)
  expect(ledger.balance).toBe((await chain.escrow.channel(id)).balance)
})

test('with the seller gone a withdrawal needs only a little ETH and the delay', async () => {
  await using alone = await openTestChain()
  const leaving = await openTestSeller(alone, engine.url)
  const keys = await newWallet(alone, 5_000_000n)
  await using buyer = await openTestBuyer(alone, [leaving.url], { keys })
  expect((await buyer.chat()).status).toBe(200)
  await settled(buyer)
  const { id, ledger } = channelOf(buyer)
  const spent = ledger.charged
  await leaving.close(0)
  const wallet = curve.addressOf(keys.payer)

  await expect(buyer.withdraw(id, { finalize: false })).rejects.toMatchObject({
    code: 'gas_insufficient',
    hint: expect.stringContaining('ETH') as string,
  })
  expect(channelOf(buyer).state).toBe('open')
  await alone.fund([{ address: wallet, eth: 10n ** 17n }])
  const begun = await buyer.withdraw(id, { finalize: false })
  expect(begun.amount).toBe(ledger.balance - spent)
  expect(channelOf(buyer).state).toBe('withdrawing')
  expect((await buyer.withdraw(id, { finalize: false })).transaction).toBeNull()
  await expect(buyer.withdraw(id, { finalize: true })).rejects.toMatchObject({ code: 'invalid_request' })
  await alone.advance(901)
  expect((await buyer.withdraw(id, { finalize: true })).amount).toBe(begun.amount)
  expect(await alone.escrow.tokenBalance(wallet)).toBe(5_000_000n - spent)
  expect(channelOf(buyer).state).toBe('closed')
  await leaving[Symbol.asyncDispose]()
})

const openHome = () => openBuyerHome(chain, [seller.url], { eth: 0n })

test('the role runs from a home and a config until it is told to stop', async () => {
  await using home = await openHome()
  const stop = new AbortController()
  const ready = Promise.withResolvers<BuyerFacts>()
  const io = { ...home.io, signal: stop.signal, ready: ready.resolve }
  const running = runBuy(home.config, io)
  const { baseUrl, payer, sellers } = await ready.promise
  expect(payer.toLowerCase()).toBe(curve.addressOf(home.keys.payer))
  expect(sellers.map(({ url }) => url)).toEqual([seller.url])
  const reply = await fetch(`${baseUrl}/chat/completions`, { method: 'POST', body: chatBody({}) })
  expect(reply.status).toBe(200)
  stop.abort()
  await running
  expect((await listChannels(home.config))[0]).toMatchObject({ state: 'open', openRequests: 0 })
})

test('the commands read beside a running buyer and move money through it, or in its place', async () => {
  await using home = await openHome()
  const { config, keys, io } = home
  expect(await listChannels(config)).toEqual([])
  {
    await using buyer = await openTestBuyer(chain, [seller.url], { keys, folder: config.paths.buyer })
    expect((await buyer.chat()).status).toBe(200)
    await settled(buyer)
    // The deposit is known to the buyer a moment before it is in the file that the commands read.
    const [view] = await vi.waitUntil(async () => {
      const channels = await listChannels(config)
      return channels[0]?.balance === 0n ? null : channels
    }, patient)
    expect(view).toMatchObject({
      role: 'buyer',
      counterparty: seller.url,
      state: 'open',
      held: 0n,
      unlocksAtSec: null,
    })
    expect(view!.onChain?.balance).toBe(view!.balance)
    expect((await stat(join(config.paths.buyer, 'control.sock'))).mode & 0o777).toBe(0o600)
    expect((await refundChannel(config, view!.id, 1000n, io)).amount).toBe(1000n)
    await expect(refundChannel(config, '0xffff', 1n, io)).rejects.toMatchObject({ code: 'channel_not_found' })
  }
  const { id, available } = await showChannel(config, (await listChannels(config))[0]!.id.slice(0, 12))
  expect((await refundChannel(config, id, undefined, io)).amount).toBe(available)
  expect((await showChannel(config, id)).available).toBe(0n)
  await expect(withdrawChannel(config, id, io, { finalize: true })).rejects.toMatchObject({
    code: 'invalid_request',
  })
})
