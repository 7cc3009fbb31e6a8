/**
 * Is a charge explained by the signed offer and by what arrived? Pure. The signature, ids and the cumulative are
 * judged elsewhere; this is about price and quantity.
 *
 * Prompt: a byte-level token covers at least one byte, so the ceiling's prompt bound holds for every honest count.
 * Output: each token covers at least one byte of what the model wrote, and the buyer saw those bytes, except
 * - one token per visible piece, whose bytes a parser in the engine may have swallowed (trimmed space, tags);
 * - the markup around a tool call, which arrives as fields and not as text;
 * - per choice the end and channel marks, and a stop string that was matched and cut.
 * A reply that the buyer did not get whole proves nothing about its size; then only the limits it signed count.
 */
import type { Usdc } from '../wire/amount.ts'
import type { Hex } from '../wire/hex.ts'
import type { SignedOffer } from '../wire/offer.ts'
import { chargeFor, type Usage } from '../wire/price.ts'
import type { Receipt } from '../wire/receipt.ts'
import type { ObservedOutput } from './observed.ts'

/** What the request allowed: from its ceiling, and `hiddenTokens` of its body. */
export interface RequestBounds {
  /** Tokens. */
  promptBound: number
  /** Tokens per choice. */
  maxOutput: number
  n: number
  hiddenTokens: number
}

export interface ObservedReply extends ObservedOutput {
  responseHash: Hex
  /** Every byte up to the receipt arrived. */
  complete: boolean
}

export type ChargeRefusal =
  | 'over_ceiling'
  | 'other_offer'
  | 'input_implausible'
  | 'cached_implausible'
  | 'output_over_limit'
  | 'output_implausible'
  | 'other_usage'
  | 'over_price'
  | 'other_response'

export type ChargeVerdict = { ok: true } | { ok: false; reason: ChargeRefusal }

const hiddenPerChoice = 16
/** Markup around a tool call, which arrives as fields. */
export const hiddenPerToolCall = 24

export function checkCharge(charge: {
  receipt: Receipt
  signedOffer: SignedOffer
  ceiling: Usdc
  request: RequestBounds
  observed: ObservedReply
}): ChargeVerdict {
  const reason = findFault(charge)
  return reason === null ? { ok: true } : { ok: false, reason }
}

function findFault({
  receipt,
  signedOffer,
  ceiling,
  request,
  observed,
}: Parameters<typeof checkCharge>[0]): ChargeRefusal | null {
  // Also the form of a request that was never served, which names no offer and no reply.
  if (receipt.charged === 0n) return null
  if (receipt.charged > ceiling) return 'over_ceiling'
  if (receipt.offerHash !== signedOffer.hash) return 'other_offer'
  const { inputTokens, cachedTokens, outputTokens } = receipt
  if (inputTokens > request.promptBound) return 'input_implausible'
  if (cachedTokens > inputTokens) return 'cached_implausible'
  if (outputTokens > request.maxOutput * request.n) return 'output_over_limit'
  if (observed.complete && outputTokens > mostOutputTokens(request, observed)) return 'output_implausible'
  if (observed.complete && isAboveUsage(receipt, observed.usage)) return 'other_usage'
  // Less than the price is the seller's affair: after a crash it charges only what its journal proves.
  if (receipt.charged > chargeFor(receipt, signedOffer.offer, signedOffer.details.min, ceiling))
    return 'over_price'
  if (observed.complete && receipt.responseHash !== observed.responseHash) return 'other_response'
  return null
}

/** The reply said less than what is charged for. */
function isAboveUsage({ inputTokens, outputTokens }: Receipt, usage: Usage | null): boolean {
  return usage !== null && (inputTokens > usage.inputTokens || outputTokens > usage.outputTokens)
}

function mostOutputTokens(request: RequestBounds, observed: ObservedOutput): number {
  const { outputBytes, contentChunks, toolCalls } = observed
  return outputBytes + contentChunks + toolCalls * hiddenPerToolCall + request.hiddenTokens
}

/** What an offer allows whatever the request says, for one whose body is not known any more. */
export function widestBounds({ offer, details }: SignedOffer): RequestBounds {
  const { maxContext, maxOutput } = offer
  const n = details.maxN
  return { promptBound: maxContext, maxOutput, n, hiddenTokens: maxOutput * n }
}

/** Output tokens that may leave no trace in the reply, because of what the request asks. */
export function hiddenTokens(json: Record<string, unknown>, n: number, maxOutput: number): number {
  const { stop, ignore_eos: ignoreEnd, min_tokens: minTokens } = json
  // Past its own end a model may write nothing but invisible marks: who asks for that sees no bound in the text.
  if (ignoreEnd === true || (typeof minTokens === 'number' && minTokens > 0)) return maxOutput * n
  const stops: unknown[] = Array.isArray(stop) ? stop : [stop]
  const longest = stops.reduce<number>(
    (most, text) => (typeof text === 'string' ? Math.max(most, Buffer.byteLength(text)) : most),
    0,
  )
  return (hiddenPerChoice + longest) * n
}
