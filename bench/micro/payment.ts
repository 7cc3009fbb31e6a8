/** What a paid request costs the buyer: decide, sign and commit it; afterwards check its receipt and book it. */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { systemClock } from '../../src/base/clock.ts'
import { silentLog } from '../../src/base/log.ts'
import { ChannelBook, type BuyerStore } from '../../src/buyer/channel-book.ts'
import { ChannelFinder } from '../../src/buyer/channel-finder.ts'
import type { Channel } from '../../src/buyer/channel.ts'
import { hiddenTokens, type ObservedReply } from '../../src/buyer/check.ts'
import { Distrust } from '../../src/buyer/distrust.ts'
import { judgeReceipt } from '../../src/buyer/judge-receipt.ts'
import { nothingObserved } from '../../src/buyer/observed.ts'
import { pay, type Order, type PayParts } from '../../src/buyer/pay.ts'
import type { Route } from '../../src/buyer/route.ts'
import { Spending } from '../../src/buyer/spending.ts'
import { networks } from '../../src/config/networks.ts'
import { openWriter } from '../../src/store/writer.ts'
import { ceilingTerms, requestCeiling } from '../../src/wire/ceiling.ts'
import { channelSalt, type ChannelConfig } from '../../src/wire/channel.ts'
import { parseJsonBody } from '../../src/wire/chat.ts'
import { curve } from '../../src/wire/curve.ts'
import { openDigests } from '../../src/wire/digests.ts'
import type { Hex } from '../../src/wire/hex.ts'
import { keccak256 } from '../../src/wire/keccak.ts'
import { signOffer } from '../../src/wire/offer.ts'
import { chargeFor } from '../../src/wire/price.ts'
import { signReceipt, type SignedReceipt } from '../../src/wire/receipt.ts'
import { benchModel, plain } from '../requests.ts'
import type { MicroResults } from '../results.ts'

const sellerKey: Hex = `0x${'51'.repeat(32)}`
const buyerKey: Hex = `0x${'b1'.repeat(32)}`
const sellerUrl = 'http://127.0.0.1'
const concurrency = 64
const plenty = 10n ** 15n

const { terms: network } = networks.local
const digests = openDigests(network)
const seller = curve.addressOf(sellerKey)
const buyer = curve.addressOf(buyerKey)
const keys = { digests, curve, authorizerKey: buyerKey, payerKey: buyerKey }
const responseHash: Hex = `0x${'ee'.repeat(32)}`
const observed: ObservedReply = {
  ...nothingObserved(),
  outputBytes: 200,
  contentChunks: 1,
  responseHash,
  complete: true,
}
// Nothing here lacks money, is at odds or was lost: whoever helps then has no part in this.
const unused = {} as never

export async function measurePayment(folder: string, batches: number): Promise<MicroResults['payment']> {
  await using store = await openWriter({
    path: join(folder, 'payment.db'),
    schema: 'buyer',
    onFatal: (error) => {
      throw error
    },
  })
  const parts = await openParts(store)
  const route = benchRoute()
  const channel = openChannel(parts.book, route)
  const order = orderOn(route)
  const bill = openBill(route)
  const { signal } = new AbortController()
  const opening = openMeter()
  const booking = openMeter()
  for (let batch = 0; batch < batches; batch++) {
    const payments = await opening.measure(() =>
      Promise.all(Array.from({ length: concurrency }, () => pay(route, order, parts, signal))),
    )
    const receipts = payments.map(({ requestId }) => bill(channel, requestId))
    await booking.measure(() => Promise.all(receipts.map((receipt) => book(channel, receipt, parts))))
  }
  const paid = batches * concurrency
  return {
    concurrency,
    openCpuUs: opening.cpuUs / paid,
    bookCpuUs: booking.cpuUs / paid,
    perSec: (paid / opening.elapsedMs) * 1000,
  }
}

