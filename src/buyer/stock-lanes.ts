/**
 * Channels to sellers that speak x402 alone. Nobody there can be asked what became of a request, so each lane has one
 * at a time, and nothing new is signed while the outcome of the last is unknown: its own voucher is sent again, and
 * the answer, or the 402 that corrects it, tells.
 */
import { asOpenSeedError, OpenSeedError } from '../base/errors.ts'
import type { SellerReply } from '../net/seller-client.ts'
import type { BuyerRequestRow } from '../store/rows.ts'
import type { Usdc } from '../wire/amount.ts'
import {
  batchErrors,
  encodeBatchPayload,
  parseChannelState,
  parseVoucherState,
} from '../wire/batch-settlement.ts'
import { present } from '../wire/fields.ts'
import type { Hex } from '../wire/hex.ts'
import type { PaymentRequirements } from '../wire/x402.ts'
import { outcomesUnknown, overPerDay } from './caps.ts'
import type { Channel } from './channel.ts'
import type { ExchangeOutcome, ExchangeReply } from './exchange-types.ts'
import { prepareDeposit, resolveDeposit, type FundingParts } from './funding.ts'
import type { StockChoice } from './guardrails.ts'
import { judgeCharge, judgeCorrection, type LaneFacts } from './lane-ledger.ts'
import { LanePool, lostOf, type LanePoolParts } from './lane-pool.ts'
import { readRefusal, readSettlement } from './lane-reply.ts'
import type { PendingDeposit } from './pending-deposit.ts'
import { readSellerError, withDetails } from './seller-error.ts'
import { reasonOf, stockReply } from './stock-reply.ts'
import type { StockSellers } from './stock-sellers.ts'

export interface LaneParts extends FundingParts, LanePoolParts {
  sellers: StockSellers
}

export type LaneChoice = Extract<StockChoice, { kind: 'lane' }>
type Carry = (payload: Record<string, unknown>) => Promise<SellerReply>
type Paid = Pick<ExchangeReply, 'body' | 'done' | 'headers'>

interface LaneOrder {
  sellerUrl: string
  choice: LaneChoice
  model: string
  bodyHash: Hex
  carry: Carry
}

const openForSec = 600
// A deposit nearer to its end than this might arrive after it was forgotten.
const leastValidSec = 30

export class StockLanes {
  readonly #parts: LaneParts
  readonly #pool: LanePool

  constructor(parts: LaneParts) {
    this.#parts = parts
    this.#pool = new LanePool(parts)
  }

  /**
   * Pays one request. Throws `budget_exceeded` and `balance_insufficient` before anything was signed,
   * `money_outcome_unknown`, `payment_refused`, `seller_…`, `chain_…`, `store_unavailable`.
   */
  async pay(order: LaneOrder, signal: AbortSignal): Promise<Paid> {
    const lane = await this.#pool.take(order.sellerUrl, order.choice, signal)
    try {
      const first = await this.#attempt(lane, order)
      // Corrected once, and only once.
      const reply = first ?? (await this.#attempt(lane, order, { isLast: true }))
      if (reply === null) throw refused(order.sellerUrl, 'it corrects its own correction')
      return reply
    } finally {
      this.#pool.leave(lane)
    }
  }

  /** One voucher to the seller; null when it corrected our sum and that was believed. */
  async #attempt(lane: Channel, order: LaneOrder, { isLast = false } = {}): Promise<Paid | null> {
    const { book } = this.#parts
    const { choice } = order
    const lost = lostOf(lane)
    const facts: LaneFacts = { charged: lane.ledger.charged, lost: lost?.ceiling ?? null }
    const { voucher, deposit } = await this.#fund(lane, choice, lost)
    const id = await this.#open(lane, order, voucher, deposit)
    const reply = await this.#send(lane, id, { voucher, deposit }, order)
    if (reply.status === 200) {
      const outcome = await this.#book(lane, id, lost, facts, reply, order)
      const relayed = await stockReply(reply, async (how): Promise<ExchangeOutcome> => {
        this.#parts.sellers.noteEnd(order.sellerUrl, how)
        return { ...outcome, reason: outcome.reason ?? reasonOf(how) }
      })
      return { ...relayed, headers: reply.headers }
    }
    if (reply.status !== 402) {
      book.lose(lane, id)
      throw withDetails(await readSellerError(order.sellerUrl, reply), { charged: null })
    }
    reply.body.destroy()
    const { reason, entry } = readRefusal(reply, choice.entry)
    // It was refused before any work; the voucher says no more than the next one will.
    await book.conclude(lane, id, 0n, 'refused')
    if (isLast || entry === null || !correctable.has(reason)) throw refused(order.sellerUrl, reason)
    await this.#correct(lane, lost, facts, entry, order.sellerUrl)
    return null
  }

