/**
 * Pays for one request: decides on the ledger in one turn, stores, and only then hands out what may be sent. Nothing
 * is ever signed above what the chain confirmed, except in the request that carries the deposit itself.
 */
import { crashPoint } from '../base/crash.ts'
import { hasCode, OpenSeedError } from '../base/errors.ts'
import type { BuyerRequestRow } from '../store/rows.ts'
import type { Usdc } from '../wire/amount.ts'
import { mostUnresolved, type RequestExtension } from '../wire/extension.ts'
import type { Hex } from '../wire/hex.ts'
import { signRequest } from '../wire/request.ts'
import { outcomesUnknown, overExposure, overPerDay } from './caps.ts'
import type { Channel, OpenRequest } from './channel.ts'
import type { ChannelFinder } from './channel-finder.ts'
import { depositRoom, prepareDeposit, resolveDeposit, watchDeposit } from './funding.ts'
import { planVoucher, type VoucherPlan } from './ledger.ts'
import type { Distrust } from './distrust.ts'
import { paymentHeader } from './payment-header.ts'
import type { PendingDeposit } from './pending-deposit.ts'
import { finishRefund, type RefundParts } from './refund.ts'
import { resync, type ResyncParts } from './resync.ts'
import type { Route } from './route.ts'

export interface PayParts extends RefundParts, ResyncParts {
  finder: ChannelFinder
  distrust: Distrust
  /** Aborted when the node stops. */
  stop: AbortSignal
  /** Takes work that goes on after its request; the node waits for it before it closes what that uses. */
  track: (work: Promise<void>) => void
}

/** What is bought: everything about a request that its payment binds or remembers. */
export interface Order {
  model: string
  bodyHash: Hex
  bounds: NonNullable<OpenRequest['terms']>['bounds']
}

export interface Payment {
  channel: Channel
  requestId: Hex
  /** PAYMENT-SIGNATURE */
  header: string
  /** To be called when the seller answered or will not: so long, others still wait for the deposit in it. */
  over: (graceMs: number) => void
}

type Voucher = Extract<VoucherPlan, { kind: 'voucher' }>

const roomWithinMs = 30_000
// Another seller may be asked meanwhile.
const outcomesWithinMs = 3000
const fundsWithinMs = 90_000

/** Throws `budget_exceeded`, `money_outcome_unknown`, `charge_refused`, `channel_underfunded`, `chain_…`, `store_…`. */
export async function pay(
  route: Route,
  order: Order,
  parts: PayParts,
  signal: AbortSignal,
): Promise<Payment> {
  parts.distrust.check(route.sellerUrl, route.terms.receiverAuthorizer)
  const channel = await parts.finder.find(route.sellerUrl, route.terms)
  const startedMs = performance.now()
  for (;;) {
    signal.throwIfAborted()
    await prepare(channel, parts, signal)
    // From here to the open row nothing waits.
    const plan = planNow(channel, route, parts)
    if (plan.kind === 'voucher') return openPaid(channel, route, order, plan, null, parts)
    const outcome =
      plan.kind === 'refuse'
        ? blocked(channel, plan.reason, parts)
        : await payWithDeposit(channel, route, order, parts, signal)
    if (outcome.kind === 'paid') return outcome.payment
    if (outcome.kind === 'again') continue
    const leftMs = startedMs + outcome.waitMs - performance.now()
    if (leftMs <= 0 || channel.requests.size === 0) throw outcome.error
    await parts.book.changed(channel, AbortSignal.any([signal, AbortSignal.timeout(Math.ceil(leftMs))]))
  }
}

type Funding =
  | { kind: 'paid'; payment: Payment }
  /** Others brought enough before its turn came, or used up what the deposit was measured by. */
  | { kind: 'again' }
  /** Requests that run may end and leave room; the error when they do not. */
  | { kind: 'blocked'; waitMs: number; error: OpenSeedError }

/** Leaves the channel as it is on disk, and its state known. */
async function prepare(channel: Channel, parts: PayParts, signal: AbortSignal): Promise<void> {
  await parts.book.fresh(channel)
  if (channel.state === 'distrusted') await parts.distrust.forgive(channel)
  assertPayable(channel)
  if (channel.lostAtSec === null) return
  await resync(channel, parts, signal)
  await parts.book.fresh(channel)
  assertPayable(channel)
}

