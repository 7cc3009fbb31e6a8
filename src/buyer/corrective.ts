/** After a 402: learns that nothing was charged, puts right what can be, and says whether one more try makes sense. */
import { setTimeout as sleep } from 'node:timers/promises'
import { OpenSeedError } from '../base/errors.ts'
import { batchErrors, parseVoucherState } from '../wire/batch-settlement.ts'
import { parsePaymentRequired, paymentRequiredHeader, type PaymentRequired } from '../wire/x402.ts'
import type { SellerReply } from '../net/seller-client.ts'
import { outcomesUnknown } from './caps.ts'
import type { Channel } from './channel.ts'
import type { PayParts, Payment } from './pay.ts'
import { withDetails } from './seller-error.ts'
import { changedPrice } from './terms-check.ts'

const outcomeWithinMs = 5000
const curable = new Set<string>([
  batchErrors.cumulativeAmountMismatch,
  batchErrors.cumulativeExceedsBalance,
  batchErrors.channelNotFound,
  batchErrors.channelBusy,
  'request_expired',
])
// A seller that has just started refuses what may have been signed before it went down; a second later it does not.
const afterRestartMs = 1100

/** Returns when the request may be paid anew. Throws `payment_refused` and its like when that would not help. */
export async function correct(
  { channel, requestId }: Payment,
  reply: SellerReply,
  parts: PayParts,
  signal: AbortSignal,
): Promise<void> {
  reply.body.destroy()
  const asked = channel.requests.get(requestId)?.row
  const booked = await parts.outcomes.learn(channel, requestId, outcomeWithinMs, signal)
  const required = parsePaymentRequired(reply.headers[paymentRequiredHeader])
  const reason = required.error ?? 'no reason given'
  if (booked !== null && booked.charged > 0n)
    throw refused(channel, `it was charged all the same (${reason})`, booked.charged.toString())
  const changed = asked === undefined ? null : changedPrice(asked, required)
  if (changed !== null) throw priceChanged(channel, changed, reason, booked === null ? null : '0')
  if (booked === null && curable.has(reason)) {
    const why = `it refused a payment (${reason}) and does not say what became of it`
    throw withDetails(outcomesUnknown(channel.sellerUrl, 5, why), { charged: null })
  }
  switch (reason) {
    case batchErrors.cumulativeAmountMismatch:
      return noteForgotten(channel, required, parts)
    case batchErrors.cumulativeExceedsBalance:
    case batchErrors.channelNotFound:
    case batchErrors.channelBusy:
      return takeBalance(channel, parts)
    case 'request_expired':
      return sleep(afterRestartMs, undefined, { signal })
    case 'request_admit_by_too_far':
      throw new OpenSeedError('clock_skewed', {
        message: `This machine's clock is ahead of ${channel.sellerUrl}.`,
        hint: 'Set the clock; payments are signed with times.',
      })
    case batchErrors.insufficientBalance:
      throw new OpenSeedError('balance_insufficient', {
        message: 'The wallet holds less USDC than the deposit needs.',
        hint: 'openseed wallet show',
      })
    default:
      throw refused(channel, reason, booked === null ? null : '0')
  }
}

/** The seller may hold a voucher that this store knows nothing of: then the store is older than what was signed. */
async function noteForgotten(channel: Channel, required: PaymentRequired, parts: PayParts): Promise<void> {
  const { book, digests, curve, now, log } = parts
  const stated = required.accepts[0]?.extra?.['voucherState']
  if (stated === undefined) return
  const { signedMaxClaimable, signature } = parseVoucherState(stated)
  if (signedMaxClaimable <= channel.ledger.signed) return
  const signer = curve.recover(digests.voucher(channel.id, signedMaxClaimable), signature)
  if (signer !== channel.config.payerAuthorizer) return
  log.warn({ channel: channel.id }, 'the seller has a voucher that this store does not know')
  await book.fresh(channel)
  // The next try waits out what was forgotten.
  await book.markLost(channel, Math.floor(now() / 1000))
}

/** What is in the channel is what the chain says. */
async function takeBalance(channel: Channel, { book, escrow }: PayParts): Promise<void> {
  const onChain = await escrow.channel(channel.id)
  await book.fresh(channel)
  if (channel.deposit !== null) return
  channel.ledger.balance = onChain.balance > channel.refunding ? onChain.balance - channel.refunding : 0n
  if (onChain.withdrawInitiatedAtSec > 0 && channel.state === 'open') channel.state = 'withdrawing'
  await book.save(channel)
}

/** `charged` null: the seller does not say. */
function refused({ sellerUrl, id }: Channel, reason: string, charged: string | null): OpenSeedError {
  return new OpenSeedError('payment_refused', {
    message: `${sellerUrl} refused the payment: ${reason}.`,
    hint: `openseed channels show ${id}`,
    details: { reason, charged },
  })
}

/** Only the offer that was signed is paid: what a refusal demands instead is looked at with the seller's next terms. */
function priceChanged(
  { sellerUrl, id }: Channel,
  changed: 'offer' | 'amount',
  reason: string,
  charged: string | null,
): OpenSeedError {
  return new OpenSeedError('payment_refused', {
    message: `${sellerUrl} refused the payment under its own signed offer and asks for another ${changed === 'offer' ? 'offer' : 'price'} (${reason}).`,
    hint: `openseed channels show ${id}`,
    details: { reason, changed, charged },
  })
}
