/** What is to be done to get the unspent money of one channel back. Pure; `sweep.ts` does it. */
import type { ChannelOnChain } from '../chain/escrow.ts'
import type { Usdc } from '../wire/amount.ts'

/** What the store knows of a channel that this wallet's keys pay from. */
export interface SweepKnowledge {
  charged: Usdc
  /** asked back, outcome unknown */
  refunding: Usdc
  /** the end of a deposit whose outcome is unknown; null when there is none */
  depositUntilSec: number | null
  /** whether its state lets a seller be asked */
  refundable: boolean
}

export interface SweepFacts {
  chain: ChannelOnChain
  withdrawDelay: number
  nowSec: number
  /** null for a channel that another program made with this wallet */
  known: SweepKnowledge | null
  /** where its seller is; null when nobody knows */
  seller: string | null
}

/** `amount` is the most that can come of it: what the seller charged but did not claim yet is not known to all. */
export type SweepStep =
  | { kind: 'nothing' }
  /** another program's: left alone unless asked for */
  | { kind: 'foreign'; amount: Usdc }
  /** a deposit may still arrive */
  | { kind: 'later'; amount: Usdc; untilSec: number }
  | { kind: 'refund'; amount: Usdc; seller: string }
  | { kind: 'withdraw'; amount: Usdc; untilSec: number }
  /** the withdrawal is announced and its delay runs */
  | { kind: 'wait'; amount: Usdc; untilSec: number }
  | { kind: 'finalize'; amount: Usdc }

export function planSweep(
  { chain, withdrawDelay, nowSec, known, seller }: SweepFacts,
  { foreign }: { foreign: boolean },
): SweepStep {
  const unclaimed = chain.balance - chain.totalClaimed
  if (chain.withdrawInitiatedAtSec > 0) {
    const amount = min(chain.withdrawAmount, unclaimed)
    const untilSec = chain.withdrawInitiatedAtSec + withdrawDelay
    // One that brings nothing any more only costs gas.
    if (amount === 0n) return { kind: 'nothing' }
    if (known === null && !foreign) return { kind: 'foreign', amount }
    return nowSec < untilSec ? { kind: 'wait', amount, untilSec } : { kind: 'finalize', amount }
  }
  const owed = known !== null && known.charged > chain.totalClaimed ? known.charged - chain.totalClaimed : 0n
  const amount = unclaimed - min(owed, unclaimed)
  if (known !== null && known.depositUntilSec !== null)
    return { kind: 'later', amount, untilSec: known.depositUntilSec }
  if (amount === 0n) return { kind: 'nothing' }
  if (known === null && !foreign) return { kind: 'foreign', amount }
  // A seller that was asked and stayed silent is not asked again: the two ways out never pay the same unit twice.
  if (known?.refundable === true && known.refunding === 0n && seller !== null)
    return { kind: 'refund', amount, seller }
  return { kind: 'withdraw', amount, untilSec: nowSec + withdrawDelay }
}

const min = (a: Usdc, b: Usdc): Usdc => (a < b ? a : b)
