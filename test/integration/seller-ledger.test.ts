/** The seller's books against the chain and the disk: finals, refunds, withdrawals, claims, and faults of both. */
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SellerNodeOptions } from '../../src/node/seller-node.ts'
import { batchErrors } from '../../src/wire/batch-settlement.ts'
import { curve } from '../../src/wire/curve.ts'
import { signReceipt } from '../../src/wire/receipt.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { depositDirectly, nowSec, openRawBuyer, randomWord, type RawBuyer } from '../fixtures/raw-buyer.ts'
import { call } from '../fixtures/raw-http.ts'
import { gate, startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey, startSellerProcess } from '../fixtures/seller-process.ts'
import { until } from '../fixtures/seller-rows.ts'
import { openTestSeller } from '../fixtures/seller.ts'

type Seller = Awaited<ReturnType<typeof openTestSeller>>

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine
let seller: Seller
let nextIndex = 1

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
  seller = parts.use(await openTestSeller(chain, engine.url))
})
afterAll(() => parts.disposeAsync())

const openBuyer = ({ url }: { url: string } = seller) => openRawBuyer(chain, url, nextIndex++)

/** A buyer whose channel holds money and was charged once. */
async function openPaying(where: { url: string } = seller, deposit = 100_000n): Promise<RawBuyer> {
  const buyer = await openBuyer(where)
  expect((await buyer.chat({ deposit })).status).toBe(200)
  return buyer
}

async function openFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'openseed-seller-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

async function openOther(options: Partial<SellerNodeOptions> = {}): Promise<Seller> {
  return openTestSeller(chain, engine.url, { key: await freshSellerKey(chain), ...options })
}

const ledgerOf = ({ channelId }: RawBuyer, { book }: Seller = seller) => book.find(channelId)!.ledger

/** Starts a request that waits at a door inside the engine. */
async function startHeld(buyer: RawBuyer, wish: Parameters<RawBuyer['make']>[0] = {}) {
  const door = gate()
  engine.next({ pause: { after: 'headers', gate: door } })
  const started = engine.nextCall()
  const request = await buyer.make(wish)
  const reply = buyer.send(request)
  await started
  return { request, reply, open: door.open }
}

describe('the status of requests', () => {
  test('is open while they run, then the final that the reply had', async () => {
    const buyer = await openPaying()
    const held = await startHeld(buyer)
    const { id, ceiling } = held.request
    const before = await buyer.status([id])
    expect(before).toMatchObject({ finals: [{ id, state: 'open', ceiling }], held: ceiling })
    expect((await buyer.status([])).finals).toEqual(before.finals)
    held.open()
    const { receipt } = await held.reply
    const after = await buyer.status([id])
    expect(after.finals).toEqual([{ id, state: 'final', receipt }])
    expect(after).toMatchObject({
      held: 0n,
      charged: receipt!.receipt.cumulative,
      signed: held.request.voucher,
    })
    expect(after.signature).toBe(buyer.voucherSignature(after.signed))
  })

  test('closes an unknown id at 0 for ever, also for the request that comes too late, also after a restart', async () => {
    await using folder = await openFolder()
    const key = await freshSellerKey(chain)
    const id = randomWord()
    let buyer: RawBuyer
    {
      await using first = await openOther({ folder: folder.path, key })
      buyer = await openPaying(first)
      const [final] = (await buyer.status([id])).finals
      expect(final).toMatchObject({ state: 'final', receipt: { receipt: { requestId: id, charged: 0n } } })
      expect(await buyer.chat({ id })).toMatchObject({ status: 409, code: 'request_conflict' })
    }
    await using second = await openOther({ folder: folder.path, key })
    const again = buyer.with({ url: second.url })
    const calls = engine.calls.length
    expect(await again.chat({ id })).toMatchObject({ status: 409 })
    expect(engine.calls.length).toBe(calls)
    expect((await again.status([id])).finals).toMatchObject([{ state: 'final' }])
    expect((await again.chat()).status).toBe(200)
  })

  test('of ids that were never seen is written for a whole question and then slowly, and nobody else waits for that', async () => {
    await using other = await openOther()
    const [hostile, honest] = [await openPaying(other), await openPaying(other)]
    const ids = (count: number) => Array.from({ length: count }, () => randomWord())
    const rows = async ({ channelId }: RawBuyer) =>
      (await other.store.read('listRequests', { channelId, limit: 2000 })).length
    const startedMs = performance.now()
    const first = ids(256)
    expect((await hostile.status(first)).finals).toHaveLength(256)
    const flood = await Promise.all(Array.from({ length: 4 }, () => hostile.askStatus(ids(256))))
    for (const refused of flood) expect(refused).toMatchObject({ status: 429, code: 'rate_limit_exceeded' })
    expect(Number(flood[0]!.headers['retry-after'])).toBeGreaterThan(0)
    const regained = Math.ceil((performance.now() - startedMs) / 15_000)
    expect(await rows(hostile)).toBeLessThanOrEqual(1 + 256 + regained)
    // What is closed stays answered, what runs goes on, and another channel has an allowance of its own.
    expect((await hostile.status(first)).finals).toHaveLength(256)
    expect((await hostile.chat()).status).toBe(200)
    expect((await honest.status(ids(40))).finals).toHaveLength(40)
  })

  test('is told to nobody but the authorizer, for known channels, and in time', async () => {
    const buyer = await openPaying()
    expect(await buyer.askStatus([], { key: accounts.stranger.key })).toMatchObject({
      status: 400,
      code: 'invalid_signature',
    })
    expect(await buyer.askStatus([], { askedAtSec: nowSec() - 3600 })).toMatchObject({ code: 'clock_skewed' })
    const unknown = await openBuyer()
    expect(await unknown.askStatus([])).toMatchObject({ status: 404, code: 'channel_not_found' })
    const garbage = await call(`${seller.url}/openseed/v1/status`, { body: Buffer.from('{"channelId":1}') })
    expect(garbage).toMatchObject({ status: 400, code: 'invalid_message' })
  })
})

