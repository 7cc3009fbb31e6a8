/** What strangers, faults and races may try on a seller's money, each of them once successful. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { OpenSeedError } from '../../src/base/errors.ts'
import { silentLog } from '../../src/base/log.ts'
import type { SellerNodeOptions } from '../../src/node/seller-node.ts'
import { Allowance } from '../../src/seller/allowance.ts'
import { refund, refundPace, type RefundParts } from '../../src/seller/refund.ts'
import { openFile, type Db } from '../../src/store/open.ts'
import { batchErrors, type BatchPayload } from '../../src/wire/batch-settlement.ts'
import { curve } from '../../src/wire/curve.ts'
import { keccak256 } from '../../src/wire/keccak.ts'
import { signOffer } from '../../src/wire/offer.ts'
import { chargeFor } from '../../src/wire/price.ts'
import { parseStatusReply } from '../../src/wire/status.ts'
import { encodeHeader, parsePaymentPayload, paymentSignatureHeader } from '../../src/wire/x402.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, word, type TestChain } from '../fixtures/chain.ts'
import { startPaddedEngine } from '../fixtures/odd-engine.ts'
import { depositDirectly, openRawBuyer, randomWord, type RawBuyer } from '../fixtures/raw-buyer.ts'
import { call, type RawReply } from '../fixtures/raw-http.ts'
import { openRpcProxy, type ProxyMode } from '../fixtures/rpc-proxy.ts'
import { gate, startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { openSellerDesk, type SellerDesk } from '../fixtures/seller-desk.ts'
import { freshSellerKey } from '../fixtures/seller-process.ts'
import { closedRow, until } from '../fixtures/seller-rows.ts'
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
const entryOf = ({ channelId }: RawBuyer, { book }: Seller = seller) => book.find(channelId)!

/** A buyer whose channel holds money and was charged once. */
async function openPaying(where: { url: string } = seller): Promise<RawBuyer> {
  const buyer = await openBuyer(where)
  expect((await buyer.chat({ deposit: 100_000n })).status).toBe(200)
  return buyer
}

async function openOther(options: Partial<SellerNodeOptions> = {}, engineUrl = engine.url): Promise<Seller> {
  return openTestSeller(chain, engineUrl, { key: await freshSellerKey(chain), ...options })
}

async function openFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'openseed-seller-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

test('a client that stops reading its stream loses its slot and pays what was produced', async () => {
  await using padded = await startPaddedEngine(500)
  await using other = await openOther({ maxConcurrency: 1, idleTimeoutMs: 300 }, padded.url)
  const [stalled, next] = [await openBuyer(other), await openBuyer(other)]
  await depositDirectly([stalled, next], 100_000n)
  const stream = await stalled.stream({ maxTokens: 1000 })
  expect(stream.status).toBe(200)
  const row = await closedRow(other, stalled.channelId, stream.request.id)
  stream.leave()
  const [final] = (await stalled.status([stream.request.id])).finals
  if (final?.state !== 'final') throw new Error('still open')
  const { receipt } = final.receipt
  expect(receipt.outputTokens).toBeGreaterThan(0)
  expect(receipt.outputTokens).toBeLessThanOrEqual(padded.sent)
  const { offer, details } = stalled.offer
  expect(row.charged).toBe(chargeFor(receipt, offer, details.min, stream.request.ceiling))
  expect((await next.chat({ stream: true, maxTokens: 5 })).status).toBe(200)
})

/** A buyer with a channel to a desk that holds money. */
async function openBuyerOf(desk: SellerDesk): Promise<RawBuyer> {
  const buyer = (await openBuyer()).with({ config: { receiverAuthorizer: desk.address } })
  await depositDirectly(buyer, 100_000n)
  return buyer
}

