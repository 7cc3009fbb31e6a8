/** Reads an exact payment: everything in it that can be checked without the chain. Pure. */
import type { Usdc } from '../wire/amount.ts'
import type { Curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import { exactErrors, type ExactPayload } from '../wire/exact.ts'
import type { NetworkTerms } from '../wire/network.ts'
import { acceptsEntry, type PaymentPayload } from '../wire/x402.ts'
import { exactEntry, type SellerIdentity } from './payment-terms.ts'

export type ExactReading =
  /** `isSigned` false: not by the payer's own key, so only its contract can tell */
  { kind: 'payment'; amount: Usdc; isSigned: boolean } | { kind: 'refuse'; reason: string }

// Time for the transaction to be mined before the authorization ends, as the stock facilitator asks.
const leadTimeSec = 6

export function verifyExact(
  { seller, digests, curve }: { seller: SellerIdentity; digests: Digests; curve: Curve },
  outer: PaymentPayload,
  { authorization, signature }: ExactPayload,
  ceiling: Usdc,
  nowSec: number,
): ExactReading {
  const entry = exactEntry(seller, ceiling)
  if (entry === null) return refuse('unsupported_scheme')
  if (!acceptsEntry(outer.accepted, entry)) return refuse('invalid_payment_requirements')
  const amount = BigInt(entry.amount)
  if (authorization.to !== seller.payTo) return refuse(exactErrors.recipientMismatch)
  if (authorization.value !== amount) return refuse(exactErrors.valueMismatch)
  if (authorization.validBefore < BigInt(nowSec + leadTimeSec)) return refuse(exactErrors.validBefore)
  if (authorization.validAfter > BigInt(nowSec)) return refuse(exactErrors.validAfter)
  const digest = digests.transferAuthorization(tokenOf(seller.network), authorization)
  const isSigned = curve.recover(digest, signature) === authorization.from
  return { kind: 'payment', amount, isSigned }
}

const refuse = (reason: string): ExactReading => ({ kind: 'refuse', reason })

const tokenOf = ({ assetName, assetVersion, chainId, asset }: NetworkTerms) => ({
  name: assetName,
  version: assetVersion,
  chainId,
  asset,
})