test('a seller restored from an old backup learns from its own receipt what it forgot, and from nobody else’s', async () => {
  await using folder = await openFolder()
  await using backup = await openFolder()
  const key = await freshSellerKey(chain)
  const started = () => startSellerProcess(chain, engine.url, { folder: folder.path, key })
  const first = await started()
  const buyer = await openPaying(first)
  await first.kill()
  // A socket is nothing that a backup holds.
  await cp(folder.path, backup.path, { recursive: true, filter: (path) => !path.endsWith('.sock') })
  const second = await started()
  const later = buyer.with({ url: second.url })
  await later.chat()
  const { receipt, request } = await later.chat({ admitBySec: nowSec() + 120 })
  await second.kill()
  await rm(folder.path, { recursive: true })
  await cp(backup.path, folder.path, { recursive: true })

  await using third = await openOther({ folder: folder.path, key })
  const restored = later.with({ url: third.url })
  expect((await restored.status([])).charged).toBe(buyer.charged)
  const signature = restored.voucherSignature(request.voucher)
  const voucher = { maxClaimable: request.voucher, signature }
  const forged = signReceipt(chain.digests, curve, accounts.stranger.key, receipt!.receipt)
  expect((await restored.status([], { receipt: forged, voucher })).charged).toBe(buyer.charged)
  const uncovered = { maxClaimable: 1n, signature: restored.voucherSignature(1n) }
  expect((await restored.status([], { receipt: receipt!, voucher: uncovered })).charged).toBe(buyer.charged)
  const caughtUp = await restored.status([], { receipt: receipt!, voucher })
  expect(caughtUp).toMatchObject({ charged: later.charged, signed: request.voucher, signature })
  // What was served before the backup's loss is known by its signing time alone: it is not served again.
  expect(await restored.send(request)).toMatchObject({ status: 402, reason: 'request_expired' })
  expect((await restored.chat()).status).toBe(200)
  await third.settle()
  expect((await chain.escrow.channel(buyer.channelId)).totalClaimed).toBe(restored.charged)
})

test('a seller that lost its store admits nothing again that may have been signed before', async () => {
  const key = await freshSellerKey(chain)
  await using first = await openOther({ key })
  const index = nextIndex
  const buyer = await openPaying(first)
  await using second = await openOther({ key })
  const again = await openRawBuyer(chain, second.url, index)
  const calls = engine.calls.length
  // As if it had been signed some seconds before the start.
  const older = await again.chat({ admitBySec: nowSec() + 115, voucher: buyer.signed })
  expect(older).toMatchObject({ status: 402, reason: 'request_expired' })
  expect(engine.calls.length).toBe(calls)
  expect((await again.chat()).status).toBe(200)
})

