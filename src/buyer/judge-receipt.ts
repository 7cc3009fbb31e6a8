/** May a receipt be booked? Its signature, that it is about this request, and that the charge is explained. Pure. */
import type { Curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import type { Hex } from '../wire/hex.ts'
import { verifyReceipt, type SignedReceipt } from '../wire/receipt.ts'
import type { Channel } from './channel.ts'
import { checkCharge, type ChargeRefusal, type ObservedReply } from './check.ts'
import { nothingObserved } from './observed.ts'

/** Not the seller's word about this request, or more than it can have been signed for: nothing can be booked. */
export type ReceiptRefusal =
  | 'not_signed_by_seller'
  | 'other_channel'
  | 'other_request'
  | 'cumulative_unsigned'

/** The seller's word, but not what was agreed or what arrived. It can claim the money, so it is booked all the same. */
export type ReceiptDispute = ChargeRefusal | 'cumulative_implausible'

export type ReceiptVerdict =
  | { kind: 'book' }
  | { kind: 'dispute'; reason: ReceiptDispute }
  | { kind: 'refuse'; reason: ReceiptRefusal }

export interface ReceiptRules {
  digests: Digests
  curve: Curve
}

/** The offer of requests that this buyer forgot and took over from the seller's list. */
export const unknownOffer: Hex = `0x${'0'.repeat(64)}`

const unseen: ObservedReply = { ...nothingObserved(), responseHash: unknownOffer, complete: false }

/** `observed` is what arrived of the reply; null when it is not at hand. */
export function judgeReceipt(
  channel: Channel,
  requestId: Hex,
  signed: SignedReceipt,
  observed: ObservedReply | null,
  { digests, curve }: ReceiptRules,
): ReceiptVerdict {
  const { receipt } = signed
  const request = channel.requests.get(requestId)
  if (receipt.requestId !== requestId || request === undefined) return refuse('other_request')
  if (receipt.channelId !== channel.id) return refuse('other_channel')
  if (!verifyReceipt(digests, curve, signed, channel.config.receiverAuthorizer))
    return refuse('not_signed_by_seller')
  const { ceiling, offerHash } = request.row
  // Everything charged so far was signed for; only a store that was lost knows less than was signed.
  if (receipt.cumulative > channel.ledger.signed && channel.lostAtSec === null)
    return refuse('cumulative_unsigned')
  if (receipt.charged > ceiling) return dispute('over_ceiling')
  if (receipt.cumulative < receipt.charged) return dispute('cumulative_implausible')
  if (receipt.charged === 0n) return { kind: 'book' }
  if (request.terms === null) {
    const isOther = offerHash !== unknownOffer && receipt.offerHash !== offerHash
    return isOther ? dispute('other_offer') : { kind: 'book' }
  }
  const { signedOffer, bounds } = request.terms
  const charge = { receipt, signedOffer, ceiling, request: bounds, observed: observed ?? unseen }
  const verdict = checkCharge(charge)
  return verdict.ok ? { kind: 'book' } : dispute(verdict.reason)
}

const dispute = (reason: ReceiptDispute): ReceiptVerdict => ({ kind: 'dispute', reason })
const refuse = (reason: ReceiptRefusal): ReceiptVerdict => ({ kind: 'refuse', reason })
