/** kill -9 of a seller at every step of its money paths, and what its next run makes of it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { curve } from '../../src/wire/curve.ts'
import type { Hex } from '../../src/wire/hex.ts'
import { chargeFor } from '../../src/wire/price.ts'
import { verifyReceipt, type SignedReceipt } from '../../src/wire/receipt.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { depositDirectly, openRawBuyer, randomWord, type RawBuyer } from '../fixtures/raw-buyer.ts'
import type { RawReply } from '../fixtures/raw-http.ts'
import { gate, startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey, startSellerProcess, type SellerProcess } from '../fixtures/seller-process.ts'
import { until } from '../fixtures/seller-rows.ts'
import { openTestSeller } from '../fixtures/seller.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine
let nextIndex = 1

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
})
afterAll(() => parts.disposeAsync())

interface Home extends AsyncDisposable {
  folder: string
  key: Hex
}

async function openHome(): Promise<Home> {
  const folder = await mkdtemp(join(tmpdir(), 'openseed-seller-'))
  const key = await freshSellerKey(chain)
  return { folder, key, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) }
}

const startDoomed = (home: Home, crashAt: string): Promise<SellerProcess> =>
  startSellerProcess(chain, engine.url, { ...home, crashAt })

const restart = (home: Home) => openTestSeller(chain, engine.url, { folder: home.folder, key: home.key })

/** The reply, if the seller lived long enough to give one. */
const ifAny = (reply: Promise<RawReply>): Promise<RawReply | null> => reply.catch(() => null)

async function expectKilled({ ended }: SellerProcess): Promise<void> {
  expect(await ended).toEqual([null, 'SIGKILL'])
}

async function finalOf(buyer: RawBuyer, id: Hex): Promise<SignedReceipt> {
  const [final] = (await buyer.status([id])).finals
  if (final?.state !== 'final') throw new Error('the request is still open after the restart')
  expect(verifyReceipt(chain.digests, curve, final.receipt, buyer.config.receiverAuthorizer)).toBe(true)
  return final.receipt
}

const price = 10n * 6n + 7n * 2n

describe('during a paid request', () => {
  const steps = [
    { crashAt: 'seller.verified', stream: false, charged: 0n, signed: false, engineCalls: 0 },
    { crashAt: 'seller.admitted', stream: false, charged: 0n, signed: true, engineCalls: 0 },
    { crashAt: 'seller.engine-called', stream: false, charged: 0n, signed: true, engineCalls: 1 },
    { crashAt: 'seller.finished', stream: false, charged: price, signed: true, engineCalls: 1 },
    { crashAt: 'seller.answered', stream: false, charged: price, signed: true, engineCalls: 1 },
    { crashAt: 'seller.engine-called', stream: true, charged: 0n, signed: true, engineCalls: 1 },
    { crashAt: 'seller.first-byte', stream: true, charged: 0n, signed: true, engineCalls: 1 },
    { crashAt: 'seller.metered', stream: true, charged: 0n, signed: true, engineCalls: 1 },
    { crashAt: 'seller.finished', stream: true, charged: price, signed: true, engineCalls: 1 },
    { crashAt: 'seller.answered', stream: true, charged: price, signed: true, engineCalls: 1 },
  ]
  test.concurrent.for(steps)(
    'killed at $crashAt, stream: $stream',
    async ({ crashAt, stream, charged, signed, engineCalls }) => {
      await using home = await openHome()
      await using doomed = await startDoomed(home, crashAt)
      const buyer = await openRawBuyer(chain, doomed.url, nextIndex++)
      await depositDirectly(buyer, 100_000n)
      const mark = randomWord()
      const say = `tokens=10 prompt=7 ${mark}`
      const callsOfMark = () => engine.calls.filter(({ body }) => JSON.stringify(body).includes(mark)).length
      const request = await buyer.make({ say, stream })
      const reply = await ifAny(buyer.send(request))
      expect(reply?.status ?? 200).toBe(200)
      await expectKilled(doomed)
      expect(callsOfMark()).toBe(engineCalls)

      await using seller = await restart(home)
      const again = buyer.with({ url: seller.url })
      const receipt = await finalOf(again, request.id)
      expect(receipt.receipt).toMatchObject({ charged, cumulative: charged, requestId: request.id })
      if (reply?.receipt) expect(receipt).toEqual(reply.receipt)
      const entry = seller.book.find(buyer.channelId)
      // Before the first commit even the channel is unknown; asking has made it known.
      expect(entry?.ledger).toMatchObject({ charged, signed: signed ? request.voucher : 0n })
      expect(entry?.ledger.open.size).toBe(0)

      const copy = await again.send(request)
      expect([402, 409]).toContain(copy.status)
      expect(callsOfMark()).toBe(engineCalls)
      again.charged = charged
      const next = await again.chat({ say: 'tokens=1 prompt=1' })
      expect(next.status).toBe(200)
      expect(next.receipt?.receipt.cumulative).toBe(charged + 8n)
      const highest =
        signed && request.voucher > next.request.voucher ? request.voucher : next.request.voucher
      expect(entry!.ledger.signed).toBe(highest)
      await seller.settle()
      expect((await chain.escrow.channel(buyer.channelId)).totalClaimed).toBe(charged + 8n)
    },
  )

  test.concurrent('killed in the middle of a stream: what the journal proves is charged, and the receipt explains it', async () => {
    await using home = await openHome()
    await using slow = await startScriptedEngine()
    await using doomed = await startSellerProcess(chain, slow.url, home)
    const buyer = await openRawBuyer(chain, doomed.url, nextIndex++)
    await depositDirectly(buyer, 100_000n)
    const door = gate()
    slow.next({
      tokens: 60,
      promptTokens: 300,
      usage: 'continuous',
      pause: { after: 10, gate: door },
      hang: 20,
    })
    const stream = await buyer.stream({ say: 'a prompt' })
    expect(await stream.words(10)).toBe(true)
    await doomed.advance(2000)
    door.open()
    expect(await stream.words(20)).toBe(true)
    // The journal is not waited for by the stream, but it is committed before what comes after it.
    await buyer.status([randomWord()])
    await doomed.kill()

    await using seller = await openTestSeller(chain, slow.url, { folder: home.folder, key: home.key })
    const again = buyer.with({ url: seller.url })
    const { receipt } = await finalOf(again, stream.request.id)
    expect(receipt.outputTokens).toBeGreaterThan(10)
    expect(receipt.outputTokens).toBeLessThanOrEqual(20)
    const { offer, details } = buyer.offer
    expect(receipt.charged).toBe(chargeFor(receipt, offer, details.min, stream.request.ceiling))
    again.charged = receipt.charged
    expect((await again.chat()).status).toBe(200)
  })

  test.concurrent('killed three times over: nothing is charged twice', async () => {
    await using home = await openHome()
    let charged = 0n
    const index = nextIndex++
    for (const crashAt of ['seller.finished', 'seller.admitted', 'seller.answered']) {
      await using doomed = await startDoomed(home, crashAt)
      const buyer = await openRawBuyer(chain, doomed.url, index)
      if (charged === 0n) await depositDirectly(buyer, 100_000n)
      buyer.charged = charged
      await ifAny(buyer.send(await buyer.make({ say: 'tokens=10 prompt=7' })))
      await expectKilled(doomed)
      if (crashAt !== 'seller.admitted') charged += price
    }
    await using seller = await restart(home)
    const [entry] = [...seller.book.entries()]
    expect(entry?.ledger.charged).toBe(charged)
    await seller.settle()
    expect((await chain.escrow.channel(entry!.id)).totalClaimed).toBe(charged)
  })
})

