/** Which channels to claim now (pure), and the loop that claims them: many channels in one transaction. */
import { setTimeout as wait } from 'node:timers/promises'
import { crashPoint } from '../base/crash.ts'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { Usdc } from '../wire/amount.ts'
import type { ChannelConfig } from '../wire/channel.ts'
import type { Hex } from '../wire/hex.ts'
import type { ChannelBook } from './channel-book.ts'
import type { ChainFacts, Entry } from './channel-entry.ts'
import { claimable } from './ledger.ts'

export interface SettlePolicy {
  /** claim everything once this much is unclaimed over all channels */
  threshold: Usdc
  /** claim a channel whose oldest unclaimed charge is this old */
  intervalMs: number
}

export interface ClaimOrder {
  channelId: Hex
  config: ChannelConfig
  maxClaimable: Usdc
  signature: Hex
  totalClaimed: Usdc
  /** the part of it that no earlier claim took */
  unclaimed: Usdc
}

// 45 rows cost about 1 million gas; a block takes far more, but a bad row undoes the whole batch.
const mostRows = 100

/** What the channel can claim, or null when nothing is due. */
export function claimOrder(entry: Entry): ClaimOrder | null {
  const { id: channelId, config, ledger, signature } = entry
  const totalClaimed = claimable(ledger)
  if (signature === null || totalClaimed <= ledger.totalClaimed) return null
  const unclaimed = totalClaimed - ledger.totalClaimed
  return { channelId, config, maxClaimable: ledger.signed, signature, totalClaimed, unclaimed }
}

/** Chooses the channels to claim. A pending withdrawal is urgent: after its delay the money is gone. */
export function chooseClaims(
  entries: Iterable<Entry>,
  policy: SettlePolicy,
  nowMs: number,
  all: boolean,
): ClaimOrder[] {
  const due: { entry: Entry; order: ClaimOrder }[] = []
  let unclaimed = 0n
  for (const entry of entries) {
    const order = claimOrder(entry)
    if (order === null) continue
    due.push({ entry, order })
    unclaimed += order.unclaimed
  }
  const everything = all || unclaimed >= policy.threshold
  return due
    .filter(({ entry }) => everything || isUrgent(entry) || isOld(entry, policy, nowMs))
    .toSorted((a, b) => Number(isUrgent(b.entry)) - Number(isUrgent(a.entry)))
    .map(({ order }) => order)
    .slice(0, mostRows)
}

const isUrgent = (entry: Entry): boolean => entry.ledger.withdrawing > 0n
const isOld = (entry: Entry, { intervalMs }: SettlePolicy, nowMs: number): boolean =>
  entry.unclaimedSinceMs !== null && nowMs - entry.unclaimedSinceMs >= intervalMs

export interface SettleParts {
  book: ChannelBook
  policy: SettlePolicy
  /** Claims the rows and sweeps to the receiver, in one transaction. Throws when the outcome is unknown. */
  sendClaims: (orders: ClaimOrder[]) => Promise<{ ok: boolean; reason?: string }>
  readChain: (ids: Hex[]) => Promise<ChainFacts[]>
  now: Clock
  log: Log
}

/** Claims what is due, batch after batch; returns how much reached the chain. */
export async function settleNow(parts: SettleParts, all: boolean): Promise<Usdc> {
  let moved = 0n
  for (;;) {
    const orders = chooseClaims(parts.book.entries(), parts.policy, parts.now(), all)
    if (orders.length === 0) return moved
    const claimed = await claimBatch(orders, parts)
    moved += claimed
    // A batch that moved nothing would be chosen again at once.
    if (claimed === 0n) return moved
  }
}

async function claimBatch(orders: ClaimOrder[], parts: SettleParts): Promise<Usdc> {
  crashPoint('seller.claim-chosen')
  const outcome = await parts.sendClaims(orders)
  crashPoint('seller.claim-sent')
  if (!outcome.ok) {
    if (orders.length === 1) {
      parts.log.error(
        { channel: orders[0]?.channelId, reason: outcome.reason },
        'a claim was refused by the chain',
      )
      return 0n
    }
    // One bad row undoes the whole batch: halve it until the bad one stands alone.
    const half = Math.ceil(orders.length / 2)
    return (await claimBatch(orders.slice(0, half), parts)) + (await claimBatch(orders.slice(half), parts))
  }
  return adoptClaims(orders, parts)
}

async function adoptClaims(orders: ClaimOrder[], parts: SettleParts): Promise<Usdc> {
  const facts = await parts.readChain(orders.map(({ channelId }) => channelId))
  let moved = 0n
  for (const [index, { channelId, totalClaimed, unclaimed }] of orders.entries()) {
    const entry = parts.book.find(channelId)
    const chain = facts[index]
    if (entry === undefined || chain === undefined) continue
    // Measured on the order: the watch may have booked the claim before us.
    if (chain.totalClaimed >= totalClaimed) moved += unclaimed
    await parts.book.adoptChain(entry, chain)
  }
  parts.log.info({ channels: orders.length, atomicUsdc: moved.toString() }, 'claimed')
  return moved
}

/** Settles whenever something is due, until the signal aborts. A failure is tried again at the next turn. */
export async function settleLoop(parts: SettleParts, everyMs: number, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await wait(everyMs, undefined, { signal, ref: false }).catch(() => undefined)
    if (signal.aborted) return
    await settleNow(parts, false).catch((error: unknown) => {
      parts.log.warn({ error }, 'settling failed; it is tried again')
    })
  }
}
