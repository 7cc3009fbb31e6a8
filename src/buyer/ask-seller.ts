/** One request to one seller, as far as money is concerned: whether it left, and what a refusal cost. */
import { crashPoint } from '../base/crash.ts'
import { asOpenSeedError, type OpenSeedError } from '../base/errors.ts'
import type { SellerClient, SellerReply } from '../net/seller-client.ts'
import { paymentSignatureHeader } from '../wire/x402.ts'
import type { ChannelBook } from './channel-book.ts'
import type { ExchangeRequest } from './exchange-types.ts'
import type { Outcomes } from './outcomes.ts'
import type { Payment } from './pay.ts'
import { readSellerError, withDetails } from './seller-error.ts'

export interface SendParts {
  book: ChannelBook
  outcomes: Outcomes
  firstByteTimeoutMs: number
  idleTimeoutMs: number
}

const outcomeWithinMs = 1000

/** Sends the request with its payment. What is known not to have left costs nothing; all else is asked about. */
export async function sendRequest(
  client: SellerClient,
  { path, body, stream }: ExchangeRequest,
  payment: Payment | null,
  { book, outcomes, firstByteTimeoutMs, idleTimeoutMs }: SendParts,
  signal: AbortSignal,
): Promise<SellerReply> {
  const headers = {
    'content-type': 'application/json',
    accept: stream ? 'text/event-stream' : 'application/json',
    ...(payment === null ? {} : { [paymentSignatureHeader]: payment.header }),
  }
  try {
    const request = {
      method: 'POST',
      path,
      headers,
      body,
      signal,
      firstByteTimeoutMs,
      idleTimeoutMs,
    } as const
    const reply = await client.request(request)
    crashPoint('buyer.sent')
    return reply
  } catch (thrown) {
    const error = asOpenSeedError(thrown)
    if (payment === null) throw error
    if (error.details?.['sent'] === false) {
      await book.cancel(payment.channel, payment.requestId)
      throw error
    }
    outcomes.lost(payment.channel, payment.requestId)
    throw withDetails(error, { charged: null })
  }
}

/** The seller's error, and what it cost: by the protocol nothing, but only its signature counts. */
export async function explainRefusal(
  sellerUrl: string,
  reply: SellerReply,
  payment: Payment | null,
  outcomes: Outcomes,
): Promise<OpenSeedError> {
  const error = await readSellerError(sellerUrl, reply)
  if (payment === null) return error
  const booked = await outcomes.learn(payment.channel, payment.requestId, outcomeWithinMs)
  return withDetails(error, { charged: booked === null ? null : booked.charged.toString() })
}
