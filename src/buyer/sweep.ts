/**
 * Takes everything back that is not spent: finds the wallet's channels on the chain, decides for each what brings the
 * money home, and does it. Every step can be cut off and begun again: the chain and the outbox say what was done.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { asOpenSeedError, hasCode, type OpenSeedError } from '../base/errors.ts'
import type { ChannelOnChain } from '../chain/escrow.ts'
import type { Outbox } from '../chain/outbox.ts'
import type { Usdc } from '../wire/amount.ts'
import type { ChannelConfig } from '../wire/channel.ts'
import type { Address, Hex } from '../wire/hex.ts'
import type { SellerTerms } from '../wire/terms.ts'
import type { Channel } from './channel.ts'
import type { ChannelFinder } from './channel-finder.ts'
import { resolveDeposit } from './funding.ts'
import { refund, resolveRefund, type RefundParts } from './refund.ts'
import { resync, type ResyncParts } from './resync.ts'
import { planSweep, type SweepStep } from './sweep-plan.ts'
import { finalizeWithdraw, initiateWithdraw } from './withdraw.ts'

export interface SweepParts extends RefundParts, ResyncParts {
  outbox: Outbox
  finder: ChannelFinder
  payer: Address
  /** Sellers that can be asked, with who is paid there. Asked anew each time: more may be found. */
  sellers: () => readonly KnownPlace[]
  /** The full terms of those that answered; their channels are looked up by salt. */
  terms: () => readonly { url: string; terms: SellerTerms }[]
  /** Whether more sellers may become known. */
  isLooking: () => boolean
}

export interface KnownPlace {
  url: string
  payTo: Address
  authorizer: Address
}

/** One channel with money in it, and what is to be done about it. */
export interface SweepItem {
  id: Hex
  config: ChannelConfig
  /** null for one that another program made */
  channel: Channel | null
  seller: string | null
  step: SweepStep
}

export type SweepResult =
  | { kind: 'refunded' | 'withdrawn'; amount: Usdc; transaction: string | null }
  /** `because`: why the seller did not give it back at once; null when it was not asked */
  | {
      kind: 'withdrawing'
      amount: Usdc
      transaction: string | null
      unlocksAtSec: number
      because: string | null
    }
  | { kind: 'waiting'; amount: Usdc; untilSec: number }
  | { kind: 'left' }
  /** It may or may not have happened; the next sweep looks. */
  | { kind: 'unknown'; error: OpenSeedError }
  | { kind: 'failed'; error: OpenSeedError }

// Lost state is known again this long after nothing forgotten can be admitted any more.
const settleWithinMs = 30_000

/** What there is to do now, channels with nothing left out. Throws `chain_…`, `store_…`. */
export async function planAll(
  parts: SweepParts,
  others: readonly ChannelConfig[],
  options: { foreign: boolean },
): Promise<SweepItem[]> {
  const own = parts.book.all()
  for (const channel of own) await settle(channel, parts)
  const strangers = others
    .map((config) => ({ id: parts.digests.channelId(config), config, channel: null }))
    .filter(({ id }) => parts.book.find(id) === undefined)
  const candidates = [
    ...own.map((channel) => ({ id: channel.id, config: channel.config, channel })),
    ...strangers,
  ]
  const nowSec = await chainTime(parts)
  const chain = await parts.escrow.channels(candidates.map(({ id }) => id))
  const items = candidates.map((candidate, at) => {
    const seller = candidate.channel === null ? null : placeOf(candidate.channel, parts)
    return { ...candidate, seller, step: stepOf(candidate, chain[at]!, { seller, nowSec }, options) }
  })
  return items.filter(({ step }) => step.kind !== 'nothing')
}

/** Does one step, decided on anew from what is known now. Never rejects unless the signal is aborted. */
export async function sweepOne(
  item: SweepItem,
  parts: SweepParts,
  options: { foreign: boolean },
  signal: AbortSignal,
): Promise<SweepResult> {
  try {
    if (item.channel !== null) await settle(item.channel, parts)
    const chain = await parts.escrow.channel(item.id)
    const nowSec = await chainTime(parts)
    const step = stepOf(item, chain, { seller: item.seller, nowSec }, options)
    return await perform(item, step, parts, signal)
  } catch (thrown) {
    signal.throwIfAborted()
    const error = asOpenSeedError(thrown)
    // Without an answer of the chain a transaction that was sent may be mined yet; the outbox goes on with it.
    return { kind: hasCode(error, 'chain_unavailable') ? 'unknown' : 'failed', error }
  }
}

