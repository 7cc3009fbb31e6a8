/**
 * The seller's gate: from the bytes of a request to an admitted row on disk, or to the answer that says what is
 * missing. The ledger decides synchronously; nothing reaches the engine before the row is committed.
 */
import type { Clock } from '../base/clock.ts'
import { crashPoint } from '../base/crash.ts'
import { OpenSeedError } from '../base/errors.ts'
import { batchErrors, type BatchPayload } from '../wire/batch-settlement.ts'
import { requestCeiling, type Ceiling } from '../wire/ceiling.ts'
import type { ChatRequest } from '../wire/chat.ts'
import type { Usdc } from '../wire/amount.ts'
import type { RequestExtension } from '../wire/extension.ts'
import type { Hex } from '../wire/hex.ts'
import { keccak256 } from '../wire/keccak.ts'
import type { PaymentRequired } from '../wire/x402.ts'
import type { ChannelBook } from './channel-book.ts'
import type { ChainFacts, ClosedRequest, Entry } from './channel-entry.ts'
import type { SettledDeposit } from './deposit.ts'
import type { ExactDesk } from './exact-desk.ts'
import {
  admitOpenseed,
  admitStock,
  judgeOpenseed,
  judgeStock,
  requestTtlSec,
  tell,
  tellStated,
} from './ledger.ts'
import { isFree, type Listing, type OfferBook } from './offer-book.ts'
import { admitExact, type ExactAdmitted, type ExactRepeated } from './exact-gate.ts'
import { paymentRequired, type Asked } from './payment-terms.ts'
import { decodePayment, namedOffer, verifyPayment, type Payment, type PaymentParts } from './payment.ts'
import type { ReplyCache } from './reply-cache.ts'
import type { Slots } from './slots.ts'

export interface GateParts extends PaymentParts {
  book: ChannelBook
  offers: OfferBook
  slots: Slots
  settleDeposit: (payload: Extract<BatchPayload, { type: 'deposit' }>) => Promise<SettledDeposit>
  readChain: (channelId: Hex) => Promise<ChainFacts>
  /** why no new work may be taken on the channel now, or null */
  refuseWork: (channelId: Hex) => OpenSeedError | null
  exact: ExactDesk
  replies: Pick<ReplyCache, 'find'>
  randomId: () => Hex
  now: Clock
}

/** A request as the HTTP side hands it over. */
export interface PaidCall {
  chat: ChatRequest
  body: Uint8Array
  /** PAYMENT-SIGNATURE, if any */
  payment: string | undefined
  /** absolute, as the client addressed it */
  url: string
  /** the client reads HTTP trailers (`TE: trailers`) */
  wantsTrailers: boolean
}

export interface Admitted {
  kind: 'admitted'
  entry: Entry
  id: Hex
  listing: Listing
  ceiling: Ceiling
  request: RequestExtension | null
  /** what a stock client of a stream is told in its headers */
  told: { chargedAmount: Usdc; cumulative: Usdc } | null
  deposit: SettledDeposit | null
  release: () => void
}

export type GateAnswer =
  | Admitted
  | ExactAdmitted
  | ExactRepeated
  | { kind: 'pay'; required: PaymentRequired; retryAfterSec?: number; hint?: string }
  | { kind: 'repeated'; closed: ClosedRequest }
  | { kind: 'free'; listing: Listing; ceiling: Ceiling; release: () => void }

const busyWaitMs = 10_000
const clockSkewSec = 60