async function openParts(store: BuyerStore): Promise<PayParts> {
  const spending = await Spending.load((since) => store.read('spentSince', since), systemClock())
  const shared = { store, spending, now: systemClock, log: silentLog }
  const channels = await ChannelBook.load(shared)
  const party = { payer: buyer, payerAuthorizer: buyer }
  return {
    ...shared,
    ...keys,
    book: channels,
    finder: new ChannelFinder({ ...shared, ...keys, ...party, book: channels, escrow: unused }),
    distrust: await Distrust.load({ ...shared, book: channels }),
    caps: {
      maxPerRequest: plenty,
      maxDepositPerSeller: plenty,
      maxPerDay: plenty,
      maxExposure: plenty,
      maxUnresolved: plenty,
    },
    randomWord: () => `0x${randomBytes(32).toString('hex')}`,
    requestTtlSec: 60,
    stop: new AbortController().signal,
    track: unused,
    outcomes: unused,
    escrow: unused,
    clientFor: unused,
    guardDeposit: unused,
  }
}

function benchRoute(): Route {
  const details = { model: benchModel, min: 1n, defOut: 256, img: 0, maxN: 1 }
  const prices = { priceIn: 100_000n, priceCached: 100_000n, priceOut: 400_000n, fixedPrice: 0n }
  const limits = { maxContext: 8192, maxOutput: 4096, validUntilSec: 2 ** 31 }
  const signedOffer = signOffer(digests, curve, sellerKey, { payTo: seller, ...prices, ...limits }, details)
  const terms = {
    network: `eip155:${network.chainId}`,
    escrow: network.escrow,
    collector: network.collector,
    asset: network.asset,
    assetName: network.assetName,
    assetVersion: network.assetVersion,
    payTo: seller,
    receiverAuthorizer: seller,
    withdrawDelay: 900,
    minDeposit: 100_000n,
    maxTimeoutSeconds: 600,
    maxBodyBytes: 1_000_000,
    offers: [signedOffer],
  }
  const ceiling = requestCeiling(parseJsonBody(plain.body), plain.body.length, ceilingTerms(signedOffer))
  return { sellerUrl, terms, signedOffer, ceiling }
}

/** A channel as a deposit leaves it. */
function openChannel(channels: ChannelBook, { terms }: Route): Channel {
  const config: ChannelConfig = {
    payer: buyer,
    payerAuthorizer: buyer,
    receiver: seller,
    receiverAuthorizer: seller,
    token: terms.asset,
    withdrawDelay: terms.withdrawDelay,
    salt: channelSalt(buyerKey, 0),
  }
  const channel = channels.add({ id: digests.channelId(config), config, index: 0, sellerUrl })
  channel.ledger.balance = plenty
  return channel
}

function orderOn({ ceiling }: Route): Order {
  const hidden = hiddenTokens(parseJsonBody(plain.body), ceiling.n, ceiling.maxOutput)
  const bounds = { ...ceiling, hiddenTokens: hidden }
  return { model: benchModel, bodyHash: keccak256(plain.body), bounds }
}

/** Signs receipts as the seller does, each with the sum up to it. */
function openBill({ signedOffer, ceiling }: Route): (channel: Channel, requestId: Hex) => SignedReceipt {
  const tokens = { inputTokens: 20, cachedTokens: 0, outputTokens: 40 }
  const charged = chargeFor(tokens, signedOffer.offer, signedOffer.details.min, ceiling.amount)
  let cumulative = 0n
  return ({ id: channelId }, requestId) => {
    cumulative += charged
    const asked = { channelId, requestId, offerHash: signedOffer.hash }
    const completedAtSec = Math.floor(Date.now() / 1000)
    const receipt = { ...asked, responseHash, ...tokens, charged, cumulative, completedAtSec }
    return signReceipt(digests, curve, sellerKey, receipt)
  }
}

async function book(channel: Channel, signed: SignedReceipt, parts: PayParts): Promise<void> {
  const verdict = judgeReceipt(channel, signed.receipt.requestId, signed, observed, keys)
  if (verdict.kind !== 'book') throw new Error(`a receipt was not believed: ${verdict.reason}`)
  await parts.book.settle(channel, signed, 'served')
}

/** Sums up what measured work takes. */
function openMeter() {
  const sums = { cpuUs: 0, elapsedMs: 0 }
  async function measure<T>(work: () => Promise<T>): Promise<T> {
    const before = process.cpuUsage()
    const startedAtMs = performance.now()
    const result = await work()
    sums.elapsedMs += performance.now() - startedAtMs
    const { user, system } = process.cpuUsage(before)
    sums.cpuUs += user + system
    return result
  }
  return Object.assign(sums, { measure })
}
