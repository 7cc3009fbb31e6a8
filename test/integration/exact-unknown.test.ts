/** A settlement whose outcome the chain does not tell in time: nothing is sent twice, and the truth is found later. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { outboxStoreOf } from '../../src/node/outbox-store.ts'
import { openExactChain } from '../../src/node/seller-exact-chain.ts'
import { nothingDelivered } from '../../src/seller/channel-entry.ts'
import { ExactDesk, type ExactOrder } from '../../src/seller/exact-desk.ts'
import { openWriter } from '../../src/store/writer.ts'
import { curve } from '../../src/wire/curve.ts'
import { signReceipt } from '../../src/wire/receipt.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, word, type TestChain } from '../fixtures/chain.ts'
import { randomWord } from '../fixtures/raw-buyer.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain

beforeAll(async () => {
  chain = parts.use(await openTestChain())
})
afterAll(() => parts.disposeAsync())

async function openDesk(folder: string) {
  const store = await openWriter({
    path: join(folder, 'seller.db'),
    schema: 'seller',
    onFatal: (error) => {
      throw error
    },
  })
  const outboxStore = outboxStoreOf(store)
  const outbox = chain.outbox(outboxStore, { deadlineMs: 1_000 })
  const desk = new ExactDesk({
    store,
    chain: openExactChain(chain.escrow, outbox, outboxStore, 1),
    refuseWork: () => null,
    signReceipt: (receipt) => signReceipt(chain.digests, curve, accounts.receiverAuthorizer.key, receipt),
    now: systemClock,
    log: silentLog,
  })
  return { store, desk, [Symbol.asyncDispose]: () => store.close() }
}

function orderOf(amount: bigint): ExactOrder {
  const { assetName: name, assetVersion: version, chainId, asset } = chain.network
  const authorization = {
    from: accounts.payer.address,
    to: accounts.receiver.address,
    value: amount,
    validAfter: 0n,
    validBefore: 2n ** 40n,
    nonce: randomWord(),
  }
  const digest = chain.digests.transferAuthorization({ name, version, chainId, asset }, authorization)
  const payload = { authorization, signature: curve.sign(digest, accounts.payer.key) }
  const hashes = { bodyHash: word(1), offerHash: word(2) }
  return { payload, isSigned: true, amount, paymentId: null, ...hashes, streamed: false }
}

test('a transaction that is not mined in time stays reserved, and is one transaction when it is', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'openseed-desk-'))
  await using cleanup = new AsyncDisposableStack()
  cleanup.defer(() => rm(folder, { recursive: true, force: true }))
  const { store, desk } = cleanup.use(await openDesk(folder))
  const order = orderOf(1234n)
  const before = await chain.escrow.tokenBalance(accounts.receiver.address)
  await chain.rpc.send('evm_setAutomine', [false])
  const letGo = desk.hold(order.payload)
  expect(() => desk.hold(order.payload)).toThrow(expect.objectContaining({ code: 'request_in_progress' }))
  expect(await desk.judge(order)).toEqual({ kind: 'reserved' })
  await desk.reserve(order)
  const receipt = desk.sign(order, nothingDelivered)
  const outcome = await desk.settle(order, receipt)
  expect(outcome).toMatchObject({ kind: 'pending', txHash: expect.stringMatching(/^0x/) })
  letGo()

  const key = { payer: accounts.payer.address, nonce: order.payload.authorization.nonce }
  const seen = await desk.judge(order)
  expect(seen).toMatchObject({ kind: 'known', row: { state: 'settling' } })
  await desk.reconcile()
  expect(await store.read('exactFind', key)).toMatchObject({ state: 'settling' })
  const pool = (await chain.rpc.send('txpool_status')) as { pending: string }
  expect(Number(pool.pending)).toBe(1)

  await chain.rpc.send('evm_mine')
  await chain.rpc.send('evm_setAutomine', [true])
  await desk.reconcile()
  const row = await store.read('exactFind', key)
  expect(row).toMatchObject({ state: 'settled', txHash: (outcome as { txHash: string }).txHash })
  expect(JSON.parse(row!.receipt!)).toMatchObject({ requestId: key.nonce, charged: '1234' })
  expect((await chain.escrow.tokenBalance(accounts.receiver.address)) - before).toBe(1234n)
})

test('what could not be signed is given up, so that a later run does not take money for it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'openseed-desk-'))
  await using cleanup = new AsyncDisposableStack()
  cleanup.defer(() => rm(folder, { recursive: true, force: true }))
  const { store, desk } = cleanup.use(await openDesk(folder))
  const order = orderOf(77n)
  const { nonce } = order.payload.authorization
  await desk.reserve(order)
  // A key without gas.
  await chain.fund([{ address: accounts.gas.address, eth: 0n }])
  expect(await desk.settle(order, null)).toMatchObject({ kind: 'refused' })
  await chain.fund([{ address: accounts.gas.address, eth: 10n ** 18n }])
  await desk.reconcile()
  await desk.abandonEarlier()
  expect(await store.read('exactFind', { payer: accounts.payer.address, nonce })).toMatchObject({
    state: 'failed',
  })
  expect(await chain.escrow.authorizationUsed(accounts.payer.address, nonce)).toBe(false)
})