describe('a refund whose outcome is not known', () => {
  test('and that the watch has seen mined is over, and not sent again by the next run', async () => {
    await using folder = await openFolder()
    await using proxy = await openRpcProxy(chain.url)
    const key = await freshSellerKey(chain)
    await using first = await openOther({ folder: folder.path, key, rpcUrls: [proxy.url], pollMs: 20 })
    const buyer = await openPaying(first)
    let isSent = false
    proxy.onMethod = (method) => {
      isSent ||= method === 'eth_sendRawTransaction'
      // The last call of the batch that asks for the outcome; the watch goes on.
      proxy.mode = isSent && method === 'eth_getTransactionCount' ? 'drop' : 'forward'
    }
    const refunding = buyer.refund({ amount: 10_000n }).then(
      () => 'answered',
      () => 'cut',
    )
    await until(first, buyer.channelId, () => entryOf(buyer, first).ledger.balance === 90_000n)
    await first.close(0)
    expect(await refunding).toBe('cut')

    await using second = await openOther({ folder: folder.path, key })
    expect(entryOf(buyer, second).ledger.refunding).toBe(0n)
    const rest = await buyer.with({ url: second.url }).refund()
    expect(rest.settlement?.amount).toBe((90_000n - buyer.charged).toString())
    expect(await chain.escrow.channel(buyer.channelId)).toMatchObject({
      balance: buyer.charged,
      refundNonce: 2n,
    })
  })

  test('is not sent under the next nonce when it is asked for again, and later ones are', async () => {
    await using desk = await openSellerDesk(chain)
    const buyer = await openBuyerOf(desk)
    const { channelId, config } = buyer
    let sent = 0
    const refundParts: RefundParts = {
      book: desk.book,
      async sendRefund(entry, amount, nonce) {
        sent += 1
        const outcome = await desk.onChain.sendRefund(entry, amount, nonce)
        if (sent > 1) return outcome
        // The watch is faster than the answer that never comes.
        await desk.book.adoptChain(entry, await desk.onChain.readChannel(channelId))
        throw new OpenSeedError('chain_unavailable', { message: 'The outcome is not known in time.' })
      },
      readChain: desk.onChain.readChannel,
      leastRefund: 1000n,
      refundAllowance: new Allowance(refundPace, systemClock),
      log: silentLog,
    }
    const voucher = { channelId, maxClaimable: 0n, signature: buyer.voucherSignature(0n) }
    const payload: Extract<BatchPayload, { type: 'refund' }> = {
      type: 'refund',
      config,
      voucher,
      amount: 10_000n,
    }
    await expect(refund(payload, refundParts)).rejects.toThrow('not known in time')
    expect(await refund(payload, refundParts)).toMatchObject({ reason: batchErrors.refundNoBalance })
    expect(sent).toBe(1)
    for (const count of [2, 3]) {
      expect(await refund(payload, refundParts)).toMatchObject({ kind: 'refunded', amount: 10_000n })
      expect(sent).toBe(count)
    }
    expect(await chain.escrow.channel(channelId)).toMatchObject({ balance: 70_000n, refundNonce: 3n })
  })
})

describe('a transaction that was undone for good is sent again under a new key', () => {
  /** Two attempts of an earlier run: one was mined and reverted, the other lost its nonce to another transaction. */
  async function undoTwice({ outboxStore, address }: SellerDesk, base: string): Promise<void> {
    await chain.rpc.send('anvil_setNonce', [address, '0x2'])
    for (const [nonce, status] of (['reverted', 'dropped'] as const).entries()) {
      const attempt = nonce === 0 ? base : `${base}:${nonce}`
      await outboxStore.intend({
        key: attempt,
        kind: 'test',
        to: chain.network.escrow,
        data: '0x',
        createdAtMs: 0,
      })
      await outboxStore.outboxSigned({ key: attempt, nonce, raw: '0x02', hash: word(nonce) })
      await outboxStore.outboxDone({ key: attempt, status, block: null, result: '{"reason":"undone"}' })
    }
  }

  /** The third attempt is the one that counts, and there is no fourth. */
  async function expectThird({ outboxStore }: SellerDesk, base: string): Promise<void> {
    expect(await outboxStore.outboxFind({ key: `${base}:2` })).toMatchObject({ status: 'confirmed' })
    expect(await outboxStore.outboxFind({ key: `${base}:3` })).toBeNull()
  }

  test('a claim', async () => {
    await using desk = await openSellerDesk(chain)
    const buyer = await openBuyerOf(desk)
    const { channelId, config } = buyer
    const base = `claim:${keccak256(`${channelId}:5000`)}`
    await undoTwice(desk, base)
    const amounts = { maxClaimable: 7000n, totalClaimed: 5000n, unclaimed: 5000n }
    const order = { channelId, config, ...amounts, signature: buyer.voucherSignature(7000n) }
    expect(await desk.onChain.sendClaims([order])).toEqual({ kind: 'settled' })
    expect((await chain.escrow.channel(channelId)).totalClaimed).toBe(5000n)
    expect(await desk.onChain.sendClaims([order])).toEqual({ kind: 'settled' })
    await expectThird(desk, base)
  })

  test('a refund', async () => {
    await using desk = await openSellerDesk(chain)
    const { channelId, config } = await openBuyerOf(desk)
    const base = `refund:${channelId}:0`
    await undoTwice(desk, base)
    const entry = await desk.book.learn(channelId, config, await desk.onChain.readChannel(channelId))
    const outcome = await desk.onChain.sendRefund(entry, 5000n, 0n)
    expect(outcome).toMatchObject({ status: 'confirmed' })
    expect(await chain.escrow.channel(channelId)).toMatchObject({ balance: 95_000n, refundNonce: 1n })
    expect(await desk.onChain.sendRefund(entry, 5000n, 0n)).toEqual(outcome)
    await expectThird(desk, base)
  })
})

