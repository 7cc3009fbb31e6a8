/** Everything unspent comes home: from the keystore and the chain alone, with the seller there or gone, cut off or not. */
import { cp } from 'node:fs/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { submitDeposit } from '../../src/chain/deposits.ts'
import { sweepChannels, type SweepOrder } from '../../src/node/sweep-tools.ts'
import { settled, openTestBuyer } from '../fixtures/buyer.ts'
import { openBuyerHome, type BuyerHome } from '../fixtures/buyer-home.ts'
import { accounts } from '../fixtures/accounts.ts'
import { channelConfig, openTestChain, signDeposit, type TestChain } from '../fixtures/chain.ts'
import { openOutboxDatabase, openTempDir } from '../fixtures/outbox-store.ts'
import { openRpcProxy } from '../fixtures/rpc-proxy.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { openSellerProxy } from '../fixtures/seller-proxy.ts'
import { openTestSeller } from '../fixtures/seller.ts'

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

const otherPayTo = '0x00000000000000000000000000000000000000a2'

const order: SweepOrder = {
  foreign: false,
  onProgress: () => undefined,
  onWholeChain: () => undefined,
  confirm: async () => undefined,
  onResult: () => undefined,
}

/** Pays once and stops; gives the channel's id and what was spent. */
async function payOnce(home: BuyerHome, on: TestChain, url: string) {
  const { keys, config } = home
  await using buyer = await openTestBuyer(on, [url], { keys, folder: config.paths.buyer })
  expect((await buyer.chat()).status).toBe(200)
  await settled(buyer)
  const channel = buyer.book.all().find(({ sellerUrl }) => sellerUrl === url)!
  return { id: channel.id, spent: channel.ledger.charged }
}

test('with the database lost and the seller gone, keystore and chain bring everything home', async () => {
  await using alone = await openTestChain()
  const leaving = await openTestSeller(alone, engine.url)
  await using home = await openBuyerHome(alone, [])
  const { spent } = await payOnce(home, alone, leaving.url)
  await leaving.close()
  await home.loseDatabase()

  const first = await sweepChannels(home.config, order, home.io)
  expect(first.historyMissing).toBeNull()
  const [begun] = first.channels
  expect(begun!.result).toMatchObject({ kind: 'withdrawing', because: null })
  // Lost once more on the way: the chain still knows.
  await home.loseDatabase()
  const second = await sweepChannels(home.config, order, home.io)
  expect(second.channels.map(({ result }) => result.kind)).toEqual(['waiting'])
  await alone.advance(901)
  const third = await sweepChannels(home.config, order, home.io)
  expect(third.channels.map(({ result }) => result.kind)).toEqual(['withdrawn'])
  expect(await alone.escrow.tokenBalance(home.wallet)).toBe(5_000_000n - spent)
  expect((await sweepChannels(home.config, order, home.io)).channels).toEqual([])
  await leaving[Symbol.asyncDispose]()
})

test('with the database lost and the seller there, it waits out what it forgot and gets a refund at once', async () => {
  await using home = await openBuyerHome(chain, [seller.url])
  const { id, spent } = await payOnce(home, chain, seller.url)
  await home.loseDatabase()
  await using buyer = await openTestBuyer(chain, [seller.url], {
    keys: home.keys,
    folder: home.config.paths.buyer,
    listen: null,
    requestTtlSec: 1,
  })
  const { signal } = home.io
  const options = { foreign: false }
  const quietly = { onProgress: () => undefined, onWholeChain: () => undefined }
  const { others } = await buyer.sweep.find(quietly, signal)
  const [item, ...more] = await buyer.sweep.plan(others, options, signal)
  expect(more).toEqual([])
  expect(item).toMatchObject({ id, step: { kind: 'refund', seller: seller.url } })
  expect(await buyer.sweep.run(item!, options, signal)).toMatchObject({ kind: 'refunded' })
  expect(await chain.escrow.tokenBalance(home.wallet)).toBe(5_000_000n - spent)
  expect(await buyer.sweep.plan(others, options, signal)).toEqual([])
})

test('with the database from a backup it notices what is missing and gets back exactly what is left', async () => {
  await using home = await openBuyerHome(chain, [seller.url])
  await using backup = await openTempDir()
  await payOnce(home, chain, seller.url)
  await cp(home.config.paths.buyer, backup.path('buyer'), { recursive: true })
  const { spent } = await payOnce(home, chain, seller.url)
  await using buyer = await openTestBuyer(chain, [seller.url], {
    keys: home.keys,
    folder: backup.path('buyer'),
    listen: null,
    requestTtlSec: 1,
  })
  const options = { foreign: false }
  const [item] = await buyer.sweep.plan([], options, home.io.signal)
  expect(await buyer.sweep.run(item!, options, home.io.signal)).toMatchObject({ kind: 'refunded' })
  expect(await chain.escrow.tokenBalance(home.wallet)).toBe(5_000_000n - spent)
})

