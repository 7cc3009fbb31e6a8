/**
 * One request to a seller that speaks x402 and nothing of ours: asks without a payment, judges the 402, and pays it
 * once, by a channel where it can be, else by a single transfer. Whatever is answered then, no other way is tried.
 */
import { hasCode, OpenSeedError } from '../base/errors.ts'
import { readBody } from '../net/read-body.ts'
import type { SellerClient, SellerReply } from '../net/seller-client.ts'
import { encodeExactPayload, type ExactPayload } from '../wire/exact.ts'
import { encodeV1Payment, parseV1Required, v1PaymentHeader, v1ResponseHeader } from '../wire/exact-v1.ts'
import { encodePaymentIdentifier, paymentIdentifierExtension } from '../wire/extension.ts'
import type { Hex } from '../wire/hex.ts'
import {
  encodeHeader,
  parsePaymentRequired,
  paymentRequiredHeader,
  paymentResponseHeader,
  paymentSignatureHeader,
  type PaymentRequired,
} from '../wire/x402.ts'
import type { BuyerCaps } from './caps.ts'
import type { ExchangeReply, ExchangeRequest } from './exchange-types.ts'
import { judgeStock, partyOf, type StockChoice } from './guardrails.ts'
import { readSellerError } from './seller-error.ts'
import { payExact, type ExactCarrier, type StockExactParts, type StockOrder } from './stock-exact.ts'
import type { StockLanes } from './stock-lanes.ts'
import { reasonOf, stockReply } from './stock-reply.ts'

export interface StockParts extends StockExactParts {
  caps: BuyerCaps
  lanes: StockLanes
  /** whether 402s of version 1 of the protocol are paid */
  allowV1: boolean
  firstByteTimeoutMs: number
  idleTimeoutMs: number
}

/** A request to a seller of which nothing is known before it is asked. */
export interface StockRoute {
  sellerUrl: string
  stock: true
}

const maxTermsBytes = 64 * 1024
const termsWithinMs = 5000

/** Throws what stops the payment; then nothing was signed, or `details.charged` is null. */
export async function buyStock(
  { sellerUrl }: StockRoute,
  client: SellerClient,
  request: ExchangeRequest,
  bodyHash: Hex,
  parts: StockParts,
  signal: AbortSignal,
): Promise<ExchangeReply> {
  const startedAtMs = performance.now()
  const send = (headers: Record<string, string>) =>
    client.request({
      method: 'POST',
      path: request.path,
      headers: {
        'content-type': 'application/json',
        accept: request.stream ? 'text/event-stream' : 'application/json',
        ...headers,
      },
      body: request.body,
      signal,
      firstByteTimeoutMs: parts.firstByteTimeoutMs,
      idleTimeoutMs: parts.idleTimeoutMs,
    })
  const asked = await send({})
  const paid = await settle()
  return {
    status: 200,
    ...paid,
    seller: sellerUrl,
    path: client.path(),
    attempts: 1,
    sellerWaitMs: performance.now() - startedAtMs,
  }

  async function settle(): Promise<Pick<ExchangeReply, 'body' | 'done' | 'headers' | 'ceiling'>> {
    if (asked.status === 200) {
      const free = await stockReply(asked, async (how) => ({
        charged: 0n,
        receipt: null,
        reason: reasonOf(how),
      }))
      return { ...free, headers: asked.headers, ceiling: 0n }
    }
    if (asked.status !== 402) throw await readSellerError(sellerUrl, asked)
    const { required, isV1 } = await readTerms(sellerUrl, asked, parts)
    const choices = choose(sellerUrl, required, parts)
    const order = { sellerUrl, model: request.model, bodyHash }
    for (const [at, choice] of choices.entries()) {
      try {
        return { ...(await payBy(choice, order, required, isV1)), ceiling: choice.amount }
      } catch (error) {
        // Where a channel is beyond our means nothing was signed yet, and a single transfer may not be.
        const isBeyond = hasCode(error, 'budget_exceeded') || hasCode(error, 'balance_insufficient')
        if (choice.kind !== 'lane' || !isBeyond || at === choices.length - 1) throw error
      }
    }
    throw new Error('there is at least one choice')
  }

  async function payBy(choice: StockChoice, order: StockOrder, required: PaymentRequired, isV1: boolean) {
    const { sellers } = parts
    const { sellerUrl } = order
    sellers.pin(sellerUrl, partyOf(choice, sellers.party(sellerUrl)))
    const carry = carrier(send, choice, required, parts)
    if (choice.kind === 'lane') return parts.lanes.pay({ ...order, choice, carry }, signal)
    const v2 = {
      send: (payload: ExactPayload) => carry(encodeExactPayload(payload)),
      responseHeader: paymentResponseHeader,
    }
    return payExact(choice, order, isV1 ? v1Carrier(send, choice) : v2, parts)
  }
}

type Send = (headers: Record<string, string>) => Promise<SellerReply>

async function readTerms(
  sellerUrl: string,
  { headers, body }: SellerReply,
  { allowV1 }: StockParts,
): Promise<{ required: PaymentRequired; isV1: boolean }> {
  const header = headers[paymentRequiredHeader]
  if (header !== undefined) {
    body.destroy()
    return { required: parsePaymentRequired(header), isV1: false }
  }
  if (allowV1)
    return { required: parseV1Required(await readBody(body, maxTermsBytes, termsWithinMs)), isV1: true }
  body.destroy()
  throw new OpenSeedError('payment_refused', {
    message: `${sellerUrl} asks for a payment without the header that says which.`,
    hint: 'A seller of version 1 of x402 is paid where buy.allow_v1 is set.',
    details: { charged: '0' },
  })
}

function choose(
  sellerUrl: string,
  required: PaymentRequired,
  { sellers, network, payer, caps }: StockParts,
): StockChoice[] {
  const refuse = (reason: string) =>
    new OpenSeedError('payment_refused', {
      message: `${sellerUrl} is not paid: ${reason}.`,
      details: { reason, charged: '0' },
    })
  const distrusted = sellers.distrust(sellerUrl)
  if (distrusted !== null) throw refuse(distrusted)
  const verdict = judgeStock(required, {
    network,
    sellerUrl,
    payer,
    maxPerRequest: caps.maxPerRequest,
    maxDeposit: caps.maxDepositPerSeller,
    pinned: sellers.party(sellerUrl),
  })
  if (verdict.kind === 'refuse') throw refuse(verdict.reason)
  return verdict.choices
}

/** Of the 402's extensions only the payment's identifier is answered: servers may demand one. */
function carrier(
  send: Send,
  { entry }: StockChoice,
  { resource, extensions }: PaymentRequired,
  { randomWord }: StockParts,
) {
  const identifier =
    extensions?.[paymentIdentifierExtension] === undefined
      ? {}
      : { extensions: { [paymentIdentifierExtension]: encodePaymentIdentifier(randomWord()) } }
  return (payload: Record<string, unknown>) =>
    send({
      [paymentSignatureHeader]: encodeHeader({
        x402Version: 2,
        resource,
        accepted: entry,
        payload,
        ...identifier,
      }),
    })
}

const v1Carrier = (send: Send, { entry }: StockChoice): ExactCarrier => ({
  responseHeader: v1ResponseHeader,
  send: (payload) => send({ [v1PaymentHeader]: encodeV1Payment(entry.network, payload) }),
})
