import type { Usdc } from './amount.ts'
import type { Curve } from './curve.ts'
import type { Digests } from './digests.ts'
import type { Address, Hex } from './hex.ts'

/** What the buyer signs for each request: it alone allows work under an already signed voucher. */
export interface PaidRequest {
  channelId: Hex
  /** Unique per channel; also the payment identifier. */
  requestId: Hex
  /** keccak256 of the body bytes after transfer decoding. */
  bodyHash: Hex
  offerHash: Hex
  ceiling: Usdc
  /** Unix seconds; the seller refuses the request afterwards. */
  admitBySec: number
}

/** Signs a request with the payerAuthorizer's key. */
export function signRequest(digests: Digests, curve: Curve, key: Hex, request: PaidRequest): Hex {
  return curve.sign(digests.request(request), key)
}

/** True when the payerAuthorizer signed exactly this request. */
export function verifyRequest(
  digests: Digests,
  curve: Curve,
  request: PaidRequest,
  signature: Hex,
  payerAuthorizer: Address,
): boolean {
  return curve.recover(digests.request(request), signature) === payerAuthorizer
}