async function perform(
  item: SweepItem,
  step: SweepStep,
  parts: SweepParts,
  signal: AbortSignal,
): Promise<SweepResult> {
  switch (step.kind) {
    case 'nothing':
    case 'foreign':
      return { kind: 'left' }
    case 'wait':
    case 'later':
      return { kind: 'waiting', amount: step.amount, untilSec: step.untilSec }
    case 'finalize': {
      const { amount, transaction } = await finalizeWithdraw(ownChannel(item, parts), parts)
      return { kind: 'withdrawn', amount, transaction }
    }
    case 'withdraw':
      return withdraw(ownChannel(item, parts), parts, null)
    default:
      return takeBack(ownChannel(item, parts), step.seller, parts, signal)
  }
}

/** Asks the seller; begins a withdrawal where it cannot or will not. */
async function takeBack(
  channel: Channel,
  seller: string,
  parts: SweepParts,
  signal: AbortSignal,
): Promise<SweepResult> {
  channel.sellerUrl = seller
  try {
    return { kind: 'refunded', ...(await askUntilSettled(channel, parts, signal)) }
  } catch (thrown) {
    signal.throwIfAborted()
    const error = asOpenSeedError(thrown)
    if (error.code.startsWith('chain_') || error.code.startsWith('store_')) throw error
    if (channel.refunding > 0n) return { kind: 'unknown', error }
    return withdraw(channel, parts, error.message)
  }
}

async function askUntilSettled(channel: Channel, parts: SweepParts, signal: AbortSignal) {
  await compareNotes(channel, parts, signal)
  const lateAtMs = performance.now() + parts.requestTtlSec * 1000 + settleWithinMs
  for (;;) {
    try {
      if (channel.lostAtSec !== null) await resync(channel, parts, signal)
      return await refund(channel, undefined, parts, signal)
    } catch (thrown) {
      const retryAfterSec = hasCode(thrown, 'money_outcome_unknown')
        ? Number(thrown.details?.['retryAfterSec'])
        : NaN
      const isOver = !(performance.now() + retryAfterSec * 1000 < lateAtMs)
      if (isOver || channel.refunding > 0n) throw thrown
      await sleep(retryAfterSec * 1000, undefined, { signal })
    }
  }
}

/** Nobody waits for the state of a channel whose seller does not answer; and a store from a backup shows here. */
async function compareNotes(channel: Channel, parts: SweepParts, signal: AbortSignal): Promise<void> {
  const { book, outcomes, now } = parts
  const mayGoOn = (thrown: unknown) =>
    channel.lostAtSec === null && (hasCode(thrown, 'channel_not_found') || hasCode(thrown, 'seller_failed'))
  const reply = await outcomes.ask(channel, signal).catch((thrown: unknown) => {
    // A seller without this question, or one that lost its own notes, may still pay back.
    if (mayGoOn(thrown)) return null
    throw thrown
  })
  if (reply === null || channel.lostAtSec !== null || reply.charged <= channel.ledger.charged) return
  await book.fresh(channel)
  await book.markLost(channel, Math.floor(now() / 1000))
}

async function withdraw(channel: Channel, parts: SweepParts, because: string | null): Promise<SweepResult> {
  const { amount, transaction, unlocksAtSec } = await initiateWithdraw(channel, parts)
  return { kind: 'withdrawing', amount, transaction, unlocksAtSec: unlocksAtSec ?? 0, because }
}

/** Learns from the chain what became of what was signed and sent earlier. */
async function settle(channel: Channel, parts: SweepParts): Promise<void> {
  if (channel.deposit !== null) await resolveDeposit(channel, parts)
  if (channel.refunding > 0n) await resolveRefund(channel, parts)
}

function stepOf(
  { channel, config }: Pick<SweepItem, 'channel' | 'config'>,
  chain: ChannelOnChain,
  { seller, nowSec }: { seller: string | null; nowSec: number },
  options: { foreign: boolean },
): SweepStep {
  const known =
    channel === null
      ? null
      : {
          charged: channel.ledger.charged,
          refunding: channel.refunding,
          depositUntilSec: channel.deposit?.authorization.validBefore ?? null,
          refundable: channel.state === 'open' || channel.state === 'distrusted',
        }
  return planSweep({ chain, withdrawDelay: config.withdrawDelay, nowSec, known, seller }, options)
}

/** Money is bound to who is paid and who signs; where that is now, the newest word says. */
export function placeOf({ config, sellerUrl }: Channel, { sellers }: SweepParts): string | null {
  const place = sellers().find(
    ({ payTo, authorizer }) => payTo === config.receiver && authorizer === config.receiverAuthorizer,
  )
  return place?.url ?? (sellerUrl === '' ? null : sellerUrl)
}

/** Another program's channel is taken in as one that is being withdrawn: nothing is ever paid from it here. */
function ownChannel({ id, config, channel }: SweepItem, { book }: SweepParts): Channel {
  const known = channel ?? book.find(id)
  if (known !== undefined) return known
  const added = book.add({ id, config, index: 0, sellerUrl: '' })
  added.state = 'withdrawing'
  return added
}

const chainTime = async ({ escrow, now }: SweepParts) =>
  Math.max((await escrow.head()).timestampSec, Math.floor(now() / 1000))
