/** Our buyer pays stock x402 servers: express with the official middleware, which knows nothing of ours. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { newWallet, openTestBuyer, type TestBuyer } from '../fixtures/buyer.ts'
import { startStockServer, type StockServer } from '../fixtures/stock-server.ts'
import { curve } from '../../src/wire/curve.ts'
import { patient } from '../fixtures/patient.ts'

const parts = new AsyncDisposableStack()
const cent = 10_000n
let chain: TestChain

beforeAll(async () => {
  chain = parts.use(await openTestChain({ chainId: 84_532 }))
})
afterAll(() => parts.disposeAsync())

const request = { model: 'stock-model', content: 'hello' }
const costOf = ({ headers }: { headers: Headers }) => headers.get('x-openseed-cost')

async function open(schemes: ('exact' | 'batch-settlement')[], cleanup: AsyncDisposableStack) {
  const server = cleanup.use(await startStockServer(chain, schemes))
  const keys = await newWallet(chain, 10_000_000n)
  const buyer = cleanup.use(await openTestBuyer(chain, [server.url], { keys }))
  const left = () => chain.escrow.tokenBalance(curve.addressOf(keys.payer))
  return { server, buyer, keys, left }
}

describe('by exact', () => {
  let server: StockServer
  let buyer: TestBuyer
  let left: () => Promise<bigint>
  beforeAll(async () => {
    ;({ server, buyer, left } = await open(['exact'], parts))
  })

  test('its models are listed without a price', async () => {
    await vi.waitUntil(() => buyer.market.stockModels().length > 0, patient)
    const listed = await fetch(`${buyer.url}/v1/models/stock-model`)
    expect(await listed.json()).toEqual({
      id: 'stock-model',
      object: 'model',
      created: 0,
      owned_by: 'x402',
    })
  })

  test.for([false, true])('a request costs what the 402 says, streamed: %s', async (stream) => {
    const before = await left()
    const earned = await chain.escrow.tokenBalance(accounts.receiver.address)
    const reply = await buyer.chat({ ...request, stream })
    expect(reply.status).toBe(200)
    expect(reply.text).toContain('stock')
    if (!stream) expect(costOf(reply)).toBe(cent.toString())
    expect(before - (await left())).toBe(cent)
    expect((await chain.escrow.tokenBalance(accounts.receiver.address)) - earned).toBe(cent)
  })

  test('requests side by side are paid one by one', async () => {
    const before = await left()
    const replies = await Promise.all([1, 2, 3].map(() => buyer.chat(request)))
    expect(replies.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(before - (await left())).toBe(3n * cent)
  })

  test('a seller that fails after it was paid is not paid twice for it, and what was signed counts until it expired', async () => {
    const before = await left()
    const served = server.served
    server.failing = 1
    const reply = await buyer.chat(request)
    expect(reply.status).toBeGreaterThanOrEqual(400)
    expect(server.served - served).toBe(1)
    expect(await left()).toBe(before)
    expect(await buyer.store.read('exactUnresolved')).toMatchObject([{ amount: cent, state: 'open' }])
  })
})

describe('by batch-settlement', () => {
  test('requests are paid by vouchers on one lane, charged what the server says', async () => {
    await using cleanup = new AsyncDisposableStack()
    const { server, buyer, left } = await open(['exact', 'batch-settlement'], cleanup)
    for (const [charge, stream] of [
      [undefined, false],
      ['137', true],
      ['250', false],
    ] as const) {
      server.charge = charge
      const reply = await buyer.chat({ ...request, stream })
      expect([reply.status, reply.text]).toEqual([200, expect.stringContaining('stock')])
      if (!stream) expect(costOf(reply)).toBe(charge ?? cent.toString())
    }
    const [lane, ...others] = buyer.book.all()
    expect(others).toEqual([])
    const charged = cent + 137n + 250n
    expect(lane?.ledger).toMatchObject({ charged, open: new Map() })
    const onChain = await chain.escrow.channel(lane!.id)
    expect(await left()).toBe(10_000_000n - onChain.balance)
    expect(server.served).toBe(3)

    const { amount } = await buyer.refund(lane!.id)
    expect(amount).toBe(onChain.balance - charged)
    expect(await left()).toBe(10_000_000n - charged)
  })

  test('a buyer that lost its store recovers the lane from the chain and the server, and pays nothing twice', async () => {
    await using cleanup = new AsyncDisposableStack()
    const { server, buyer, keys } = await open(['batch-settlement'], cleanup)
    server.charge = '300'
    for (let n = 0; n < 2; n++) expect((await buyer.chat(request)).status).toBe(200)
    await buyer.close(0)
    const reborn = cleanup.use(await openTestBuyer(chain, [server.url], { keys }))
    const reply = await reborn.chat(request)
    expect([reply.status, costOf(reply)]).toEqual([200, '300'])
    expect(reborn.book.all().map(({ ledger }) => ledger.charged)).toEqual([900n])
    expect(await reborn.store.read('listDeposits', { limit: 9 })).toEqual([])
  })

  test('the outcome of a failed request is learned from the next one, before anything more is signed', async () => {
    await using cleanup = new AsyncDisposableStack()
    const { server, buyer } = await open(['batch-settlement'], cleanup)
    server.charge = '300'
    expect((await buyer.chat(request)).status).toBe(200)
    server.failing = 1
    expect((await buyer.chat(request)).status).toBeGreaterThanOrEqual(400)
    const [lane] = buyer.book.all()
    const { signed } = lane!.ledger
    expect(lane?.ledger.open.size).toBe(1)
    expect((await buyer.chat(request)).status).toBe(200)
    expect(lane?.ledger).toMatchObject({ charged: 600n, signed, open: new Map() })
  })

  test('requests side by side take a lane each', async () => {
    await using cleanup = new AsyncDisposableStack()
    const { buyer } = await open(['batch-settlement'], cleanup)
    const replies = await Promise.all([1, 2, 3].map(() => buyer.chat(request)))
    expect(replies.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(buyer.book.all().length).toBeGreaterThan(1)
    await vi.waitUntil(() => buyer.book.all().every(({ requests }) => requests.size === 0), patient)
    expect(buyer.book.all().reduce((sum, { ledger }) => sum + ledger.charged, 0n)).toBe(3n * cent)
  })
})
