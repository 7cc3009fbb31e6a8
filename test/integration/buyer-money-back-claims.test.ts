/** A withdrawal under way, and a seller that comes back: it gets what it charged, the buyer exactly the rest. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { curve } from '../../src/wire/curve.ts'
import { newWallet, openTestBuyer, settled } from '../fixtures/buyer.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain } from '../fixtures/chain.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { openTestSeller } from '../fixtures/seller.ts'

const parts = new AsyncDisposableStack()
let engine: ScriptedEngine

beforeAll(async () => {
  engine = parts.use(await startScriptedEngine())
})
afterAll(() => parts.disposeAsync())

const started = 5_000_000n

/** Paid, unclaimed, and the withdrawal of everything announced while the seller looks away. */
async function openLeaving() {
  const stack = new AsyncDisposableStack()
  const chain = stack.use(await openTestChain())
  const seller = stack.use(await openTestSeller(chain, engine.url, { pollMs: 3_600_000 }))
  const keys = await newWallet(chain, started)
  const wallet = curve.addressOf(keys.payer)
  await chain.fund([{ address: wallet, eth: 10n ** 17n }])
  const buyer = stack.use(await openTestBuyer(chain, [seller.url], { keys }))
  for (let at = 0; at < 3; at++) expect((await buyer.chat()).status).toBe(200)
  await settled(buyer)
  const channel = buyer.book.all()[0]!
  const begun = await buyer.withdraw(channel.id, { finalize: false })
  expect(begun.amount).toBe(channel.ledger.balance)
  return { chain, seller, buyer, wallet, channel, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

test('a seller that claims while the delay runs gets what it charged and the buyer exactly the rest', async () => {
  await using world = await openLeaving()
  const { chain, seller, buyer, wallet, channel } = world
  const { charged, balance: deposited } = channel.ledger
  await seller.settle()
  const { receiver } = accounts
  expect(await chain.escrow.tokenBalance(receiver.address)).toBe(charged)
  await chain.advance(901)
  const done = await buyer.withdraw(channel.id, { finalize: true })
  expect(done.amount).toBe(deposited - charged)
  expect(await chain.escrow.tokenBalance(wallet)).toBe(started - charged)
  expect(await chain.escrow.channel(channel.id)).toMatchObject({ balance: charged, totalClaimed: charged })
  expect(await chain.escrow.tokenBalance(chain.network.escrow)).toBe(0n)
})

test('a seller that comes back only after the delay, before the buyer finishes, still gets what it charged', async () => {
  await using world = await openLeaving()
  const { chain, seller, buyer, wallet, channel } = world
  const { charged } = channel.ledger
  await chain.advance(901)
  await seller.settle()
  await buyer.withdraw(channel.id, { finalize: true })
  expect(await chain.escrow.tokenBalance(wallet)).toBe(started - charged)
  expect(await chain.escrow.tokenBalance(accounts.receiver.address)).toBe(charged)
})

test('a seller that comes back too late finds nothing, and the buyer has everything', async () => {
  await using world = await openLeaving()
  const { chain, seller, buyer, wallet, channel } = world
  await chain.advance(901)
  await buyer.withdraw(channel.id, { finalize: true })
  await seller.settle().catch(() => undefined)
  expect(await chain.escrow.tokenBalance(wallet)).toBe(started)
  expect(await chain.escrow.tokenBalance(accounts.receiver.address)).toBe(0n)
  expect(await chain.escrow.channel(channel.id)).toMatchObject({ balance: 0n, totalClaimed: 0n })
})
