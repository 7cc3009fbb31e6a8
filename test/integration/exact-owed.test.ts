/** A single transfer that was taken without its answer leaving: the same payment brings it, and nothing more is taken. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { ExactPayer, type ExactRequest } from '../fixtures/exact-payer.ts'
import { randomWord } from '../fixtures/raw-buyer.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { openTestSeller, testPrices } from '../fixtures/seller.ts'
import { patient } from '../fixtures/patient.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine
let seller: Awaited<ReturnType<typeof openTestSeller>>
let payer: ExactPayer
let aheadMs = 0
let prices = testPrices

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
  seller = parts.use(
    await openTestSeller(chain, engine.url, { now: () => Date.now() + aheadMs, pricesOf: () => prices }),
  )
  payer = new ExactPayer(chain, seller.url)
})
afterAll(() => parts.disposeAsync())

const earned = () => chain.escrow.tokenBalance(accounts.receiver.address)
const rowOf = ({ authorization: { from, nonce } }: ExactRequest) =>
  seller.store.read('exactFind', { payer: from, nonce })
const runsOf = (mark: string) => engine.calls.filter(({ body }) => JSON.stringify(body).includes(mark)).length

/** Pays for a stream, and leaves while the transfer waits for its block. */
async function payAndLeave(mark: string): Promise<ExactRequest> {
  const request = await payer.make({ stream: true, say: `tokens=5 ${mark}` })
  const leaving = new AbortController()
  await chain.rpc.send('evm_setAutomine', [false])
  try {
    const call = engine.nextCall()
    const gone = payer.send(request, leaving.signal).catch(() => 'gone')
    await (
      await call
    ).finished
    await vi.waitUntil(async () => {
      const pool = (await chain.rpc.send('txpool_status')) as { pending: string }
      return Number(pool.pending) === 1
    }, patient)
    leaving.abort()
    expect(await gone).toBe('gone')
    await chain.rpc.send('evm_mine')
  } finally {
    await chain.rpc.send('evm_setAutomine', [true])
  }
  await vi.waitUntil(async () => (await rowOf(request))?.state === 'settled', patient)
  return request
}

test('a client that lost its connection while the transfer was mined gets its stream by sending the same again', async () => {
  const before = await earned()
  const mark = randomWord()
  const request = await payAndLeave(mark)
  expect(await rowOf(request)).toMatchObject({ state: 'settled', receipt: null })
  // Not until the earlier attempt has let it go.
  const reply = await vi.waitUntil(async () => {
    const reply = await payer.send(request)
    return reply.status === 409 ? null : reply
  }, patient)
  expect([reply.status, reply.words.length, runsOf(mark)]).toEqual([200, 5, 2])
  expect(reply.settlement).toMatchObject({ success: true, transaction: (await rowOf(request))!.txHash })
  expect(reply.receipt?.receipt).toMatchObject({ charged: request.amount, outputTokens: 5 })
  expect(await rowOf(request)).toMatchObject({ state: 'served' })
  const again = await payer.send(request)
  expect([again.status, runsOf(mark)]).toEqual([409, 2])
  expect((await earned()) - before).toBe(request.amount)
})

test('of copies that ask for what is owed at once one is served; an engine that fails leaves it owed', async () => {
  const mark = randomWord()
  const request = await payAndLeave(mark)
  engine.next({ status: 500 })
  await vi.waitUntil(async () => (await payer.send(request)).status === 502, patient)
  expect(await rowOf(request)).toMatchObject({ state: 'settled' })
  const copies = await Promise.all(Array.from({ length: 4 }, () => payer.send(request)))
  expect(copies.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([200, 409, 409, 409])
  expect(runsOf(mark)).toBe(3)
})

test('it is owed to that payment and that body alone, whatever the prices are by then and however late', async () => {
  const mark = randomWord()
  const request = await payAndLeave(mark)
  aheadMs = 3_600_000
  prices = { ...testPrices, priceOut: testPrices.priceOut * 3n }
  await seller.relist()
  const body = Buffer.from(request.body.toString().replace('tokens=5', 'tokens=6'))
  expect(await payer.send({ ...request, body })).toMatchObject({ status: 402 })
  const payment = JSON.parse(Buffer.from(request.headers['payment-signature']!, 'base64').toString()) as {
    payload: { signature: string }
  }
  payment.payload.signature = `0x${'11'.repeat(65)}`
  const forged = { 'payment-signature': Buffer.from(JSON.stringify(payment)).toString('base64') }
  expect((await payer.send({ ...request, headers: forged })).status).toBe(402)
  const before = await earned()
  const reply = await vi.waitUntil(async () => {
    const reply = await payer.send(request)
    return reply.status === 409 ? null : reply
  }, patient)
  expect([reply.status, reply.words.length, runsOf(mark)]).toEqual([200, 5, 2])
  expect(await earned()).toBe(before)
  expect((await payer.send(request)).status).not.toBe(200)
  expect(runsOf(mark)).toBe(2)
})