describe('refunds', () => {
  test('give back what is not charged, once', async () => {
    const buyer = await openPaying()
    const before = await chain.escrow.tokenBalance(accounts.payer.address)
    const reply = await buyer.refund()
    expect(reply.status).toBe(200)
    const refunded = 100_000n - buyer.charged
    expect(reply.settlement).toMatchObject({ success: true, amount: refunded.toString() })
    expect(await chain.escrow.tokenBalance(accounts.payer.address)).toBe(before + refunded)
    expect(await chain.escrow.channel(buyer.channelId)).toMatchObject({
      balance: buyer.charged,
      totalClaimed: buyer.charged,
    })
    expect(await buyer.refund()).toMatchObject({ status: 402, reason: batchErrors.refundNoBalance })
    expect(await buyer.chat()).toMatchObject({ status: 402, reason: batchErrors.cumulativeExceedsBalance })
    expect((await buyer.chat({ deposit: 100_000n })).status).toBe(200)
  })

  test('of a part leave the rest, and never touch what a running request holds', async () => {
    const buyer = await openPaying()
    expect((await buyer.refund({ amount: 1000n })).settlement?.amount).toBe('1000')
    const held = await startHeld(buyer)
    const all = await buyer.refund()
    const free = 99_000n - buyer.charged - held.request.ceiling
    expect(all.settlement?.amount).toBe(free.toString())
    expect(await buyer.refund()).toMatchObject({ reason: batchErrors.refundNoBalance })
    held.open()
    buyer.book(await held.reply)
    expect(ledgerOf(buyer)).toMatchObject({ charged: buyer.charged, refunding: 0n })
    expect((await buyer.refund()).status).toBe(200)
    expect((await chain.escrow.channel(buyer.channelId)).balance).toBe(buyer.charged)
  })

  test('asked for five times at once are one refund', async () => {
    const buyer = await openPaying()
    const replies = await Promise.all(Array.from({ length: 5 }, () => buyer.refund({ amount: 10_000n })))
    const paid = replies.filter(({ status }) => status === 200)
    const { balance, refundNonce } = await chain.escrow.channel(buyer.channelId)
    expect(balance).toBe(100_000n - 10_000n * BigInt(paid.length))
    expect(refundNonce).toBe(BigInt(paid.length))
    const others = replies.filter(({ status }) => status !== 200).map(({ reason }) => reason)
    expect(new Set(others)).toEqual(new Set([batchErrors.channelBusy]))
  })

  test('with a voucher that is not zero-charge are corrected; with a stranger’s are refused', async () => {
    const buyer = await openPaying()
    expect(await buyer.refund({ voucher: buyer.charged + 1n })).toMatchObject({
      status: 402,
      reason: batchErrors.cumulativeAmountMismatch,
    })
    expect(await buyer.refund({ voucher: 0n })).toMatchObject({
      reason: batchErrors.cumulativeAmountMismatch,
    })
    expect(await (await openBuyer()).refund()).toMatchObject({ reason: batchErrors.channelNotFound })
    expect((await chain.escrow.channel(buyer.channelId)).balance).toBe(100_000n)
  })
})

describe('a withdrawal on chain', () => {
  test('stops admission and is answered by a claim at once, and by another when the last request ended', async () => {
    await using other = await openOther({ pollMs: 20, settleEveryMs: 20 })
    const buyer = await openPaying(other)
    const held = await startHeld(buyer)
    const { config, channelId } = buyer
    const transaction = {
      from: accounts.payer.address,
      ...chain.escrow.calls.initiateWithdraw(config, 90_000n),
    }
    await chain.rpc.send('eth_sendTransaction', [transaction])
    const ledger = () => ledgerOf(buyer, other)
    await until(other, channelId, () => ledger().totalClaimed === buyer.charged)
    expect(ledger().withdrawing).toBe(90_000n)
    const busy = batchErrors.channelBusy
    expect(await buyer.chat({ voucher: 9000n })).toMatchObject({ status: 402, reason: busy })
    expect(await buyer.chat({ voucher: 9000n, request: null })).toMatchObject({ status: 402, reason: busy })
    expect(await buyer.refund()).toMatchObject({ status: 402, reason: busy })
    held.open()
    buyer.book(await held.reply)
    await until(other, channelId, () => ledger().totalClaimed === buyer.charged)
    expect((await chain.escrow.channel(channelId)).totalClaimed).toBe(buyer.charged)
  })

  test('that happened while the seller was down is known when it starts', async () => {
    await using folder = await openFolder()
    const key = await freshSellerKey(chain)
    const first = await startSellerProcess(chain, engine.url, { folder: folder.path, key })
    const buyer = await openPaying(first)
    await first.kill()
    const { config, channelId } = buyer
    const transaction = { from: accounts.payer.address, ...chain.escrow.calls.initiateWithdraw(config, 1n) }
    await chain.rpc.send('eth_sendTransaction', [transaction])
    await using second = await openOther({ folder: folder.path, key, settleEveryMs: 20 })
    const again = buyer.with({ url: second.url })
    expect(await again.chat()).toMatchObject({ status: 402, reason: batchErrors.channelBusy })
    await until(second, channelId, () => ledgerOf(buyer, second).totalClaimed === buyer.charged)
  })
})