function planNow(channel: Channel, { ceiling }: Route, parts: PayParts, deposit: Usdc = 0n): VoucherPlan {
  const { caps, spending, now, distrust } = parts
  distrust.check(channel.sellerUrl, channel.config.receiverAuthorizer)
  const spent = spending.spent(now())
  if (spent + ceiling.amount > caps.maxPerDay) throw overPerDay(spent, ceiling.amount, caps.maxPerDay)
  return planVoucher({ ...channel.ledger, balance: channel.ledger.balance + deposit }, ceiling.amount, caps)
}

/** Pays with a deposit in the same request. */
async function payWithDeposit(
  channel: Channel,
  route: Route,
  order: Order,
  parts: PayParts,
  signal: AbortSignal,
): Promise<Funding> {
  const endTurn = await takeTurn(channel, parts, signal)
  try {
    if (!(await resolveDeposit(channel, parts)) && isTooOld(channel.deposit, parts.now()))
      throw outcomesUnknown(channel.sellerUrl, 60, 'a deposit that it may still use is about to expire')
    await prepare(channel, parts, signal)
    const lacking = planNow(channel, route, parts)
    if (lacking.kind !== 'underfunded') {
      endTurn()
      return { kind: 'again' }
    }
    // With money on its way back, the chain's balance cannot tell what arrived.
    if (channel.refunding > 0n) {
      await finishRefund(channel, parts, signal)
      endTurn()
      return { kind: 'again' }
    }
    const shortage = { ...lacking, ceiling: route.ceiling.amount, minDeposit: route.terms.minDeposit }
    const deposit = channel.deposit ?? (await prepareDeposit(channel, shortage, parts))
    await prepare(channel, parts, signal)
    const plan = planNow(channel, route, parts, deposit.amount)
    if (plan.kind === 'underfunded') throw depositTooSmall(channel)
    if (plan.kind === 'refuse') throw refusal(channel, plan.reason, parts)
    const isNew = channel.deposit === null
    // Deposits to others were signed while this one asked the chain, and all count against the same caps.
    if (isNew && deposit.amount > depositRoom(channel, parts).room) {
      endTurn()
      return { kind: 'again' }
    }
    channel.deposit = deposit
    const [payment] = await Promise.all([
      openPaid(channel, route, order, plan, deposit, parts),
      isNew ? parts.book.recordDeposit(channel, deposit) : null,
    ])
    crashPoint('buyer.deposit-stored')
    return { kind: 'paid', payment: { ...payment, over: endTurnLater(channel, endTurn, parts) } }
  } catch (error) {
    endTurn()
    if (!hasCode(error, 'budget_exceeded') && !hasCode(error, 'balance_insufficient')) throw error
    return { kind: 'blocked', waitMs: roomWithinMs, error }
  }
}

async function openPaid(
  channel: Channel,
  route: Route,
  order: Order,
  plan: Voucher,
  deposit: PendingDeposit | null,
  parts: PayParts,
): Promise<Payment> {
  const { digests, curve, authorizerKey, randomWord, now } = parts
  const { signedOffer, ceiling, sellerUrl } = route
  const openedAtMs = now()
  const requestId = randomWord()
  const signed = {
    bodyHash: order.bodyHash,
    offerHash: signedOffer.hash,
    ceiling: ceiling.amount,
    admitBySec: Math.floor(openedAtMs / 1000) + parts.requestTtlSec,
  }
  const { amount } = plan
  const stored = amount === channel.ledger.signed ? channel.signature : null
  // Signing is deterministic, so a signature that is stored and one that is made again are the same.
  const signature = stored ?? curve.sign(digests.voucher(channel.id, amount), authorizerKey)
  const asked = { channelId: channel.id, requestId, ...signed }
  const requestSignature = signRequest(digests, curve, authorizerKey, asked)
  const request: RequestExtension = {
    id: requestId,
    ...signed,
    signature: requestSignature,
    ...notesFor(channel),
  }
  const row: BuyerRequestRow = {
    channelId: channel.id,
    id: requestId,
    sellerUrl,
    model: order.model,
    ...signed,
    signature: requestSignature,
    openedAtMs,
    state: 'open',
    charged: 0n,
    receipt: null,
    outcome: null,
    closedAtMs: null,
  }
  const voucher = { channelId: channel.id, maxClaimable: amount, signature }
  const header = paymentHeader({ terms: route.terms, config: channel.config, voucher, deposit, request })
  await parts.book.open(channel, row, { amount, signature }, { signedOffer, bounds: order.bounds })
  return { channel, requestId, header, over: () => undefined }
}

