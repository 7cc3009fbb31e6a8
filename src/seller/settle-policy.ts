/** Which channels to claim now, and in which batches. Pure. */
import { worthOfWei, type Usdc } from '../wire/amount.ts'
import type { ChannelConfig } from '../wire/channel.ts'
import type { Hex } from '../wire/hex.ts'
import type { Entry } from './channel-entry.ts'
import { claimable } from './ledger.ts'

export interface SettlePolicy {
  /** claim everything once this much is unclaimed over all channels */
  threshold: Usdc
  /** claim a channel whose oldest unclaimed charge is this old */
  intervalMs: number
  /** claim by value only what is at least this many times its gas */
  profitFactor: bigint
  /** what a whole coin (10^18 wei) of the chain's gas money is worth; 0 where gas costs nothing */
  coinPrice: Usdc
  /** the most gas that one transaction may be planned to use */
  maxBatchGas: number
}

/** How the owner's settings are completed where they say nothing. */
export const settleDefaults = {
  profitFactor: 10n,
  coinPrice: 0n,
  maxBatchGas: 4_000_000,
} satisfies Partial<SettlePolicy>

export interface ClaimOrder {
  channelId: Hex
  config: ChannelConfig
  maxClaimable: Usdc
  signature: Hex
  totalClaimed: Usdc
  /** the part of it that no earlier claim took */
  unclaimed: Usdc
}

/** `routine`: what the policy says; `leaving`: the process ends; `all`: the owner says so, whatever it costs. */
export type Occasion = 'routine' | 'leaving' | 'all'

// Measured: 19,400 for each row and 51,000 besides, the sweep included; a receiver's first sweep ever costs 34,000 more.
export const rowGas = 20_000
export const batchGas = 90_000

// Of the unsigned transaction, with numbers as long as they get.
const rowBytes = 480
const batchBytes = 450
const mostRows = 101

/** For how many bytes to ask what a chain takes for them: claims of one row and of many. */
export const claimSizes: readonly [number, number] = [batchBytes + rowBytes, batchBytes + mostRows * rowBytes]

export const gasOf = (rows: number): number => batchGas + rows * rowGas

/** What a claim would pay now, in wei: for each row, and for the transaction besides. */
export interface ClaimPrice {
  rowWei: bigint
  batchWei: bigint
}

export const freeOfCharge: ClaimPrice = { rowWei: 0n, batchWei: 0n }

/** `dataFees`: what the chain asks for as many bytes as `claimSizes` says. Between the two they rise evenly. */
export function claimPrice(weiPerGas: bigint, [one, many]: readonly [bigint, bigint]): ClaimPrice {
  const others = BigInt(mostRows - 1)
  const rise = many > one ? many - one : 0n
  const rowFee = (rise + others - 1n) / others
  const batchFee = one > rowFee ? one - rowFee : 0n
  return {
    rowWei: BigInt(rowGas) * weiPerGas + rowFee,
    batchWei: BigInt(batchGas) * weiPerGas + batchFee,
  }
}

/** What the channel can claim, or null when nothing is due. Measured on the chain: a reorg may undo a claim. */
export function claimOrder(entry: Entry): ClaimOrder | null {
  const { id: channelId, config, ledger, signature, claimedOnChain } = entry
  const totalClaimed = claimable(ledger)
  if (signature === null || totalClaimed <= claimedOnChain) return null
  const unclaimed = totalClaimed - claimedOnChain
  return { channelId, config, maxClaimable: ledger.signed, signature, totalClaimed, unclaimed }
}

export interface Moment {
  nowMs: number
  price: ClaimPrice
  occasion: Occasion
}

/**
 * Chooses the channels to claim, the urgent ones first. A pending withdrawal is urgent: after its delay the money is
 * gone. By value a claim must bring many times its gas (`profitFactor`); by age, before a withdrawal and when leaving it
 * must bring its gas, because dust that costs more than it brings would be a way to drain the seller.
 */
export function chooseClaims(entries: Iterable<Entry>, policy: SettlePolicy, moment: Moment): ClaimOrder[] {
  const { nowMs, occasion } = moment
  const { rowWei, batchWei } = moment.price
  const rowCost = worthOfWei(rowWei, policy.coinPrice)
  const costOf = (rows: number) => worthOfWei(batchWei + BigInt(rows) * rowWei, policy.coinPrice)
  const due: { entry: Entry; order: ClaimOrder }[] = []
  for (const entry of entries) {
    const order = claimOrder(entry)
    if (order !== null && (occasion === 'all' || order.unclaimed >= rowCost)) due.push({ entry, order })
  }
  const chosen = due
    .toSorted((a, b) => Number(isUrgent(b.entry)) - Number(isUrgent(a.entry)))
    .map(({ order }) => order)
  if (occasion === 'all') return chosen
  if (occasion === 'leaving') return valueOf(chosen) >= costOf(chosen.length) ? chosen : []

  const { profitFactor, threshold } = policy
  const rich = chosen.filter(({ unclaimed }) => unclaimed >= profitFactor * rowCost)
  const value = valueOf(rich)
  const isRich = value >= threshold && value >= profitFactor * costOf(rich.length)
  const byValue = new Set(isRich ? rich : [])
  const pressing = due
    .filter(({ entry }) => isUrgent(entry) || isOld(entry, policy, nowMs))
    .map(({ order }) => order)
  const isWorthIt = valueOf(pressing) >= costOf(pressing.length)
  // Beside a batch that goes out anyway a row costs its own gas alone.
  const byNeed = new Set(isRich || isWorthIt ? pressing : [])
  return chosen.filter((order) => byValue.has(order) || byNeed.has(order))
}

/** Cuts the chosen rows into transactions of at most `maxBatchGas`, in their order. */
export function intoBatches(orders: readonly ClaimOrder[], maxBatchGas: number): ClaimOrder[][] {
  const rows = Math.max(1, Math.floor((maxBatchGas - batchGas) / rowGas))
  const batches: ClaimOrder[][] = []
  for (let at = 0; at < orders.length; at += rows) batches.push(orders.slice(at, at + rows))
  return batches
}

export const valueOf = (orders: readonly ClaimOrder[]): Usdc =>
  orders.reduce((sum, { unclaimed }) => sum + unclaimed, 0n)

const isUrgent = (entry: Entry): boolean => entry.ledger.withdrawing > 0n
const isOld = (entry: Entry, { intervalMs }: SettlePolicy, nowMs: number): boolean =>
  entry.unclaimedSinceMs !== null && nowMs - entry.unclaimedSinceMs >= intervalMs