test('a database that knows its channels asks their sellers, and withdraws where one does not answer', async () => {
  await using other = await openTestSeller(chain, engine.url, {
    key: accounts.stranger.key,
    payTo: otherPayTo,
  })
  await using proxy = await openSellerProxy(other.url)
  await using home = await openBuyerHome(chain, [seller.url, proxy.url])
  const here = await payOnce(home, chain, seller.url)
  const there = await payOnce(home, chain, proxy.url)
  proxy.down = true
  const { channels } = await sweepChannels(home.config, order, home.io)
  const results = new Map(channels.map(({ id, result }) => [id, result]))
  expect(results.get(here.id)).toMatchObject({ kind: 'refunded' })
  expect(results.get(there.id)).toMatchObject({ kind: 'withdrawing', because: expect.any(String) as string })
  expect((await chain.escrow.channel(here.id)).balance).toBe(here.spent)
  expect((await chain.escrow.channel(there.id)).withdrawInitiatedAtSec).toBeGreaterThan(0)
})

test('while a buyer runs nothing is taken from under it', async () => {
  await using home = await openBuyerHome(chain, [seller.url])
  await using buyer = await openTestBuyer(chain, [seller.url], {
    keys: home.keys,
    folder: home.config.paths.buyer,
  })
  expect((await buyer.chat()).status).toBe(200)
  await settled(buyer)
  const before = await chain.escrow.channel(buyer.book.all()[0]!.id)
  await expect(sweepChannels(home.config, order, home.io)).rejects.toMatchObject({ code: 'home_locked' })
  expect(await chain.escrow.channel(buyer.book.all()[0]!.id)).toEqual(before)
  expect((await buyer.chat()).status).toBe(200)
})

test('what another program put into channels is shown, and emptied only when that is asked for', async () => {
  await using alone = await openTestChain()
  await using home = await openBuyerHome(alone, [])
  const config = channelConfig(alone.network, 5, { payer: home.wallet, withdrawDelay: 900 })
  const deposit = await signDeposit(alone, { config, amount: 700_000n, signerKey: home.keys.payer })
  await using folder = await openTempDir()
  await using database = await openOutboxDatabase(folder.path('outbox.db'))
  await submitDeposit(alone.escrow, alone.outbox(database), deposit)

  const left = await sweepChannels(home.config, order, home.io)
  expect(left.channels.map(({ result }) => result.kind)).toEqual(['left'])
  const all = { ...order, foreign: true }
  const begun = await sweepChannels(home.config, all, home.io)
  expect(begun.channels.map(({ result }) => result.kind)).toEqual(['withdrawing'])
  await alone.advance(901)
  const done = await sweepChannels(home.config, all, home.io)
  expect(done.channels.map(({ result }) => result.kind)).toEqual(['withdrawn'])
  expect(await alone.escrow.tokenBalance(home.wallet)).toBe(5_000_000n)
})

test('cut off after the first channel it goes on with the others the next time', async () => {
  await using alone = await openTestChain()
  const sellers = [
    await openTestSeller(alone, engine.url),
    await openTestSeller(alone, engine.url, { key: accounts.stranger.key, payTo: otherPayTo }),
  ]
  await using home = await openBuyerHome(alone, [])
  let spent = 0n
  for (const { url } of sellers) spent += (await payOnce(home, alone, url)).spent
  for (const one of sellers) await one.close()
  await home.loseDatabase()

  const cut = new AbortController()
  const stopAfterOne = { ...order, onResult: () => cut.abort(new Error('cut off')) }
  await expect(sweepChannels(home.config, stopAfterOne, { ...home.io, signal: cut.signal })).rejects.toThrow(
    'cut off',
  )
  const again = await sweepChannels(home.config, order, home.io)
  expect(again.channels.map(({ result }) => result.kind).toSorted()).toEqual(['waiting', 'withdrawing'])
  await alone.advance(901)
  await sweepChannels(home.config, order, home.io)
  expect(await alone.escrow.tokenBalance(home.wallet)).toBe(5_000_000n - spent)
  for (const one of sellers) await one[Symbol.asyncDispose]()
})

test('a transaction whose fate is unknown is never sent a second time', async () => {
  await using alone = await openTestChain()
  const leaving = await openTestSeller(alone, engine.url)
  await using home = await openBuyerHome(alone, [])
  const { id } = await payOnce(home, alone, leaving.url)
  await leaving.close()
  await using proxy = await openRpcProxy(alone.url)
  const stop = new AbortController()
  // The chain gets the transaction; nobody hears of it, nor of anything after it.
  proxy.onMethod = (method) => {
    if (method === 'eth_sendRawTransaction') proxy.mode = 'forwardSilently'
    else if (proxy.mode === 'forwardSilently') stop.abort(new Error('cut off'))
  }
  const deaf = home.configWith({ rpcUrls: [proxy.url] })
  await expect(sweepChannels(deaf, order, { ...home.io, signal: stop.signal })).rejects.toThrow('cut off')
  const before = await alone.escrow.channel(id)
  expect(before.withdrawInitiatedAtSec).toBeGreaterThan(0)
  const again = await sweepChannels(home.config, order, home.io)
  expect(again.channels.map(({ result }) => result.kind)).toEqual(['waiting'])
  expect(Number(await alone.rpc.send('eth_getTransactionCount', [home.wallet, 'latest']))).toBe(1)
  await leaving[Symbol.asyncDispose]()
})
