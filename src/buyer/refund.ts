/** Asks a seller for unspent money back. What was asked for is signed for no more, whether or not it has arrived. */
import { setTimeout as sleep } from 'node:timers/promises'
import { asOpenSeedError, OpenSeedError } from '../base/errors.ts'
import { readBody } from '../net/read-body.ts'
import type { SellerClient, SellerReply } from '../net/seller-client.ts'
import { formatUsd, type Usdc } from '../wire/amount.ts'
import { batchSettlement, encodeBatchPayload } from '../wire/batch-settlement.ts'
import { asAddress } from '../wire/hex.ts'
import {
  encodeHeader,
  parsePaymentRequired,
  parseSettlementResponse,
  paymentRequiredHeader,
  paymentResponseHeader,
  paymentSignatureHeader,
  type PaymentRequirements,
} from '../wire/x402.ts'
import { outcomesUnknown } from './caps.ts'
import { isLane, type Channel } from './channel.ts'
import { resolveDeposit, type FundingParts } from './funding.ts'
import { askRefund } from './ledger.ts'
import type { Outcomes } from './outcomes.ts'

export interface RefundParts extends FundingParts {
  outcomes: Outcomes
  clientFor: (sellerUrl: string) => SellerClient
  authorizerKey: `0x${string}`
}

export interface Refunded {
  amount: Usdc
  transaction: string
}

const path = '/v1/chat/completions'
const finishWithinMs = 10_000
const answerWithinMs = 90_000
const seenWithinMs = 30_000
const maxBodyBytes = 256 * 1024

/**
 * Everything unspent, or this much of it. Throws `money_outcome_unknown` while requests are open or the answer is
 * missing, `payment_refused` when the seller refuses, `invalid_request` when there is not as much.
 */
export async function refund(
  channel: Channel,
  amount: Usdc | undefined,
  parts: RefundParts,
  signal: AbortSignal,
): Promise<Refunded> {
  const { book, clientFor } = parts
  await becomeIdle(channel, parts, signal)
  const client = clientFor(channel.sellerUrl)
  const accepted = await probe(client, channel, signal)
  if (channel.refunding === 0n) {
    await book.fresh(channel)
    assertIdle(channel)
    const wanted = wantedOf(channel, amount)
    askRefund(channel.ledger, wanted)
    channel.refunding = wanted
    await book.save(channel)
  }
  const gross = channel.ledger.balance + channel.refunding
  const reply = await send(client, channel, accepted, parts, signal)
  const bytes = await readBody(reply.body, maxBodyBytes, answerWithinMs)
  if (reply.status !== 200) {
    await forgetRefund(channel, parts)
    throw refusedBy(channel, reply, bytes)
  }
  const { transaction } = parseSettlementResponse(reply.headers[paymentResponseHeader])
  await awaitRefund(channel, parts, signal)
  return { amount: gross - channel.ledger.balance, transaction }
}

/** Looks whether a refund that was asked for reached the chain. True when none is outstanding any more. */
export async function resolveRefund(channel: Channel, { book, escrow, log }: FundingParts): Promise<boolean> {
  if (channel.refunding === 0n) return true
  const { balance } = await escrow.channel(channel.id)
  await book.fresh(channel)
  if (channel.refunding === 0n) return true
  const gross = channel.ledger.balance + channel.refunding
  if (balance >= gross) return false
  channel.ledger.balance = balance
  channel.refunding = 0n
  await book.save(channel)
  log.info({ channel: channel.id, amount: (gross - balance).toString() }, 'refund arrived')
  book.wake(channel)
  return true
}

/**
 * Brings a refund to its end whose answer was lost: the chain shows it, or it is asked for again. Throws what
 * `refund` throws while neither is possible; when the seller refuses, the money counts as in the channel again.
 */
export async function finishRefund(channel: Channel, parts: RefundParts, signal: AbortSignal): Promise<void> {
  if (await resolveRefund(channel, parts)) return
  await refund(channel, undefined, parts, signal).catch((thrown: unknown) => {
    if (channel.refunding > 0n) throw thrown
  })
}

async function becomeIdle(channel: Channel, parts: RefundParts, signal: AbortSignal): Promise<void> {
  const { book, outcomes } = parts
  await book.fresh(channel)
  if (!(await resolveDeposit(channel, parts)))
    throw outcomesUnknown(channel.sellerUrl, 30, 'a deposit is on its way')
  await resolveRefund(channel, parts)
  const patience = AbortSignal.any([signal, AbortSignal.timeout(finishWithinMs)])
  outcomes.resolve(channel)
  while (channel.requests.size > 0 && !patience.aborted) await book.changed(channel, patience)
  signal.throwIfAborted()
  await book.fresh(channel)
  assertIdle(channel)
}

