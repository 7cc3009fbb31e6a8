/** What it costs the seller to admit a paid request: parse, recover twice, check, decide, commit in a group. */
import { join } from 'node:path'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { networks } from '../../src/config/networks.ts'
import { listOffers } from '../../src/node/seller-offers.ts'
import { ChannelBook } from '../../src/seller/channel-book.ts'
import { nothingDelivered, type ChainFacts } from '../../src/seller/channel-entry.ts'
import { ExactDesk } from '../../src/seller/exact-desk.ts'
import { passGate, type GateParts, type PaidCall } from '../../src/seller/gate.ts'
import { OfferBook } from '../../src/seller/offer-book.ts'
import { requirements } from '../../src/seller/payment-terms.ts'
import { decodePayment, verifyPayment } from '../../src/seller/payment.ts'
import { ReplyCache } from '../../src/seller/reply-cache.ts'
import { Slots } from '../../src/seller/slots.ts'
import { openWriter } from '../../src/store/writer.ts'
import { encodeBatchPayload } from '../../src/wire/batch-settlement.ts'
import { requestCeiling } from '../../src/wire/ceiling.ts'
import type { ChannelConfig } from '../../src/wire/channel.ts'
import { parseChatRequest, parseJsonBody } from '../../src/wire/chat.ts'
import { curve } from '../../src/wire/curve.ts'
import { openDigests } from '../../src/wire/digests.ts'
import { encodePaymentIdentifier, encodeRequestExtension } from '../../src/wire/extension.ts'
import type { Hex } from '../../src/wire/hex.ts'
import { keccak256 } from '../../src/wire/keccak.ts'
import { signReceipt } from '../../src/wire/receipt.ts'
import { signRequest } from '../../src/wire/request.ts'
import { encodeHeader } from '../../src/wire/x402.ts'
import { benchModel, plain } from '../requests.ts'
import type { MicroResults } from '../results.ts'
import { timeEach } from './curve.ts'

const sellerKey: Hex = `0x${'51'.repeat(32)}`
const buyerKey: Hex = `0x${'b1'.repeat(32)}`
const concurrency = 64

const { terms: network } = networks.local
const digests = openDigests(network)
const seller = {
  network,
  payTo: curve.addressOf(sellerKey),
  receiverAuthorizer: curve.addressOf(sellerKey),
  withdrawDelay: 900,
  minDeposit: 100_000n,
  leastExact: null,
}
const config: ChannelConfig = {
  payer: curve.addressOf(buyerKey),
  payerAuthorizer: curve.addressOf(buyerKey),
  receiver: seller.payTo,
  receiverAuthorizer: seller.receiverAuthorizer,
  token: network.asset,
  withdrawDelay: seller.withdrawDelay,
  salt: `0x${'00'.repeat(32)}`,
}
const channelId = digests.channelId(config)
const facts: ChainFacts = {
  balance: 10n ** 12n,
  totalClaimed: 0n,
  withdrawing: 0n,
  withdrawInitiatedAtSec: 0,
  refundNonce: 0n,
  reading: 1,
}
const notAsked = () => Promise.reject(new Error('the chain has no part in this'))

