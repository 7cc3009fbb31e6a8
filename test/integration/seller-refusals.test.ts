/** Everything a payment can have wrong with it: the right refusal, nothing charged, and the engine never called. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { batchErrors } from '../../src/wire/batch-settlement.ts'
import { curve } from '../../src/wire/curve.ts'
import { openDigests } from '../../src/wire/digests.ts'
import { encodeSignedReceipt, verifyReceipt } from '../../src/wire/receipt.ts'
import type { Hex } from '../../src/wire/hex.ts'
import { signOffer } from '../../src/wire/offer.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { nowSec, openRawBuyer, randomWord, type RawBuyer, type Wish } from '../fixtures/raw-buyer.ts'
import type { RawReply } from '../fixtures/raw-http.ts'
import { gate, startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { openTestSeller } from '../fixtures/seller.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine
let seller: Awaited<ReturnType<typeof openTestSeller>>
/** Its channel is open and was charged once. */
let buyer: RawBuyer
let nextIndex = 1

const openBuyer = () => openRawBuyer(chain, seller.url, nextIndex++)
const entryOf = ({ channelId }: RawBuyer) => seller.book.find(channelId)!

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
  seller = parts.use(await openTestSeller(chain, engine.url))
  buyer = await openBuyer()
  expect((await buyer.chat({ deposit: 100_000n })).status).toBe(200)
})
afterAll(() => parts.disposeAsync())

/** Sends it and proves that it moved nothing. */
async function refusedBy(who: RawBuyer, wish: Wish): Promise<RawReply> {
  const calls = engine.calls.length
  const entry = seller.book.find(buyer.channelId)!
  const before = structuredClone({ ...entry.ledger, told: 0n })
  const reply = await who.send(await who.make(wish))
  expect(engine.calls.length).toBe(calls)
  expect(structuredClone({ ...entry.ledger, told: 0n })).toEqual(before)
  expect(reply.headers['payment-response']).toBeUndefined()
  return reply
}

async function expectRefusal(who: RawBuyer, wish: Wish, reason: string): Promise<RawReply> {
  const reply = await refusedBy(who, wish)
  expect({ status: reply.status, reason: reply.reason, code: reply.code }).toEqual({
    status: 402,
    reason,
    code: 'payment_required',
  })
  expect(Buffer.byteLength(String(reply.headers['payment-required']))).toBeLessThanOrEqual(4096)
  return reply
}

