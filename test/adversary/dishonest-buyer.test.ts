/** Buyers that want work for nothing. Each story ends with the work that was not paid for, in base units. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { batchErrors } from '../../src/wire/batch-settlement.ts'
import { curve } from '../../src/wire/curve.ts'
import type { Address, Hex } from '../../src/wire/hex.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { depositDirectly, openRawBuyer, type RawBuyer } from '../fixtures/raw-buyer.ts'
import { gate, startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey } from '../fixtures/seller-process.ts'
import { closedRow, until } from '../fixtures/seller-rows.ts'
import { openTestSeller } from '../fixtures/seller.ts'
import { beginWithdrawal, endWithdrawal } from '../fixtures/tower.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine
let seller: Awaited<ReturnType<typeof openTestSeller>>
let key: Hex
let nextIndex = 1

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
  key = await freshSellerKey(chain)
  seller = parts.use(await openTestSeller(chain, engine.url, { key, pollMs: 20, settleEveryMs: 20 }))
})
afterAll(() => parts.disposeAsync())

const deposit = 100_000n

async function openBuyer(amount = deposit): Promise<RawBuyer> {
  const buyer = await openRawBuyer(chain, seller.url, nextIndex++)
  await depositDirectly(buyer, amount)
  return buyer
}

const ledgerOf = ({ channelId }: RawBuyer) => seller.book.find(channelId)!.ledger
const claimedOf = async ({ channelId }: RawBuyer) => (await chain.escrow.channel(channelId)).totalClaimed
test('a buyer that floods beyond its balance is served as far as that goes, and all of it is paid', async () => {
  const buyer = await openBuyer()
  const { ceiling } = await buyer.make({ maxTokens: 1000 })
  const most = Number(deposit / ceiling)
  const [door, calls] = [gate(), engine.calls.length]
  for (let i = 0; i < most; i += 1) engine.next({ tokens: 5, pause: { after: 'headers', gate: door } })
  const flood = Array.from({ length: 3 * most }, () => buyer.chat({ maxTokens: 1000, voucher: deposit }))
  await expect.poll(() => engine.calls.length - calls).toBe(most)
  // All that was signed is held by requests that run.
  expect(await buyer.chat({ maxTokens: 1000, voucher: deposit })).toMatchObject({ status: 402 })
  expect(await buyer.chat({ voucher: deposit + 1n })).toMatchObject({
    status: 402,
    reason: batchErrors.cumulativeExceedsBalance,
  })
  door.open()
  const replies = await Promise.all(flood)
  const receipts = replies.flatMap(({ receipt }) => (receipt === null ? [] : [receipt.receipt.charged]))
  expect(engine.calls.length - calls).toBe(receipts.length)
  const worth = receipts.reduce((sum, charged) => sum + charged, 0n)
  await seller.settle()
  expect(worth - (await claimedOf(buyer))).toBe(0n)
})

test('a buyer that starts to withdraw while its answer streams pays for the whole answer', async () => {
  const buyer = await openBuyer()
  const door = gate()
  engine.next({ tokens: 40, pause: { after: 10, gate: door } })
  const stream = await buyer.stream({ maxTokens: 100 })
  await stream.words(10)
  await beginWithdrawal(buyer)
  await until(seller, buyer.channelId, () => ledgerOf(buyer).withdrawing > 0n)
  expect(await buyer.chat({ voucher: deposit })).toMatchObject({
    status: 402,
    reason: batchErrors.channelBusy,
  })
  door.open()
  const { receipt } = await stream.rest()
  const worth = receipt!.receipt.charged
  await until(seller, buyer.channelId, () => ledgerOf(buyer).totalClaimed === worth)
  await chain.advance(901)
  await endWithdrawal(buyer)
  expect(worth - (await claimedOf(buyer))).toBe(0n)
  expect((await chain.escrow.channel(buyer.channelId)).balance).toBe(worth)
})

test('a buyer that leaves at every chunk pays for every chunk', async () => {
  const buyer = await openBuyer()
  const outPrice = buyer.offer.offer.priceOut / 1_000_000n
  let unpaid = 0n
  for (let chunk = 1; chunk <= 12; chunk += 1) {
    const door = gate()
    engine.next({ tokens: 13, usage: 'omit', pause: { after: chunk, gate: door } })
    const called = engine.nextCall()
    const stream = await buyer.stream({ maxTokens: 100 })
    const work = await called
    await stream.words(chunk)
    stream.leave()
    await work.aborted
    const { charged } = await closedRow(seller, buyer.channelId, stream.request.id)
    buyer.charged += charged
    const produced = BigInt(work.sent) * outPrice
    if (produced > charged) unpaid += produced - charged
  }
  expect(unpaid).toBe(0n)
  await seller.settle()
  expect(await claimedOf(buyer)).toBe(buyer.charged)
})

test('a buyer that opens channels of dust gets no work, and costs the seller less gas than itself', async () => {
  const buyers = await Promise.all(
    Array.from({ length: 30 }, () => openRawBuyer(chain, seller.url, nextIndex++)),
  )
  const gasOf = (address: Address) => chain.escrow.nativeBalance(address)
  const both = () => Promise.all([curve.addressOf(key), accounts.stranger.address].map(gasOf))
  const calls = engine.calls.length
  const [before = 0n, attackerBefore = 0n] = await both()
  const small = await Promise.all(buyers.map((buyer) => buyer.chat({ deposit: 1n })))
  expect(new Set(small.map(({ reason }) => reason))).toEqual(new Set([batchErrors.depositBelowMinDeposit]))
  await depositDirectly(buyers, 1n)
  const refused = await Promise.all(buyers.map((buyer) => buyer.chat({ voucher: 1n })))
  expect(new Set(refused.map(({ status }) => status))).toEqual(new Set([402]))
  await seller.settle()
  expect([await gasOf(curve.addressOf(key)), engine.calls.length]).toEqual([before, calls])
  // All that is left is always given back, and the seller pays for that.
  await Promise.all(buyers.map((buyer) => buyer.refund({ amount: 1n })))
  const [after = 0n, attackerAfter = 0n] = await both()
  expect(before - after).toBeLessThan(attackerBefore - attackerAfter)
})