export async function measureAdmission(folder: string, batches: number): Promise<MicroResults['admission']> {
  await using store = await openWriter({
    path: join(folder, 'admission.db'),
    schema: 'seller',
    onFatal: (error) => {
      throw error
    },
  })
  const offers = new OfferBook(systemClock)
  const pricesOf = () => ({ priceIn: 100_000n, priceCached: 100_000n, priceOut: 400_000n, fixedPrice: 0n })
  const signer = { digests, key: sellerKey, payTo: seller.payTo, pricesOf, now: systemClock }
  const models = [{ id: benchModel, maxContext: 8192, quantization: null }]
  await listOffers([{ kind: 'openai', baseUrl: '', models }], signer, offers, store)
  const book = new ChannelBook({
    store,
    signReceipt: (receipt) => signReceipt(digests, curve, sellerKey, receipt),
    now: systemClock,
    log: silentLog,
  })
  const entry = await book.learn(channelId, config, facts)
  const parts: GateParts = {
    refuseWork: () => null,
    seller,
    digests,
    curve,
    book,
    offers,
    slots: new Slots(concurrency),
    settleDeposit: notAsked,
    readChain: notAsked,
    exact: new ExactDesk({
      store,
      chain: { judge: notAsked, submit: notAsked, giveUp: notAsked },
      refuseWork: () => null,
      signReceipt: (receipt) => signReceipt(digests, curve, sellerKey, receipt),
      now: systemClock,
      log: silentLog,
    }),
    replies: new ReplyCache(),
    randomId: () => channelId,
    now: systemClock,
  }
  const calls = openCalls(offers)
  const { verify } = calls
  const verifyCpuUs = timeEach(batches * 10, verify)

  let cpuUs = 0
  let elapsedMs = 0
  for (let batch = 0; batch < batches; batch++) {
    const paid = Array.from({ length: concurrency }, () => calls.next())
    const before = process.cpuUsage()
    const startedAtMs = performance.now()
    const answers = await Promise.all(paid.map((call) => passGate(call, parts, AbortSignal.timeout(10_000))))
    elapsedMs += performance.now() - startedAtMs
    const { user, system } = process.cpuUsage(before)
    cpuUs += user + system
    await Promise.all(
      answers.map(async (answer) => {
        if (answer.kind !== 'admitted') throw new Error(`a payment was not admitted: ${answer.kind}`)
        await book.finish(entry, answer.id, answer.ceiling.amount, nothingDelivered)
        answer.release()
      }),
    )
  }
  const admitted = batches * concurrency
  return { verifyCpuUs, concurrency, cpuUs: cpuUs / admitted, perSec: (admitted / elapsedMs) * 1000 }
}

/** Paid calls as a buyer makes them, each voucher covering all before it. */
function openCalls(offers: OfferBook): { next: () => PaidCall; verify: () => void } {
  const listing = offers.byModel(benchModel)
  if (listing === undefined) throw new Error('the model is not offered')
  const { body } = plain
  const chat = parseChatRequest(parseJsonBody(body))
  const { amount } = requestCeiling(chat.json, body.length, listing.ceiling)
  const offerHash = listing.signed.hash
  const bodyHash = keccak256(body)
  let made = 0n
  const next = (): PaidCall => {
    made += 1n
    const requestId: Hex = `0x${made.toString(16).padStart(64, '0')}`
    const maxClaimable = made * amount
    const admitBySec = Math.floor(Date.now() / 1000) + 60
    const signed = { bodyHash, offerHash, ceiling: amount, admitBySec }
    const signature = signRequest(digests, curve, buyerKey, { channelId, requestId, ...signed })
    const voucher = {
      channelId,
      maxClaimable,
      signature: curve.sign(digests.voucher(channelId, maxClaimable), buyerKey),
    }
    const payment = encodeHeader({
      x402Version: 2,
      accepted: requirements(seller, amount),
      payload: encodeBatchPayload({ type: 'voucher', config, voucher }),
      extensions: {
        openseed: encodeRequestExtension({ id: requestId, ...signed, signature }),
        'payment-identifier': encodePaymentIdentifier(requestId),
      },
    })
    return { chat, body, payment, url: 'http://127.0.0.1/v1/chat/completions', wantsTrailers: false }
  }
  const { payment = '' } = next()
  made = 0n
  const verify = () => {
    const decoded = decodePayment(payment)
    if (decoded.kind !== 'decoded') throw new Error('it is no payment on a channel')
    const asked = { body, amount, offerHash }
    const reading = verifyPayment({ seller, digests, curve }, decoded.outer, decoded.payload, asked)
    if (reading.kind !== 'payment' || reading.payment.request === null) throw new Error('it did not verify')
  }
  return { next, verify }
}