describe('the same request again', () => {
  test('five copies at once run the engine once; the others are told that it runs', async () => {
    const door = gate()
    engine.next({ tokens: 3, pause: { after: 'headers', gate: door } })
    const request = await buyer.make()
    const started = engine.nextCall()
    const copies = Array.from({ length: 5 }, () => buyer.send(request))
    await started
    const calls = engine.calls.length
    const others: RawReply[] = []
    const first = new Set(copies)
    while (others.length < 4) {
      const [copy, reply] = await Promise.race([...first].map(async (each) => [each, await each] as const))
      first.delete(copy)
      others.push(reply)
    }
    door.open()
    const [winner] = await Promise.all(first)
    expect(others.map(({ status, code }) => `${status} ${code}`)).toEqual(
      Array(4).fill('409 request_in_progress'),
    )
    expect(winner!.status).toBe(200)
    expect(engine.calls.length).toBe(calls)
    expect(entryOf(buyer).ledger.charged).toBe(winner!.receipt!.receipt.cumulative)
    buyer.book(winner!)
  })

  test('five copies at once of the request that brings the deposit make one deposit and one engine call', async () => {
    const other = await openBuyer()
    const request = await other.make({ deposit: 150_000n })
    const calls = engine.calls.length
    const copies = await Promise.all(Array.from({ length: 5 }, () => other.send(request)))
    expect(copies.filter(({ status }) => status === 200).length).toBeGreaterThanOrEqual(1)
    expect(engine.calls.length).toBe(calls + 1)
    expect((await chain.escrow.channel(other.channelId)).balance).toBe(150_000n)
    const receipts = copies.filter(({ receipt }) => receipt !== null).map(({ receipt }) => receipt)
    expect(new Set(receipts.map((receipt) => JSON.stringify(encodeSignedReceipt(receipt!)))).size).toBe(1)
    expect(entryOf(other).ledger.charged).toBe(receipts[0]!.receipt.charged)
  })

  test('a finished plain one gets its stored reply and receipt, and is not charged again', async () => {
    const { request, ...reply } = await buyer.chat()
    const again = await refusedOrRepeated(request)
    expect(again.status).toBe(200)
    expect(again.text).toBe(reply.text)
    expect(again.receipt).toEqual(reply.receipt)
    expect(again.settlement?.extra).toEqual({ chargedAmount: '0' })
  })

  test('a finished stream is a conflict that carries the receipt', async () => {
    const { request, ...reply } = await buyer.chat({ stream: true })
    const again = await refusedOrRepeated(request)
    expect(again).toMatchObject({ status: 409, code: 'request_conflict' })
    expect(again.json()['receipt']).toEqual(encodeSignedReceipt(reply.receipt!))
  })

  test('with other bytes it is a conflict, while it runs and afterwards', async () => {
    const door = gate()
    engine.next({ pause: { after: 'headers', gate: door } })
    const started = engine.nextCall()
    const request = await buyer.make({ say: 'one thing' })
    const running = buyer.send(request)
    await started
    const other = await buyer.make({ say: 'another thing', id: request.id })
    const calls = engine.calls.length
    expect(await buyer.send(other)).toMatchObject({ status: 409, code: 'request_conflict' })
    door.open()
    buyer.book(await running)
    expect(await buyer.send(other)).toMatchObject({ status: 409, code: 'request_conflict' })
    expect(engine.calls.length).toBe(calls)
  })

  async function refusedOrRepeated(request: Awaited<ReturnType<RawBuyer['make']>>) {
    const calls = engine.calls.length
    const { charged } = entryOf(buyer).ledger
    const again = await buyer.send(request)
    expect(engine.calls.length).toBe(calls)
    expect(entryOf(buyer).ledger.charged).toBe(charged)
    return again
  }
})

describe('vouchers', () => {
  test('signed for another chain', async () => {
    const voucherDigests = openDigests({ chainId: 8453, escrow: chain.network.escrow })
    await expectRefusal(buyer, { voucherDigests }, batchErrors.voucherSignature)
  })

  test('signed for another contract', async () => {
    const voucherDigests = openDigests({ chainId: 31_337, escrow: accounts.stranger.address })
    await expectRefusal(buyer, { voucherDigests }, batchErrors.voucherSignature)
  })

  test('for more than the balance', async () => {
    const reply = await expectRefusal(buyer, { voucher: 100_001n }, batchErrors.cumulativeExceedsBalance)
    expect(reply.terms?.channel?.charged).toBe(buyer.charged)
  })

  test('that does not cover the request', async () => {
    const { signed, charged } = entryOf(buyer).ledger
    const maxTokens = 4000
    const reply = await expectRefusal(
      buyer,
      { voucher: signed, maxTokens },
      batchErrors.cumulativeAmountMismatch,
    )
    expect(reply.terms?.channel).toEqual({ charged, held: 0n, signed, open: [] })
  })

  test('that are old, under a new id and no signed request: corrected, with the proof', async () => {
    const reply = await expectRefusal(
      buyer,
      { voucher: 10n, request: null },
      batchErrors.cumulativeAmountMismatch,
    )
    const { signed, charged } = entryOf(buyer).ledger
    expect(reply.required?.accepts[0]?.extra).toMatchObject({
      channelState: { chargedCumulativeAmount: charged.toString() },
      voucherState: { signedMaxClaimable: signed.toString(), signature: buyer.voucherSignature(signed) },
    })
  })

  test('that are old, under a new id and a request whose signature is not the payer’s', async () => {
    const { signed } = entryOf(buyer).ledger
    const stranger = { signature: curve.sign(randomWord(), accounts.stranger.key) }
    await expectRefusal(
      buyer,
      { voucher: signed - 1n, request: stranger },
      batchErrors.cumulativeAmountMismatch,
    )
  })

  const malformed: [string, (good: Hex) => Hex][] = [
    ['is by another key', () => curve.sign(randomWord(), accounts.stranger.key)],
    ['has a high s', highS],
    ['is all zero', () => `0x${'0'.repeat(130)}`],
    ['is too short', (good) => good.slice(0, -2) as Hex],
    ['is too long', (good) => `${good}00`],
    ['has an impossible v', (good) => `${good.slice(0, -2)}1d` as Hex],
    ['is empty', () => '0x'],
  ]
  test.for(malformed)('whose signature %s', async ([, spoil]) => {
    const voucher = buyer.charged + 5000n
    const voucherSignature = spoil(buyer.voucherSignature(voucher))
    await expectRefusal(buyer, { voucher, voucherSignature }, batchErrors.voucherSignature)
  })

  test('whose signature is no hex', async () => {
    const reply = await refusedBy(buyer, { voucherSignature: '0xnothex' })
    expect(reply).toMatchObject({ status: 402, reason: 'invalid_payload' })
  })

  test('of another channel than the config’s', async () => {
    const other = await openBuyer()
    Object.assign(other, { channelId: buyer.channelId })
    await expectRefusal(other, {}, batchErrors.channelIdMismatch)
  })

  test('of a channel that has no money', async () => {
    await expectRefusal(await openBuyer(), {}, batchErrors.channelNotFound)
  })
})