test('a hundred channels are claimed and paid out in one transaction', async () => {
  await using other = await openOther({ payTo: accounts.gas.address, maxConcurrency: 100 })
  const buyers = await Promise.all(Array.from({ length: 100 }, () => openBuyer(other)))
  await depositDirectly(buyers, 100_000n)
  const replies = await Promise.all(buyers.map((buyer) => buyer.chat()))
  expect(replies.map(({ status }) => status)).toEqual(Array(100).fill(200))
  const sum = buyers.reduce((total, { charged }) => total + charged, 0n)
  const fromBlock = (await chain.escrow.head()).number + 1
  expect(await other.settle()).toBe(sum)
  const events = await chain.escrow.events(fromBlock, (await chain.escrow.head()).number, {
    names: ['Claimed'],
  })
  expect(events).toHaveLength(100)
  const hashes = new Set(events.map(({ txHash }) => txHash))
  expect(hashes.size).toBe(1)
  expect(await chain.escrow.tokenBalance(accounts.gas.address)).toBe(sum)
  const mined = (await chain.rpc.send('eth_getTransactionReceipt', [...hashes])) as { gasUsed: string }
  expect(Number(mined.gasUsed)).toBeLessThan(100 * 25_000)
  expect(await other.settle()).toBe(0n)
})

test('many requests at once on one channel: what is charged is what the receipts say and what can be claimed', async () => {
  const buyer = await openPaying(seller, 500_000n)
  const ceiling = (await buyer.make()).ceiling
  const base = buyer.charged
  const replies = await Promise.all(
    Array.from({ length: 40 }, (_, i) =>
      buyer.chat({
        say: `tokens=${i + 1}${i % 5 === 4 ? ' status=500' : ''}`,
        stream: i % 2 === 0,
        voucher: base + 45n * (ceiling + 100n),
      }),
    ),
  )
  const receipts = replies.flatMap(({ receipt }) => (receipt === null ? [] : [receipt.receipt]))
  expect(receipts).toHaveLength(32)
  const sum = receipts.reduce((total, { charged }) => total + charged, base)
  expect(ledgerOf(buyer)).toMatchObject({ charged: sum })
  expect(ledgerOf(buyer).open.size).toBe(0)
  expect(new Set(receipts.map(({ cumulative }) => cumulative)).size).toBe(32)
  await seller.settle()
  expect((await chain.escrow.channel(buyer.channelId)).totalClaimed).toBe(sum)
})

test.skipIf(process.platform !== 'linux')(
  'a full disk: refused clearly, the hold undone, and served again when there is space',
  async () => {
    await using folder = await openFolder()
    const key = await freshSellerKey(chain)
    await using process = await startSellerProcess(chain, engine.url, { folder: folder.path, key })
    const buyer = await openPaying(process)
    const streaming = await startHeld(buyer, { stream: true, maxTokens: 50 })
    const plain = await startHeld(buyer, { voucher: buyer.charged + 20_000n })
    const calls = engine.calls.length
    process.limitFiles(0)
    expect(await buyer.chat({ voucher: buyer.charged + 20_000n })).toMatchObject({
      status: 503,
      code: 'store_unavailable',
    })
    expect(engine.calls.length).toBe(calls)
    expect((await buyer.status([])).held).toBe(streaming.request.ceiling + plain.request.ceiling)
    plain.open()
    expect(await plain.reply).toMatchObject({ status: 503, code: 'store_unavailable' })
    streaming.open()
    await expect(streaming.reply).rejects.toThrow('aborted')
    process.limitFiles(null)
    // Both rows close by themselves: at nothing where nothing was delivered, at its price where something was.
    const ids = [plain.request.id, streaming.request.id]
    let status = await buyer.status(ids)
    while (status.held > 0n) status = await buyer.status(ids)
    const [undelivered, delivered] = status.finals
    expect(undelivered).toMatchObject({ state: 'final', receipt: { receipt: { charged: 0n } } })
    expect(delivered).toMatchObject({ state: 'final', receipt: { receipt: { outputTokens: 5 } } })
    buyer.charged = status.charged
    expect((await buyer.chat()).status).toBe(200)
    // The watch of the chain has come back as well: a withdrawal is answered by a claim.
    const { config, channelId } = buyer
    const transaction = { from: accounts.payer.address, ...chain.escrow.calls.initiateWithdraw(config, 1n) }
    await chain.rpc.send('eth_sendTransaction', [transaction])
    const deadline = AbortSignal.timeout(10_000)
    while ((await chain.escrow.channel(channelId)).totalClaimed < buyer.charged) deadline.throwIfAborted()
  },
)
