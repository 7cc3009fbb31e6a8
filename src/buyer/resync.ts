/**
 * A buyer whose store knows less than it signed: nothing is signed until the seller's account of the channel is
 * proven by the buyer's own signature and nothing that was forgotten can be admitted any more.
 */
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { ChannelOnChain, Escrow } from '../chain/escrow.ts'
import type { BuyerRequestRow } from '../store/rows.ts'
import type { Curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import type { Hex } from '../wire/hex.ts'
import type { StatusReply } from '../wire/status.ts'
import { outcomesUnknown } from './caps.ts'
import type { Channel } from './channel.ts'
import type { ChannelBook } from './channel-book.ts'
import { unknownOffer } from './judge-receipt.ts'
import { adoptSnapshot, judgeSnapshot } from './ledger.ts'
import type { Outcomes } from './outcomes.ts'

export interface ResyncParts {
  book: ChannelBook
  outcomes: Outcomes
  escrow: Escrow
  digests: Digests
  curve: Curve
  /** How long after its signature a request may be admitted. */
  requestTtlSec: number
  now: Clock
  log: Log
}

/**
 * Returns when the channel's state is known again. Throws `money_outcome_unknown` while it is too early or something
 * is open, `payment_refused` when the seller's account is not proven, and what the connection and the chain throw.
 */
export function resync(channel: Channel, parts: ResyncParts, signal: AbortSignal): Promise<void> {
  channel.resyncing ??= adopt(channel, parts, signal).finally(() => (channel.resyncing = null))
  return channel.resyncing
}

async function adopt(channel: Channel, parts: ResyncParts, signal: AbortSignal): Promise<void> {
  const { book, outcomes, escrow, requestTtlSec, now, log } = parts
  const lostAtSec = channel.lostAtSec
  if (lostAtSec === null) return
  const times = () => ({ lostAtSec, ttlSec: requestTtlSec, nowSec: Math.floor(now() / 1000) })
  const early = lostAtSec + requestTtlSec - times().nowSec
  if (early >= 0)
    throw stillUnknown(channel, early + 1, 'what was signed before the store was lost may still run')
  const reply = await outcomes.ask(channel, signal)
  const onChain = await escrow.channel(channel.id)
  if (!isProven(channel, reply, onChain, parts)) throw unproven(channel)
  const open = reply.finals.flatMap((final) => (final.state === 'open' ? [final] : []))
  const known = await Promise.all(open.map(({ id }) => book.knows(channel, id)))
  if (known.some(Boolean) && channel.ledger.open.size === 0) throw unproven(channel)
  await book.fresh(channel)
  const snapshot = { charged: reply.charged, signed: reply.signed, open }
  const verdict = judgeSnapshot(channel.ledger, snapshot, times())
  if (channel.ledger.open.size > 0) throw stillUnknown(channel, 5, 'requests of this buyer are open there')
  if (verdict.kind !== 'adopt') throw unproven(channel)
  const before = channel.ledger.signed
  adoptSnapshot(channel.ledger, snapshot, times().nowSec)
  if (channel.ledger.signed > before || channel.signature === null)
    channel.signature = reply.signature ?? null
  channel.ledger.balance = onChain.balance - channel.refunding
  if (onChain.withdrawInitiatedAtSec > 0) channel.state = 'withdrawing'
  await book.adoptRows(
    channel,
    open.map((final) => forgottenRow(channel, final, now())),
  )
  outcomes.resolve(channel)
  log.info(
    { channel: channel.id, charged: reply.charged.toString() },
    'the state of the channel is known again',
  )
}

/** What the seller states is backed by a signature of this buyer, or by claims on the chain. */
function isProven(
  channel: Channel,
  reply: StatusReply,
  { totalClaimed, balance }: ChannelOnChain,
  { digests, curve }: ResyncParts,
): boolean {
  const { charged, held, signed, signature, finals } = reply
  const openSum = finals.reduce((sum, final) => sum + (final.state === 'open' ? final.ceiling : 0n), 0n)
  if (openSum !== held || charged + held > signed || charged < totalClaimed || totalClaimed > balance)
    return false
  if (signature === undefined) return signed <= totalClaimed
  return curve.recover(digests.voucher(channel.id, signed), signature) === channel.config.payerAuthorizer
}

function forgottenRow(
  { id: channelId, sellerUrl }: Channel,
  { id, ceiling }: { id: Hex; ceiling: bigint },
  nowMs: number,
): BuyerRequestRow {
  return {
    channelId,
    id,
    sellerUrl,
    model: '',
    offerHash: unknownOffer,
    bodyHash: unknownOffer,
    ceiling,
    admitBySec: Math.floor(nowMs / 1000),
    signature: null,
    openedAtMs: nowMs,
    state: 'open',
    charged: 0n,
    receipt: null,
    outcome: null,
    closedAtMs: null,
  }
}

const stillUnknown = (channel: Channel, retryAfterSec: number, why: string) =>
  outcomesUnknown(channel.sellerUrl, retryAfterSec, why)

function unproven(channel: Channel): OpenSeedError {
  return new OpenSeedError('payment_refused', {
    message: `${channel.sellerUrl} states a channel balance that it cannot prove; nothing is paid to it.`,
    hint: `Take the money back without it: openseed channels withdraw ${channel.id}`,
  })
}