/** Throws `model_not_found`, `invalid_request`, `rate_limit_exceeded`, `request_…`, `store_unavailable`, `chain_…`. */
export async function passGate(call: PaidCall, parts: GateParts, signal: AbortSignal): Promise<GateAnswer> {
  const decoded = call.payment === undefined ? null : decodePayment(call.payment)
  const { model } = call.chat
  const named = decoded === null || decoded.kind === 'refuse' ? null : namedOffer(decoded.outer)
  const listing =
    (named === null ? undefined : parts.offers.byHash(named, model)) ?? parts.offers.byModel(model)
  if (listing === undefined) throw unknownModel(parts.offers, model)
  const ceiling = requestCeiling(call.chat.json, call.body.length, listing.ceiling)
  const asked: Asked = { url: call.url, listing, amount: ceiling.amount }
  const demand: Demand = (error, entry) => ({
    kind: 'pay',
    required: paymentRequired(parts.seller, asked, error, entry),
  })
  parts.slots.check()
  if (isFree(listing)) return { kind: 'free', listing, ceiling, release: parts.slots.take() }
  if (decoded === null) return demand('PAYMENT-SIGNATURE header is required')
  if (decoded.kind === 'refuse') return demand(decoded.reason)
  if (decoded.kind === 'exact') return admitExact(call, decoded, { listing, ceiling }, parts, demand)

  const reading = verifyPayment(parts, decoded.outer, decoded.payload, {
    body: call.body,
    amount: ceiling.amount,
    offerHash: listing.signed.hash,
  })
  if (reading.kind === 'refuse') return demand(reading.reason)
  const { payment } = reading
  if (payment.payload.type === 'refund') return demand(batchErrors.refundPayload)
  const repeated = findRepeated(parts.book.find(payment.channelId), payment, call.body)
  if (repeated !== null) return repeated

  const refusal = parts.refuseWork(payment.channelId)
  if (refusal !== null) throw refusal
  const funded = await fund(payment, parts)
  if (funded.kind === 'refuse') return demand(funded.reason)
  const { entry, deposit } = funded
  if (payment.request === null && payment.id !== null) await parts.book.recall(entry, payment.id)
  await entry.reloading
  const admitted = { entry, listing, ceiling, request: payment.request, deposit }
  return payment.request === null
    ? admitStockCall(call, payment, admitted, parts, signal, demand)
    : admitOpenseedCall(call, payment, payment.request, admitted, parts, demand)
}

type Candidate = Omit<Admitted, 'kind' | 'id' | 'told' | 'release'>
type Demand = (error: string, entry?: Entry) => Extract<GateAnswer, { kind: 'pay' }>

async function admitOpenseedCall(
  call: PaidCall,
  payment: Payment,
  request: RequestExtension,
  candidate: Candidate,
  parts: GateParts,
  demand: Demand,
): Promise<GateAnswer> {
  const { entry, ceiling } = candidate
  // Again, because a deposit may have taken its time: from here to the ledger nothing waits.
  const repeated = findRepeated(entry, payment, call.body)
  if (repeated !== null) return repeated
  const nowSec = Math.floor(parts.now() / 1000)
  if (request.admitBySec > nowSec + requestTtlSec + clockSkewSec)
    return demand('request_admit_by_too_far', entry)
  const ask = {
    isNew: true,
    amount: ceiling.amount,
    voucher: payment.payload.voucher.maxClaimable,
    admitBySec: request.admitBySec,
    ...(request.ack !== undefined && { ack: request.ack }),
  }
  const verdict = judgeOpenseed(entry.ledger, ask, nowSec)
  if (verdict.kind === 'refuse') return refusedBy(verdict.reason, entry, demand)
  const release = parts.slots.take()
  admitOpenseed(entry.ledger, request.id, ask)
  keepSignature(entry, payment)
  return commit(call, request.id, { ...candidate, told: null, release }, parts)
}

async function admitStockCall(
  call: PaidCall,
  payment: Payment,
  candidate: Candidate,
  parts: GateParts,
  signal: AbortSignal,
  demand: Demand,
): Promise<GateAnswer> {
  const { entry, ceiling } = candidate
  const ask = { amount: ceiling.amount, voucher: payment.payload.voucher.maxClaimable }
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(busyWaitMs)])
  for (;;) {
    await entry.reloading
    const repeated = findRepeated(entry, payment, call.body)
    if (repeated !== null) return repeated
    const verdict = judgeStock(entry.ledger, ask)
    if (verdict.kind === 'admit') break
    if (verdict.kind === 'refuse') return refusedBy(verdict.reason, entry, demand)
    if (verdict.kind === 'correct') {
      tellStated(entry.ledger, verdict.stated)
      return demand(batchErrors.cumulativeAmountMismatch, entry)
    }
    if (deadline.aborted) return { ...demand(batchErrors.channelBusy), retryAfterSec: 1 }
    await parts.book.changed(entry, deadline)
  }
  const release = parts.slots.take()
  const id = payment.id ?? parts.randomId()
  admitStock(entry.ledger, id, ask)
  keepSignature(entry, payment)
  const told = call.chat.stream ? tell(entry.ledger, ceiling.amount) : null
  return commit(call, id, { ...candidate, told, release }, parts)
}

function refusedBy(reason: keyof typeof openseedRefusals, entry: Entry, demand: Demand): GateAnswer {
  const refused = demand(openseedRefusals[reason], entry)
  return reason === 'withdrawing' ? { ...refused, hint: withdrawingHint } : refused
}