describe('while a deposit is put on chain', () => {
  const steps = ['outbox.intended', 'outbox.signed', 'outbox.sent', 'outbox.confirmed']
  test.concurrent.for(steps)('killed at %s: the same bytes again make one deposit', async (crashAt) => {
    await using home = await openHome()
    await using doomed = await startDoomed(home, crashAt)
    const buyer = await openRawBuyer(chain, doomed.url, nextIndex++)
    const depositOrder = await buyer.deposit(100_000n)
    await ifAny(buyer.send(await buyer.make({ depositOrder })))
    await expectKilled(doomed)
    await using seller = await restart(home)
    const again = buyer.with({ url: seller.url })
    expect(await again.chat({ depositOrder })).toMatchObject({ reason: null, status: 200 })
    expect((await chain.escrow.channel(buyer.channelId)).balance).toBe(100_000n)
    expect(seller.book.find(buyer.channelId)?.ledger.balance).toBe(100_000n)
  })
})

describe('while a refund is made', () => {
  const steps = ['seller.refund-reserved', 'seller.refund-sent']
  test.concurrent.for(steps)('killed at %s: it is finished by the restart, once', async (crashAt) => {
    await using home = await openHome()
    await using doomed = await startDoomed(home, crashAt)
    const buyer = await openRawBuyer(chain, doomed.url, nextIndex++)
    await buyer.chat({ deposit: 100_000n })
    await ifAny(buyer.refund({ amount: 30_000n }))
    await expectKilled(doomed)
    await using seller = await restart(home)
    const { ledger } = seller.book.find(buyer.channelId)!
    await until(seller, buyer.channelId, () => ledger.refunding === 0n)
    expect(await chain.escrow.channel(buyer.channelId)).toMatchObject({ balance: 70_000n, refundNonce: 1n })
    expect(ledger).toMatchObject({ balance: 70_000n, charged: buyer.charged })
    const again = buyer.with({ url: seller.url })
    expect((await again.chat()).status).toBe(200)
    expect((await again.refund()).status).toBe(200)
    expect((await chain.escrow.channel(buyer.channelId)).balance).toBe(again.charged)
  })
})

describe('while claims are sent', () => {
  const steps = [
    'seller.claim-chosen',
    'outbox.intended',
    'outbox.signed',
    'outbox.sent',
    'outbox.confirmed',
    'seller.claim-sent',
  ]
  test.concurrent.for(steps)(
    'killed at %s: the next settlement claims what is left, to the unit, in one transaction',
    async (crashAt) => {
      await using home = await openHome()
      await using doomed = await startDoomed(home, crashAt)
      const buyer = await openRawBuyer(chain, doomed.url, nextIndex++)
      await depositDirectly(buyer, 100_000n)
      await buyer.chat()
      expect(await doomed.settle()).toBe(false)
      await expectKilled(doomed)
      await using seller = await restart(home)
      await seller.settle()
      expect((await chain.escrow.channel(buyer.channelId)).totalClaimed).toBe(buyer.charged)
      const { receiverAuthorizer } = buyer.config
      const sent = await chain.rpc.send('eth_getTransactionCount', [receiverAuthorizer, 'latest'])
      expect(Number(sent)).toBe(1)
      expect(seller.book.find(buyer.channelId)?.ledger).toMatchObject({
        totalClaimed: buyer.charged,
        charged: buyer.charged,
      })
    },
  )
})