describe('channels', () => {
  test.for([
    ['receiver', { receiver: accounts.stranger.address }, batchErrors.receiverMismatch],
    [
      'receiver authorizer',
      { receiverAuthorizer: accounts.stranger.address },
      batchErrors.receiverAuthorizerMismatch,
    ],
    ['token', { token: accounts.stranger.address }, batchErrors.tokenMismatch],
    ['withdraw delay', { withdrawDelay: 901 }, batchErrors.withdrawDelayMismatch],
  ] as const)('with another %s', async ([, config, reason]) => {
    await expectRefusal(buyer.with({ config }), {}, reason)
  })

  test('whose vouchers only a contract could check', async () => {
    const zero: Hex = `0x${'0'.repeat(40)}`
    await expectRefusal(buyer.with({ config: { payerAuthorizer: zero } }), {}, batchErrors.voucherSignature)
  })
})

describe('terms', () => {
  test('with an amount that is not the ceiling', async () => {
    for (const amount of ['1', '999999'])
      await expectRefusal(buyer, { accepted: { amount } }, 'invalid_payment_requirements')
  })

  test('of another network, payee or scheme', async () => {
    await expectRefusal(buyer, { accepted: { network: 'eip155:8453' } }, 'invalid_payment_requirements')
    await expectRefusal(
      buyer,
      { accepted: { payTo: accounts.stranger.address } },
      'invalid_payment_requirements',
    )
    await expectRefusal(buyer, { accepted: { scheme: 'upto' } }, 'unsupported_scheme')
  })

  test('that are no payment at all', async () => {
    for (const header of ['!!', 'bm8gSlNPTg==', 'e30=', 'A'.repeat(16 * 1024)]) {
      const reply = await refusedBy(buyer, { headers: { 'payment-signature': header } })
      expect(reply.status).toBe(402)
      expect(['invalid_payload', 'invalid_x402_version']).toContain(reply.reason)
    }
  })

  test('of no payment: the 402 has everything that is needed to pay', async () => {
    const reply = await refusedBy(buyer, { headers: { 'payment-signature': '' } })
    expect(reply.status).toBe(402)
    expect(reply.required?.accepts.map(({ scheme }) => scheme)).toEqual(['batch-settlement', 'exact'])
    expect(reply.terms?.offerHash).toBe(buyer.offer.hash)
  })
})