/** What the seller is asked and told beside the request itself. */
function notesFor({ requests, proof, signature }: Channel): Pick<RequestExtension, 'unresolved' | 'ack'> {
  const lost: Hex[] = []
  for (const [id, { running }] of requests) {
    if (!running) lost.push(id)
    if (lost.length === mostUnresolved) break
  }
  return {
    ...(lost.length === 0 ? {} : { unresolved: lost }),
    // Only what can be shown when the seller does not know it any more.
    ...(proof === null || signature === null ? {} : { ack: proof.receipt.cumulative }),
  }
}

function assertPayable({ state, sellerUrl, id }: Channel): void {
  if (state === 'open') return
  if (state === 'distrusted') {
    throw new OpenSeedError('charge_refused', {
      message: `${sellerUrl} charged what its signed offer does not explain; nothing more is paid to it.`,
      hint: `Take back what is left: openseed channels refund ${id}`,
    })
  }
  throw new OpenSeedError('channel_underfunded', {
    message: `The channel with ${sellerUrl} is being withdrawn.`,
    hint: `Finish it after its delay: openseed channels withdraw ${id} --finalize`,
  })
}

function blocked(channel: Channel, reason: 'unresolved' | 'exposure', parts: PayParts): Funding {
  if (reason === 'unresolved') parts.outcomes.resolve(channel)
  const waitMs = reason === 'unresolved' ? outcomesWithinMs : roomWithinMs
  return { kind: 'blocked', waitMs, error: refusal(channel, reason, parts) }
}

function refusal(
  { sellerUrl }: Channel,
  reason: 'unresolved' | 'exposure',
  { caps }: PayParts,
): OpenSeedError {
  if (reason === 'exposure') return overExposure(sellerUrl, caps.maxExposure)
  return outcomesUnknown(sellerUrl, 10, 'earlier payments to it have unknown outcomes')
}

function depositTooSmall({ sellerUrl }: Channel): OpenSeedError {
  return new OpenSeedError('channel_underfunded', {
    message: `The deposit that is on its way to ${sellerUrl} does not cover this request.`,
    hint: 'Try again when it has arrived.',
  })
}

/** Too near to its end to be sent again: it might arrive after it was forgotten. */
function isTooOld(deposit: PendingDeposit | null, nowMs: number): boolean {
  return deposit !== null && deposit.authorization.validBefore < nowMs / 1000 + 30
}

/** Follows a deposit that is being sent; the turn ends with its outcome, or a while after its request. */
function endTurnLater(channel: Channel, endTurn: () => void, parts: PayParts): Payment['over'] {
  const over = new AbortController()
  let timer: NodeJS.Timeout | undefined
  const watched = watchDeposit(channel, parts, AbortSignal.any([over.signal, parts.stop]))
  parts.track(
    watched.finally(() => {
      clearTimeout(timer)
      endTurn()
    }),
  )
  return (graceMs) => {
    timer ??= setTimeout(() => over.abort(), graceMs).unref()
  }
}

/** One deposit at a time for each channel. */
async function takeTurn(channel: Channel, { book }: PayParts, signal: AbortSignal): Promise<() => void> {
  const patience = AbortSignal.any([signal, AbortSignal.timeout(fundsWithinMs)])
  while (channel.depositing) {
    if (patience.aborted) {
      signal.throwIfAborted()
      throw outcomesUnknown(channel.sellerUrl, 10, 'a deposit to it is not confirmed yet')
    }
    await book.changed(channel, patience)
  }
  channel.depositing = true
  return () => {
    channel.depositing = false
    book.wake(channel)
  }
}
