/** The gate for exact payments: from a decoded payment to a reserved authorization, or to what is wrong with it. */
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { SellerExactRow } from '../store/seller-exact-operations.ts'
import type { Ceiling } from '../wire/ceiling.ts'
import { exactErrors } from '../wire/exact.ts'
import type { Hex } from '../wire/hex.ts'
import { keccak256 } from '../wire/keccak.ts'
import { parseSignedReceipt } from '../wire/receipt.ts'
import type { ExactDesk, ExactOrder } from './exact-desk.ts'
import { verifyExact } from './exact-payment.ts'
import type { Listing } from './offer-book.ts'
import { paymentIdentifier, type DecodedPayment, type PaymentParts } from './payment.ts'
import type { ReplyCache } from './reply-cache.ts'
import type { Slots } from './slots.ts'

export interface ExactGateParts extends PaymentParts {
  exact: ExactDesk
  replies: Pick<ReplyCache, 'find'>
  slots: Slots
  now: Clock
}

export interface ExactAdmitted {
  kind: 'exact'
  order: ExactOrder
  listing: Listing
  ceiling: Ceiling
  /** the transaction that paid for it in an earlier attempt, which was not served; null: it is to be paid */
  paidBy: Hex | null
  /** gives the slot and the authorization free */
  release: () => void
}

/** The same payment for the same bytes again: it is paid. */
export interface ExactRepeated {
  kind: 'exact-repeated'
  row: SellerExactRow
}

/** Throws `request_in_progress`, `request_conflict`, `rate_limit_exceeded`, `chain_…`, `store_unavailable`. */
export async function admitExact<Demanded>(
  { body, chat }: { body: Uint8Array; chat: { stream: boolean } },
  { outer, payload }: Extract<DecodedPayment, { kind: 'exact' }>,
  asked: { listing: Listing; ceiling: Ceiling },
  parts: ExactGateParts,
  demand: (error: string) => Demanded,
): Promise<ExactAdmitted | ExactRepeated | Demanded> {
  const nowSec = Math.floor(parts.now() / 1000)
  const bodyHash = keccak256(body)
  const reading = verifyExact(parts, outer, payload, asked.ceiling.amount, nowSec)
  // What was paid is owed, although prices change and authorizations end.
  if (reading.kind === 'refuse' && !(await parts.exact.isOwed({ payload, bodyHash })))
    return demand(reading.reason)
  const { amount, isSigned } =
    reading.kind === 'payment' ? reading : { amount: payload.authorization.value, isSigned: true }
  const order: ExactOrder = {
    payload,
    isSigned,
    amount,
    paymentId: paymentIdentifier(outer),
    bodyHash,
    offerHash: asked.listing.signed.hash,
    streamed: chat.stream,
  }
  // From the signature to here nothing waited: of copies that arrive together one goes on.
  const letGo = parts.exact.hold(payload)
  let leaveSlot = (): void => undefined
  try {
    const verdict = await parts.exact.judge(order)
    const isNew = verdict.kind === 'reserved'
    if (isNew || (verdict.kind === 'owed' && !isKept(verdict.row, parts))) {
      leaveSlot = parts.slots.take()
      if (isNew) await parts.exact.reserve(order)
      const release = (): void => {
        leaveSlot()
        letGo()
      }
      return { kind: 'exact', order, ...asked, paidBy: isNew ? null : verdict.txHash, release }
    }
    letGo()
    return verdict.kind === 'refuse' ? demand(verdict.reason) : repeated(verdict.row, demand)
  } catch (error) {
    leaveSlot()
    letGo()
    throw error
  }
}

/** Its reply is still there: nobody has to work for it again. */
function isKept({ receipt, streamed }: SellerExactRow, { replies }: ExactGateParts): boolean {
  if (receipt === null || streamed) return false
  return replies.find(parseSignedReceipt(JSON.parse(receipt))) !== undefined
}

function repeated<Demanded>(
  row: SellerExactRow,
  demand: (error: string) => Demanded,
): ExactRepeated | Demanded {
  if (row.state === 'settled' || row.state === 'served') return { kind: 'exact-repeated', row }
  if (row.state !== 'settling') return demand(exactErrors.nonceAlreadyUsed)
  throw new OpenSeedError('request_in_progress', {
    message: 'This payment is on its way to the chain; its outcome is not known yet.',
  })
}