describe('signed requests', () => {
  test('that expired', async () => {
    await expectRefusal(buyer, { admitBySec: nowSec() - 1 }, 'request_expired')
  })

  test('that may be admitted too late', async () => {
    await expectRefusal(buyer, { admitBySec: nowSec() + 600 }, 'request_admit_by_too_far')
  })

  test('for another ceiling or another body than the one they came with', async () => {
    await expectRefusal(buyer, { signed: { ceiling: 1n } }, 'request_ceiling_mismatch')
    await expectRefusal(buyer, { signed: { bodyHash: randomWord() } }, 'request_body_mismatch')
  })

  test('whose fields were changed afterwards count as no signed request', async () => {
    const { signed } = entryOf(buyer).ledger
    const request = { admitBySec: nowSec() + 100 }
    await expectRefusal(buyer, { voucher: signed - 1n, request }, batchErrors.cumulativeAmountMismatch)
  })

  test('for an offer that this seller never made or does not make any more', async () => {
    const { offer, details } = buyer.offer
    const { key } = accounts.receiverAuthorizer
    const older = signOffer(chain.digests, curve, key, { ...offer, validUntilSec: 1 }, details)
    await expectRefusal(buyer, { signed: { offerHash: older.hash } }, 'request_offer_unknown')
    // Before its first charge a stock client's voucher would be the same: that must not let it through.
    const fresh = await openBuyer()
    const wish = { deposit: 100_000n, signed: { offerHash: older.hash } }
    await expectRefusal(fresh, wish, 'request_offer_unknown')
    expect((await chain.escrow.channel(fresh.channelId)).balance).toBe(0n)
  })

  test('for the offer that was just replaced are served at its price', async () => {
    const [listing] = seller.offers.all()
    const { offer, details } = buyer.offer
    const { key } = accounts.receiverAuthorizer
    const dearer = signOffer(chain.digests, curve, key, { ...offer, priceOut: offer.priceOut * 2n }, details)
    seller.offers.list(dearer, listing!.engineModel, listing!.engineIndex)
    const reply = await buyer.chat()
    expect(reply.status).toBe(200)
    expect(reply.receipt?.receipt.offerHash).toBe(buyer.offer.hash)
    seller.offers.list(buyer.offer, listing!.engineModel, listing!.engineIndex)
  })
})

describe('deposits', () => {
  test('below the least amount', async () => {
    await expectRefusal(await openBuyer(), { deposit: 99_999n }, batchErrors.depositBelowMinDeposit)
  })

  test('whose authorization another key signed', async () => {
    const other = await openBuyer()
    const order = await other.deposit(100_000n)
    const signature = curve.sign(randomWord(), accounts.stranger.key)
    const depositOrder = { ...order, authorization: { ...order.authorization, signature } }
    await expectRefusal(other, { depositOrder }, batchErrors.receiveAuthorizationSignature)
  })

  test('above what the payer has', async () => {
    await expectRefusal(await openBuyer(), { deposit: 10n ** 15n }, batchErrors.insufficientBalance)
  })

  test('that are sent again do not count twice', async () => {
    const other = await openBuyer()
    const depositOrder = await other.deposit(100_000n)
    expect((await other.chat({ depositOrder })).status).toBe(200)
    expect((await other.chat({ depositOrder })).status).toBe(200)
    expect(entryOf(other).ledger.balance).toBe(100_000n)
    expect((await chain.escrow.channel(other.channelId)).balance).toBe(100_000n)
    await expectRefusal(other, { depositOrder, voucher: 100_001n }, batchErrors.cumulativeExceedsBalance)
  })

  test('that come twice with different authorizations add up', async () => {
    const other = await openBuyer()
    expect((await other.chat({ deposit: 100_000n })).status).toBe(200)
    const second = await other.chat({ deposit: 120_000n })
    expect(second.settlement).toMatchObject({ amount: '120000', transaction: expect.stringMatching(/^0x/) })
    expect(entryOf(other).ledger.balance).toBe(220_000n)
  })
})

test('after all that the honest buyer is served, and its receipts prove every charge', async () => {
  const reply = await buyer.chat()
  expect(reply.status).toBe(200)
  const { receiverAuthorizer } = buyer.config
  expect(verifyReceipt(chain.digests, curve, reply.receipt!, receiverAuthorizer)).toBe(true)
  expect(entryOf(buyer).ledger.charged).toBe(buyer.charged)
})

const order = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n

function highS(signature: Hex): Hex {
  const s = (order - BigInt(`0x${signature.slice(66, 130)}`)).toString(16).padStart(64, '0')
  const v = signature.endsWith('1b') ? '1c' : '1b'
  return `${signature.slice(0, 66)}${s}${v}` as Hex
}