  /** What is signed: the next sum; or, while the last outcome is unknown, what was signed already. */
  async #fund(
    lane: Channel,
    { amount, minDeposit }: LaneChoice,
    lost: BuyerRequestRow | null,
  ): Promise<{ voucher: Usdc; deposit: PendingDeposit | null }> {
    const { caps, spending, now } = this.#parts
    const spent = spending.spent(now())
    if (spent + amount > caps.maxPerDay) throw overPerDay(spent, amount, caps.maxPerDay)
    await resolveDeposit(lane, this.#parts)
    const { ledger, deposit: pending } = lane
    const voucher = ledger.charged + (lost?.ceiling ?? amount)
    if (pending !== null && pending.authorization.validBefore < now() / 1000 + leastValidSec)
      throw outcomesUnknown(lane.sellerUrl, 60, 'a deposit to it has no outcome yet')
    const covered = ledger.balance + (pending?.amount ?? 0n)
    if (voucher <= covered) return { voucher, deposit: voucher <= ledger.balance ? null : pending }
    if (pending !== null || lost !== null)
      throw outcomesUnknown(lane.sellerUrl, 60, 'what it may still claim is not covered by its channel')
    const missing = voucher - ledger.balance
    const deposit = await prepareDeposit(lane, { missing, ceiling: amount, minDeposit }, this.#parts)
    return { voucher, deposit }
  }

  /** On disk before anything leaves this machine. */
  async #open(
    lane: Channel,
    { sellerUrl, choice, model, bodyHash }: LaneOrder,
    amount: Usdc,
    deposit: PendingDeposit | null,
  ): Promise<Hex> {
    const { book, digests, curve, authorizerKey, randomWord, now } = this.#parts
    const openedAtMs = now()
    const row: BuyerRequestRow = {
      channelId: lane.id,
      id: randomWord(),
      sellerUrl,
      model,
      offerHash: noHash,
      bodyHash,
      ceiling: choice.amount,
      admitBySec: Math.floor(openedAtMs / 1000) + openForSec,
      signature: null,
      openedAtMs,
      state: 'open',
      charged: 0n,
      receipt: null,
      outcome: null,
      closedAtMs: null,
    }
    const isNew = deposit !== null && lane.deposit === null
    if (deposit !== null) lane.deposit = deposit
    const signature = curve.sign(digests.voucher(lane.id, amount), authorizerKey)
    await Promise.all([
      book.open(lane, row, { amount, signature }, null),
      isNew ? book.recordDeposit(lane, deposit) : null,
    ])
    return row.id
  }

  async #send(
    lane: Channel,
    id: Hex,
    { voucher, deposit }: { voucher: Usdc; deposit: PendingDeposit | null },
    { carry }: LaneOrder,
  ): Promise<SellerReply> {
    const { book, digests, curve, authorizerKey } = this.#parts
    const signed = {
      channelId: lane.id,
      maxClaimable: voucher,
      signature: curve.sign(digests.voucher(lane.id, voucher), authorizerKey),
    }
    const common = { config: lane.config, voucher: signed }
    const payload = encodeBatchPayload(
      deposit === null ? { type: 'voucher', ...common } : { type: 'deposit', ...common, deposit },
    )
    try {
      return await carry(payload)
    } catch (thrown) {
      const error = asOpenSeedError(thrown)
      const isSent = error.details?.['sent'] !== false
      if (isSent) book.lose(lane, id)
      else await book.cancel(lane, id)
      throw withDetails(error, { charged: isSent ? null : '0' })
    }
  }

  async #book(
    lane: Channel,
    id: Hex,
    lost: BuyerRequestRow | null,
    facts: LaneFacts,
    reply: SellerReply,
    { sellerUrl, choice }: LaneOrder,
  ): Promise<ExchangeOutcome> {
    const { book, sellers } = this.#parts
    const stated = readSettlement(reply, lane.id)
    if (stated !== null && stated.charged > choice.amount)
      sellers.mark(sellerUrl, 'it charged more than it asked')
    const charge = stated === null ? { kind: 'unclear' as const } : judgeCharge(facts, choice.amount, stated)
    if (charge.kind === 'unclear') {
      book.lose(lane, id)
      return { charged: null, receipt: null, reason: 'settlement_unclear' }
    }
    if (lost !== null) await book.conclude(lane, lost.id, charge.lost, 'corrected')
    await book.conclude(lane, id, charge.charged, 'answered')
    if (lane.lostAtSec !== null) await book.markLost(lane, null)
    return { charged: charge.charged, receipt: null, reason: null }
  }

  /** Takes over the sum that the seller states, where our own signatures bear it out. */
  async #correct(
    lane: Channel,
    lost: BuyerRequestRow | null,
    facts: LaneFacts,
    entry: PaymentRequirements,
    sellerUrl: string,
  ): Promise<void> {
    const { book, escrow, digests, curve, log } = this.#parts
    const state = parseChannelState(entry.extra?.['channelState'])
    const stated = state.chargedCumulativeAmount ?? state.totalClaimed
    const shown = present(entry.extra?.['voucherState'])
    const proof = shown === undefined ? null : parseVoucherState(shown)
    const isOurs =
      proof !== null &&
      curve.recover(digests.voucher(lane.id, proof.signedMaxClaimable), proof.signature) ===
        lane.config.payerAuthorizer
    const forgotten =
      lane.lostAtSec === null
        ? null
        : {
            totalClaimed: (await escrow.channel(lane.id)).totalClaimed,
            proven: isOurs ? proof.signedMaxClaimable : null,
          }
    const verdict = judgeCorrection(facts, stated, forgotten)
    if (verdict.kind === 'refuse') throw refused(sellerUrl, verdict.reason)
    log.info({ channel: lane.id, charged: stated.toString() }, 'a stock seller stated what is charged')
    if (lost !== null) await book.conclude(lane, lost.id, stated - facts.charged, 'corrected')
    if (forgotten === null) return
    await book.fresh(lane)
    const { ledger } = lane
    ledger.charged = stated
    if (isOurs && proof.signedMaxClaimable > ledger.signed) ledger.signed = proof.signedMaxClaimable
    if (ledger.signed < stated) ledger.signed = stated
    await book.markLost(lane, null)
  }
}

const noHash: Hex = `0x${'0'.repeat(64)}`
const correctable = new Set<string>([
  batchErrors.cumulativeAmountMismatch,
  batchErrors.cumulativeBelowClaimed,
])

const refused = (sellerUrl: string, reason: string) =>
  new OpenSeedError('payment_refused', {
    message: `${sellerUrl} refused the payment: ${reason}.`,
    hint: 'openseed channels list',
    details: { reason, charged: null },
  })