test('what the chain said earlier never replaces what it said later', async () => {
  await using desk = await openSellerDesk(chain)
  const buyer = await openBuyerOf(desk)
  const { channelId, config } = buyer
  const older = await desk.onChain.readChannel(channelId)
  await depositDirectly(buyer, 50_000n)
  const newer = await desk.onChain.readChannel(channelId)
  const entry = await desk.book.learn(channelId, config, older)
  await desk.book.adoptChain(entry, newer)
  await desk.book.adoptChain(entry, older)
  expect(entry.ledger.balance).toBe(150_000n)
  await desk.book.adoptChain(entry, await desk.onChain.readChannel(channelId))
  expect(entry.ledger.balance).toBe(150_000n)
})

/** Another connection to the seller's database: it can keep the seller from committing, and change the rules. */
function openDisk({ folder }: Seller): Db & Disposable {
  const db = openFile(join(folder, 'seller.db'), { readonly: false, timeoutMs: 5000 })
  const close = () => {
    if (db.inTransaction) db.exec('ROLLBACK')
    db.exec('DROP TRIGGER IF EXISTS refuse').close()
  }
  return Object.assign(db, { [Symbol.dispose]: close })
}

const diskSays = 'this disk is called sda1'
const refuseFinishing = `CREATE TRIGGER refuse BEFORE UPDATE OF state ON requests
  BEGIN SELECT RAISE(ABORT, '${diskSays}'); END`
const refuseUnknown = `CREATE TRIGGER refuse BEFORE INSERT ON requests WHEN NEW.state = 'closed'
  BEGIN SELECT RAISE(ABORT, '${diskSays}'); END`

describe('while the finish of a request is being committed', () => {
  /** Asks for the final, and repeats the request, between the charge and its commit; `change` may spoil that. */
  async function askDuringCommit(buyer: RawBuyer, disk: Db, change = '') {
    const door = gate()
    engine.next({ pause: { after: 'headers', gate: door } })
    const started = engine.nextCall()
    const request = await buyer.make()
    const first = buyer.send(request)
    await started
    disk.exec('BEGIN IMMEDIATE')
    door.open()
    const { running } = entryOf(buyer)
    while (running.has(request.id)) await call(`${seller.url}/v1/models`, { method: 'GET' })
    let isCommitting = true
    const early: RawReply[] = []
    const noteEarly = (reply: RawReply): RawReply => {
      if (isCommitting) early.push(reply)
      return reply
    }
    const questions = [buyer.askStatus([request.id]), buyer.send(request)] as const
    const answers = Promise.all(questions.map((question) => question.then(noteEarly)))
    // It came after them and asks for nothing that is stored: when it is answered, they were looked at.
    await buyer.status([])
    isCommitting = false
    disk.exec(`${change}; COMMIT`)
    const [status, repeated] = await answers
    return { request, first: await first, status: status!, repeated: repeated!, early }
  }

  test('nobody is told its final before it is on disk', async () => {
    const buyer = await openPaying()
    using disk = openDisk(seller)
    const { request, first, status, repeated, early } = await askDuringCommit(buyer, disk)
    expect(early).toEqual([])
    expect(first.status).toBe(200)
    expect(repeated.receipt).toEqual(first.receipt)
    expect(repeated.text).toBe(first.text)
    const finals = [{ id: request.id, state: 'final', receipt: first.receipt }]
    expect(parseStatusReply(status.json()).finals).toEqual(finals)
  })

  test('and that fails, nobody is told a final that does not count, nor why it failed', async () => {
    const buyer = await openPaying()
    const { charged } = buyer
    using disk = openDisk(seller)
    const { request, early, ...replies } = await askDuringCommit(buyer, disk, refuseFinishing)
    expect(early).toEqual([])
    for (const reply of Object.values(replies)) {
      expect(reply).toMatchObject({ status: 409, code: 'store_conflict', receipt: null })
      expect(reply.json()['receipt']).toBeUndefined()
      expect(reply.text).not.toContain(diskSays)
    }
    disk.exec('DROP TRIGGER refuse')
    // Nothing was delivered: it closes at nothing as soon as it can.
    const row = await closedRow(seller, buyer.channelId, request.id)
    expect(row).toMatchObject({ charged: 0n, cumulative: charged })
    expect((await buyer.chat()).status).toBe(200)
  })
})