const withdrawingHint =
  'A withdrawal of this channel is pending on the chain. Finish it once its delay is over, or pay from another channel.'

const openseedRefusals = {
  duplicate: 'request_duplicate',
  expired: 'request_expired',
  forgotten: batchErrors.cumulativeAmountMismatch,
  withdrawing: batchErrors.channelBusy,
  exceeds_balance: batchErrors.cumulativeExceedsBalance,
  uncovered: batchErrors.cumulativeAmountMismatch,
}

async function commit(
  call: PaidCall,
  id: Hex,
  admitted: Omit<Admitted, 'kind' | 'id'>,
  parts: GateParts,
): Promise<Admitted> {
  const { entry, listing, ceiling, request } = admitted
  crashPoint('seller.verified')
  try {
    await parts.book.admit(entry, {
      channelId: entry.id,
      id,
      stock: request === null,
      ceiling: ceiling.amount,
      meter: 0n,
      bodyHash: request?.bodyHash ?? keccak256(call.body),
      offerHash: listing.signed.hash,
      admitBySec: request?.admitBySec ?? Math.floor(parts.now() / 1000) + requestTtlSec,
      signature: request?.signature ?? null,
      openedAtMs: parts.now(),
      state: 'open',
      charged: 0n,
      cumulative: 0n,
      receipt: null,
      streamed: call.chat.stream,
      closedAtMs: null,
    })
  } catch (error) {
    admitted.release()
    throw error
  }
  crashPoint('seller.admitted')
  return { kind: 'admitted', id, ...admitted }
}

/** The claim needs the signature of the highest voucher, whichever request brought it. */
function keepSignature(entry: Entry, { payload: { voucher } }: Payment): void {
  if (voucher.maxClaimable === entry.ledger.signed) entry.signature = voucher.signature
}

type Funding =
  | { kind: 'funded'; entry: Entry; deposit: SettledDeposit | null }
  | { kind: 'refuse'; reason: string }

/** Puts a deposit on chain when the payment brings one, and makes sure that the channel is known. */
async function fund({ channelId, payload }: Payment, parts: GateParts): Promise<Funding> {
  let entry = parts.book.find(channelId)
  if (payload.type === 'deposit') {
    if (payload.deposit.amount < parts.seller.minDeposit) {
      return { kind: 'refuse', reason: batchErrors.depositBelowMinDeposit }
    }
    const deposit = await parts.settleDeposit(payload)
    if (deposit.kind === 'refused') return { kind: 'refuse', reason: deposit.reason }
    const facts = await parts.readChain(channelId)
    const isBorn =
      deposit.kind === 'deposited' &&
      facts.balance === payload.deposit.amount &&
      facts.totalClaimed === 0n &&
      facts.refundNonce === 0n
    entry = await parts.book.learn(channelId, payload.config, facts, isBorn)
    await parts.book.adoptChain(entry, facts)
    return { kind: 'funded', entry, deposit }
  }
  if (entry !== undefined) return { kind: 'funded', entry, deposit: null }
  const facts = await parts.readChain(channelId)
  if (facts.balance === 0n) return { kind: 'refuse', reason: batchErrors.channelNotFound }
  return { kind: 'funded', entry: await parts.book.learn(channelId, payload.config, facts), deposit: null }
}

/** The same id again: its stored outcome when it is finished, a conflict while it runs or when the bytes differ. */
function findRepeated(entry: Entry | undefined, { id }: Payment, body: Uint8Array): GateAnswer | null {
  if (entry === undefined || id === null) return null
  const running = entry.running.get(id)
  const closed = entry.closed.get(id)
  const earlier = running ?? closed
  if (earlier === undefined) return null
  if (earlier.bodyHash !== keccak256(body)) {
    throw new OpenSeedError('request_conflict', { message: 'This request id was used for another body.' })
  }
  if (closed !== undefined) return { kind: 'repeated', closed }
  throw new OpenSeedError('request_in_progress', { message: 'This request is running.' })
}

function unknownModel(offers: OfferBook, model: string): OpenSeedError {
  const models = offers.all().map(({ signed }) => signed.details.model)
  return new OpenSeedError('model_not_found', {
    message: `This seller does not offer ${JSON.stringify(model.slice(0, 200))}.`,
    hint: `Offered here: ${models.slice(0, 20).join(', ')}.`,
  })
}
