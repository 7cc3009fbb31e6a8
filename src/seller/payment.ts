/** Reads a payment: everything in it that can be checked without knowing the channel's ledger. Pure. */
import { hasCode } from '../base/errors.ts'
import type { Usdc } from '../wire/amount.ts'
import {
  batchErrors,
  batchSettlement,
  parseBatchPayload,
  type BatchPayload,
} from '../wire/batch-settlement.ts'
import type { Curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import { exact, parseExactPayload, type ExactPayload } from '../wire/exact.ts'
import {
  parsePaymentIdentifier,
  parseRequestExtension,
  parseTermsExtension,
  type RequestExtension,
} from '../wire/extension.ts'
import type { Hex } from '../wire/hex.ts'
import { keccak256 } from '../wire/keccak.ts'
import { verifyRequest } from '../wire/request.ts'
import { acceptsEntry, parsePaymentPayload, type PaymentPayload } from '../wire/x402.ts'
import { requirements, type SellerIdentity } from './payment-terms.ts'

export interface Payment {
  channelId: Hex
  payload: BatchPayload
  /** present when the payerAuthorizer signed exactly this request */
  request: RequestExtension | null
  /** the row's id: the signed request's, else from the client's payment-identifier, else null */
  id: Hex | null
}

export type PaymentReading = { kind: 'payment'; payment: Payment } | { kind: 'refuse'; reason: string }

export interface PaymentParts {
  seller: SellerIdentity
  digests: Digests
  curve: Curve
}

const refuse = (reason: string): PaymentReading => ({ kind: 'refuse', reason })

export type DecodedPayment =
  | { kind: 'decoded'; outer: PaymentPayload; payload: BatchPayload }
  | { kind: 'exact'; outer: PaymentPayload; payload: ExactPayload }
  | { kind: 'refuse'; reason: string }

/** Decodes the header. A malformed one is a refusal, never an exception. */
export function decodePayment(header: string): DecodedPayment {
  try {
    const outer = parsePaymentPayload(header)
    const { scheme } = outer.accepted
    if (scheme === exact) return { kind: 'exact', outer, payload: parseExactPayload(outer.payload) }
    if (scheme !== batchSettlement) return { kind: 'refuse', reason: 'unsupported_scheme' }
    return { kind: 'decoded', outer, payload: parseBatchPayload(outer.payload) }
  } catch (error) {
    if (!hasCode(error, 'invalid_message')) throw error
    const reason = error.details?.['reason']
    return { kind: 'refuse', reason: typeof reason === 'string' ? reason : 'invalid_payload' }
  }
}

/** Terms, channel and signatures. `body` and `amount` are of the request that the payment came with. */
export function verifyPayment(
  { seller, digests, curve }: PaymentParts,
  outer: PaymentPayload,
  payload: BatchPayload,
  asked: { body: Uint8Array; amount: Usdc; offerHash: Hex },
): PaymentReading {
  if (payload.type !== 'refund' && !acceptsEntry(outer.accepted, requirements(seller, asked.amount))) {
    return refuse('invalid_payment_requirements')
  }
  const mismatch = judgeConfig(seller, payload)
  if (mismatch !== null) return refuse(mismatch)
  const { config, voucher } = payload
  const channelId = digests.channelId(config)
  if (channelId !== voucher.channelId) return refuse(batchErrors.channelIdMismatch)
  const signer = curve.recover(digests.voucher(channelId, voucher.maxClaimable), voucher.signature)
  if (signer !== config.payerAuthorizer) return refuse(batchErrors.voucherSignature)
  const request = readRequest({ seller, digests, curve }, outer, payload)
  const misfit = request === null ? null : judgeRequest(request, asked)
  if (misfit !== null) return refuse(misfit)
  const identifier = request === null ? paymentIdentifier(outer) : null
  return {
    kind: 'payment',
    payment: {
      channelId,
      payload,
      request,
      id: request?.id ?? (identifier === null ? null : keccak256(`payment-identifier:${identifier}`)),
    },
  }
}

function judgeConfig(seller: SellerIdentity, { config }: BatchPayload): string | null {
  if (config.receiver !== seller.payTo) return batchErrors.receiverMismatch
  if (config.receiverAuthorizer !== seller.receiverAuthorizer) return batchErrors.receiverAuthorizerMismatch
  if (config.token !== seller.network.asset) return batchErrors.tokenMismatch
  if (config.withdrawDelay !== seller.withdrawDelay) return batchErrors.withdrawDelayMismatch
  // 0 would mean a contract's signature, which only the chain can check
  if (/^0x0+$/.test(config.payerAuthorizer)) return batchErrors.voucherSignature
  return null
}

/** Stock clients echo our key from the 402, so only a valid signature over what it says counts. */
function readRequest(
  { digests, curve }: PaymentParts,
  outer: PaymentPayload,
  { config, voucher }: BatchPayload,
): RequestExtension | null {
  const request = tolerate(() => parseRequestExtension(outer.extensions))
  if (request === null) return null
  const { id: requestId, signature, ...signed } = request
  const paid = { ...signed, channelId: voucher.channelId, requestId }
  return verifyRequest(digests, curve, paid, signature, config.payerAuthorizer) ? request : null
}

/** Who signed a request buys that request or nothing: served as a stock client it would be charged under another id. */
function judgeRequest(
  request: RequestExtension,
  asked: { body: Uint8Array; amount: Usdc; offerHash: Hex },
): string | null {
  if (request.offerHash !== asked.offerHash) return 'request_offer_unknown'
  if (request.ceiling !== asked.amount) return 'request_ceiling_mismatch'
  return keccak256(asked.body) === request.bodyHash ? null : 'request_body_mismatch'
}

/** The offer that a payment says it was made for, so that one replaced a moment ago can still be paid. */
export const namedOffer = (outer: PaymentPayload): Hex | null =>
  tolerate(() => parseRequestExtension(outer.extensions))?.offerHash ??
  // Stock clients echo what the 402 offered.
  tolerate(() => parseTermsExtension(outer.extensions))?.offerHash ??
  null

/** The client's own idempotency id; null when it sent none. */
export const paymentIdentifier = ({ extensions }: PaymentPayload): string | null =>
  tolerate(() => parsePaymentIdentifier(extensions))

/** An extension of a shape we do not know is no extension of ours. */
function tolerate<T>(parse: () => T): T | null {
  try {
    return parse()
  } catch (error) {
    if (hasCode(error, 'invalid_message')) return null
    throw error
  }
}
