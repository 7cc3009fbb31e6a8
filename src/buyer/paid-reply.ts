/** A seller's 200: what goes to the client, and the receipt in it, checked and booked. */
import { asOpenSeedError, OpenSeedError } from '../base/errors.ts'
import { readBody } from '../net/read-body.ts'
import type { SellerReply } from '../net/seller-client.ts'
import { parseReceiptExtension, type ReceiptExtension } from '../wire/extension.ts'
import { keccak256 } from '../wire/keccak.ts'
import { parseSettlementResponse, paymentResponseHeader, type SettlementResponse } from '../wire/x402.ts'
import type { ExchangeOutcome, ExchangeReply, ExchangeRequest } from './exchange-types.ts'
import type { ObservedReply } from './check.ts'
import { nothingObserved, observe } from './observed.ts'
import type { Outcomes } from './outcomes.ts'
import type { Payment } from './pay.ts'
import type { Recount } from './recount.ts'
import { relay } from './relay.ts'
import { withDetails } from './seller-error.ts'

export type PaidReply = Pick<ExchangeReply, 'body' | 'done'>

const maxReplyBytes = 256 * 1024 * 1024
const outcomeWithinMs = 1000
const free: ExchangeOutcome = { charged: 0n, receipt: null, reason: null }

export interface ReplyParts {
  outcomes: Outcomes
  recount: Recount
}

type Asked = Pick<ExchangeRequest, 'model' | 'json'>

/** Reads a whole reply. Throws what breaks it; its outcome is then asked for in the background. */
export async function plainReply(
  reply: SellerReply,
  request: Asked,
  payment: Payment | null,
  parts: ReplyParts,
): Promise<PaidReply> {
  const { outcomes, recount } = parts
  let body: Buffer
  try {
    body = await readBody(reply.body, maxReplyBytes)
  } catch (error) {
    if (payment === null) throw error
    outcomes.lost(payment.channel, payment.requestId)
    throw withDetails(asOpenSeedError(error), { charged: null })
  }
  if (payment === null) return { body, done: Promise.resolve(free) }
  const output = nothingObserved(recount.wants(request.model))
  observe(parseOrNull(body), output)
  const observed = { ...output, responseHash: keccak256(body), complete: true }
  const paid = readExtension(() => headerSettlement(reply))
  const outcome = await bookReply(payment, request, paid, observed, parts)
  if (outcome.reason !== 'receipt_missing') return { body, done: Promise.resolve(outcome) }
  const learned = await outcomes.learn(payment.channel, payment.requestId, outcomeWithinMs)
  return { body, done: Promise.resolve(learned === null ? outcome : { ...learned, reason: null }) }
}

/** Passes a stream on as it comes. */
export function streamReply(
  reply: SellerReply,
  request: Asked,
  payment: Payment | null,
  parts: ReplyParts,
): PaidReply {
  const isCounted = payment !== null && parts.recount.wants(request.model)
  const { body, facts } = relay(reply.body, nothingObserved(isCounted))
  if (payment === null) return { body, done: facts.then(() => free) }
  const done = facts.then(async ({ responseHash, output, receiptSeen, settlement, failure }) => {
    const observed = { ...output, responseHash, complete: receiptSeen }
    const outcome = await bookReply(
      payment,
      request,
      readExtension(() => settlement),
      observed,
      parts,
    )
    if (outcome.reason === 'receipt_missing') parts.outcomes.lost(payment.channel, payment.requestId)
    return { ...outcome, reason: outcome.reason ?? failure?.code ?? null }
  })
  return { body, done }
}

/** Never rejects: whatever is not booked now is asked for later. */
async function bookReply(
  { channel, requestId }: Payment,
  { model, json }: Asked,
  paid: ReceiptExtension | OpenSeedError,
  observed: ObservedReply,
  { outcomes, recount }: ReplyParts,
): Promise<ExchangeOutcome> {
  const unknown = (reason: string): ExchangeOutcome => ({ charged: null, receipt: null, reason })
  if (paid instanceof OpenSeedError || paid.receipt === null) return unknown('receipt_missing')
  const asked = channel.requests.get(requestId)
  try {
    const booking = await outcomes.book(channel, requestId, paid.receipt, observed, 'answered')
    await outcomes.bookFinals(channel, paid.finals)
    if (booking.kind === 'refused') return { charged: null, receipt: paid.receipt, reason: booking.reason }
    if (observed.complete && asked !== undefined && asked.terms !== null) {
      const { terms, row } = asked
      recount.submit({
        channel,
        model,
        json,
        terms,
        ceiling: row.ceiling,
        signed: booking.receipt,
        output: observed,
      })
    }
    return { charged: booking.charged, receipt: booking.receipt, reason: null }
  } catch (thrown) {
    outcomes.lost(channel, requestId)
    return unknown(asOpenSeedError(thrown).code)
  }
}

function readExtension(settlement: () => SettlementResponse | null): ReceiptExtension | OpenSeedError {
  try {
    return parseReceiptExtension(settlement()?.extensions)
  } catch (thrown) {
    return asOpenSeedError(thrown)
  }
}

function headerSettlement({ headers }: SellerReply): SettlementResponse | null {
  const header = headers[paymentResponseHeader]
  return header === undefined ? null : parseSettlementResponse(header)
}

function parseOrNull(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString())
  } catch {
    return null
  }
}