test.for([true, false])(
  'finals of other requests that cannot be stored never cost a paid answer, stream: %s',
  async (stream) => {
    const buyer = await openPaying()
    const { charged } = buyer
    const lost = randomWord()
    using disk = openDisk(seller)
    disk.exec(refuseUnknown)
    const reply = await buyer.chat({ stream, signed: { unresolved: [lost] } })
    disk.exec('DROP TRIGGER refuse')
    expect(reply).toMatchObject({ status: 200, finals: [] })
    expect(reply.text).toContain('word4')
    expect(reply.receipt?.receipt.cumulative).toBe(charged + reply.receipt!.receipt.charged)
    expect(entryOf(buyer).ledger).toMatchObject({ charged: buyer.charged })
    expect((await buyer.status([lost])).finals).toMatchObject([{ receipt: { receipt: { charged: 0n } } }])
    expect((await buyer.chat()).status).toBe(200)
  },
)

test('a stock client pays by the terms it was given, though the offer was replaced since', async () => {
  const buyer = await openBuyer()
  const wish = { request: null, deposit: 100_000n }
  const asked = await buyer.send(await buyer.make({ headers: { [paymentSignatureHeader]: '' } }))
  const [listing] = seller.offers.all()
  const { offer, details } = buyer.offer
  const { key } = accounts.receiverAuthorizer
  const dearer = signOffer(chain.digests, curve, key, { ...offer, priceOut: offer.priceOut * 2n }, details)
  const request = await buyer.make(wish)
  const payment = parsePaymentPayload(request.headers[paymentSignatureHeader]!)
  const extensions = asked.required!.extensions!
  const headers = { [paymentSignatureHeader]: encodeHeader({ ...payment, extensions }) }
  seller.offers.list(dearer, listing!.engineModel, listing!.engineIndex)
  const reply = await buyer.send({ ...request, headers })
  const offerHash = await seller.store
    .read('listRequests', { channelId: buyer.channelId, limit: 1 })
    .then(([row]) => row?.offerHash)
  seller.offers.list(buyer.offer, listing!.engineModel, listing!.engineIndex)
  expect(reply.status).toBe(200)
  expect(offerHash).toBe(buyer.offer.hash)
})

test('a refund of a part that is not worth its gas is refused; all that is left is not', async () => {
  const buyer = await openPaying()
  const invalid = { status: 402, reason: batchErrors.refundAmountInvalid }
  expect(await buyer.refund({ amount: 999n })).toMatchObject(invalid)
  expect(entryOf(buyer).ledger.balance).toBe(100_000n)
  expect((await buyer.refund({ amount: 1000n })).settlement?.amount).toBe('1000')
  expect((await buyer.refund({ amount: 98_500n - buyer.charged })).status).toBe(200)
  expect(await buyer.refund({ amount: 499n })).toMatchObject(invalid)
  expect((await buyer.refund({ amount: 600n })).settlement?.amount).toBe('500')
  expect(await chain.escrow.channel(buyer.channelId)).toMatchObject({
    balance: buyer.charged,
    refundNonce: 3n,
  })
})

test('a payer that asks for money back again and again costs so many transactions, and then has to withdraw', async () => {
  let aheadMs = 0
  await using other = await openOther({ now: () => Date.now() + aheadMs })
  const first = await openPaying(other)
  const second = await openPaying(other)
  const refundsOf = async ({ channelId }: RawBuyer) =>
    Number((await chain.escrow.channel(channelId)).refundNonce)
  for (let count = 0; count < refundPace.most; count += 1)
    expect((await (count % 2 ? first : second).refund({ amount: 1000n })).status).toBe(200)
  // By any of its channels, for all that is left too.
  for (const buyer of [first, second]) {
    const refused = await buyer.refund()
    expect(refused).toMatchObject({ status: 429, code: 'rate_limit_exceeded' })
    expect(refused.text).toContain('withdraw without the seller')
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(3600)
    expect(entryOf(buyer, other).ledger.refunding).toBe(0n)
  }
  expect((await refundsOf(first)) + (await refundsOf(second))).toBe(refundPace.most)
  // It is served on, and gets another one in time.
  expect((await first.chat()).status).toBe(200)
  aheadMs = refundPace.everyMs
  expect((await first.refund()).status).toBe(200)
  expect(await second.refund()).toMatchObject({ status: 429 })
  const call = chain.escrow.calls.initiateWithdraw(second.config, 1n)
  expect((await chain.escrow.simulate(call, accounts.payer.address)).ok).toBe(true)
})

test('strangers are not told which RPC the seller asks', async () => {
  await using proxy = await openRpcProxy(chain.url)
  await using other = await openOther({ rpcUrls: [proxy.url] })
  const stranger = await openBuyer(other)
  const modes: ProxyMode[] = ['drop', 'http500', 'rateLimit']
  for (const mode of modes) {
    proxy.mode = mode
    for (const reply of [await stranger.chat(), await stranger.refund()]) {
      expect(reply).toMatchObject({ status: 503, code: 'chain_unavailable' })
      expect(reply.text).not.toMatch(new RegExp(`${new URL(proxy.url).port}|RPC URLs|HTTP 500|exceeded`))
    }
  }
  proxy.mode = 'forward'
})
