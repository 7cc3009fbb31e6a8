import { parseAmount, type Usdc } from './amount.ts'
import type { Curve } from './curve.ts'
import type { Digests } from './digests.ts'
import { expectInteger, expectObject, expectTimeSec } from './fields.ts'
import { asHex, asHex32, type Address, type Hex } from './hex.ts'

/**
 * What was delivered and charged for one request. An id that was never served is closed by a receipt whose
 * offerHash, responseHash, tokens and charge are zero.
 */
export interface Receipt {
  channelId: Hex
  requestId: Hex
  offerHash: Hex
  /** keccak256 of the reply's bytes after transfer decoding; in a stream up to the receipt's comment. */
  responseHash: Hex
  inputTokens: number
  /** The part of inputTokens that came from a cache. */
  cachedTokens: number
  outputTokens: number
  charged: Usdc
  /** The channel's charged total after this request. */
  cumulative: Usdc
  /** Unix seconds. */
  completedAtSec: number
}

/** A receipt with the receiverAuthorizer's signature. */
export interface SignedReceipt {
  receipt: Receipt
  signature: Hex
}

/** Signs a receipt with the receiverAuthorizer's key. */
export function signReceipt(digests: Digests, curve: Curve, key: Hex, receipt: Receipt): SignedReceipt {
  return { receipt, signature: curve.sign(digests.receipt(receipt), key) }
}

/** True when the receiverAuthorizer signed exactly this receipt. */
export function verifyReceipt(
  digests: Digests,
  curve: Curve,
  signed: SignedReceipt,
  receiverAuthorizer: Address,
): boolean {
  return curve.recover(digests.receipt(signed.receipt), signed.signature) === receiverAuthorizer
}

/** Parses the flat JSON form (amounts as decimal strings, the signature beside the fields). Throws `invalid_message`. */
export function parseSignedReceipt(input: unknown): SignedReceipt {
  const fields = expectObject(input, 'receipt')
  return {
    receipt: {
      channelId: asHex32(fields['channelId'], 'channelId'),
      requestId: asHex32(fields['requestId'], 'requestId'),
      offerHash: asHex32(fields['offerHash'], 'offerHash'),
      responseHash: asHex32(fields['responseHash'], 'responseHash'),
      inputTokens: expectInteger(fields['inputTokens'], 'inputTokens'),
      cachedTokens: expectInteger(fields['cachedTokens'], 'cachedTokens'),
      outputTokens: expectInteger(fields['outputTokens'], 'outputTokens'),
      charged: parseAmount(fields['charged'], 'charged'),
      cumulative: parseAmount(fields['cumulative'], 'cumulative'),
      completedAtSec: expectTimeSec(fields['completedAt'], 'completedAt'),
    },
    signature: asHex(fields['signature'], 'signature'),
  }
}

/** The flat JSON form of a signed receipt. */
export function encodeSignedReceipt({ receipt, signature }: SignedReceipt): Record<string, string | number> {
  return {
    channelId: receipt.channelId,
    requestId: receipt.requestId,
    offerHash: receipt.offerHash,
    responseHash: receipt.responseHash,
    inputTokens: receipt.inputTokens,
    cachedTokens: receipt.cachedTokens,
    outputTokens: receipt.outputTokens,
    charged: receipt.charged.toString(),
    cumulative: receipt.cumulative.toString(),
    completedAt: receipt.completedAtSec,
    signature,
  }
}