function assertIdle({ state, requests, lostAtSec, sellerUrl, id }: Channel): void {
  if (state === 'withdrawing' || state === 'closed') {
    throw new OpenSeedError('invalid_request', {
      message: `The channel is ${state === 'closed' ? 'closed' : 'being withdrawn'}.`,
      hint: `openseed channels show ${id}`,
    })
  }
  if (requests.size > 0) throw outcomesUnknown(sellerUrl, 10, `${requests.size} requests are open there`)
  if (lostAtSec !== null) throw outcomesUnknown(sellerUrl, 120, 'its state is not known again yet')
}

function wantedOf({ ledger }: Channel, amount: Usdc | undefined): Usdc {
  const free = ledger.balance - ledger.charged
  const wanted = amount ?? free
  if (wanted > 0n && wanted <= free) return wanted
  throw new OpenSeedError('invalid_request', {
    message:
      free > 0n
        ? `The channel holds ${formatUsd(free)} unspent; ${formatUsd(wanted)} was asked for.`
        : 'The channel holds nothing unspent.',
    details: { free: free.toString() },
  })
}

/** The seller's terms, as a stock client asks for them, checked against the channel. */
async function probe(
  client: SellerClient,
  channel: Channel,
  signal: AbortSignal,
): Promise<PaymentRequirements> {
  const { config } = channel
  const reply = await client.request({ ...ask(channel, signal), path })
  reply.body.destroy()
  const { accepts } = parsePaymentRequired(reply.headers[paymentRequiredHeader])
  const entry = accepts.find(({ scheme }) => scheme === batchSettlement)
  if (
    entry !== undefined &&
    asAddress(entry.payTo) === config.receiver &&
    asAddress(entry.extra?.['receiverAuthorizer']) === config.receiverAuthorizer
  ) {
    return entry
  }
  throw new OpenSeedError('payment_refused', {
    message: `${client.url} is not the party of this channel any more.`,
    hint: 'Take the money back without it: openseed channels withdraw',
  })
}

async function send(
  client: SellerClient,
  channel: Channel,
  accepted: PaymentRequirements,
  { digests, curve, authorizerKey }: RefundParts,
  signal: AbortSignal,
): Promise<SellerReply> {
  const { id, config, ledger, refunding } = channel
  const maxClaimable = ledger.charged
  const signature = curve.sign(digests.voucher(id, maxClaimable), authorizerKey)
  const voucher = { channelId: id, maxClaimable, signature }
  const payload = encodeBatchPayload({ type: 'refund', config, voucher, amount: refunding })
  const headers = { [paymentSignatureHeader]: encodeHeader({ x402Version: 2, accepted, payload }) }
  return client.request({ ...ask(channel, signal), path, headers })
}

/** Stock servers have their paywall at the route they sell, and no other method of it. */
const ask = (channel: Channel, signal: AbortSignal) =>
  ({
    method: isLane(channel) ? 'POST' : 'GET',
    signal,
    firstByteTimeoutMs: answerWithinMs,
    idleTimeoutMs: answerWithinMs,
  }) as const

/** The seller says that nothing moved. The chain has the last word. */
async function forgetRefund(channel: Channel, parts: RefundParts): Promise<void> {
  if (await resolveRefund(channel, parts)) return
  channel.ledger.balance += channel.refunding
  channel.refunding = 0n
  await parts.book.save(channel)
}

async function awaitRefund(channel: Channel, parts: RefundParts, signal: AbortSignal): Promise<void> {
  const lateAtMs = performance.now() + seenWithinMs
  for (let waitMs = 50; !(await resolveRefund(channel, parts)); waitMs = Math.min(waitMs * 2, 2000)) {
    if (performance.now() > lateAtMs)
      throw outcomesUnknown(
        channel.sellerUrl,
        30,
        'it says that the refund was sent; the chain does not show it yet',
      )
    await sleep(waitMs, undefined, { signal })
  }
}

function refusedBy(
  { sellerUrl, id }: Channel,
  { status, headers }: SellerReply,
  body: Buffer,
): OpenSeedError {
  const reason =
    reasonIn(headers[paymentRequiredHeader]) ?? `it answered ${status} ${body.toString().slice(0, 200)}`
  return new OpenSeedError('payment_refused', {
    message: `${sellerUrl} refused the refund: ${reason}.`,
    hint: `Take the money back without it: openseed channels withdraw ${id}`,
    details: { reason },
  })
}

function reasonIn(header: string | undefined): string | undefined {
  try {
    return header === undefined ? undefined : parsePaymentRequired(header).error
  } catch (thrown) {
    return asOpenSeedError(thrown).message
  }
}
