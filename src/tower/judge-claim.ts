/** When a tower claims. Pure. */
import type { ChannelOnChain } from '../chain/escrow.ts'
import type { Usdc } from '../wire/amount.ts'

export type ClaimVerdict =
  /** The chain has it; the claim is of no more use. */
  | { kind: 'done' }
  /** Nobody takes the money away. */
  | { kind: 'quiet' }
  /** A withdrawal is pending; until then the claim is the seller's. */
  | { kind: 'wait'; untilSec: number }
  | { kind: 'claim' }
  /** The channel no longer holds as much as was charged: the chain would refuse. */
  | { kind: 'short' }
  /** It brings less than its gas costs. */
  | { kind: 'poor' }

export interface ClaimMoment {
  nowSec: number
  /** Seconds that are left to the seller; null for a quarter of the withdraw delay. */
  headStartSec: number | null
  /** What a claim must bring. */
  least: Usdc
}

export function judgeClaim(
  held: { totalClaimed: Usdc; withdrawDelay: number },
  chain: Pick<ChannelOnChain, 'balance' | 'totalClaimed' | 'withdrawAmount' | 'withdrawInitiatedAtSec'>,
  { nowSec, headStartSec, least }: ClaimMoment,
): ClaimVerdict {
  if (held.totalClaimed <= chain.totalClaimed) return { kind: 'done' }
  if (chain.withdrawAmount === 0n) return { kind: 'quiet' }
  if (held.totalClaimed > chain.balance) return { kind: 'short' }
  if (held.totalClaimed - chain.totalClaimed < least) return { kind: 'poor' }
  const dueSec = chain.withdrawInitiatedAtSec + headStart(held.withdrawDelay, headStartSec)
  return nowSec < dueSec ? { kind: 'wait', untilSec: dueSec } : { kind: 'claim' }
}

// Half of the delay is left for the claim to be mined, whatever the owner says.
function headStart(withdrawDelay: number, wanted: number | null): number {
  return Math.min(wanted ?? Math.floor(withdrawDelay / 4), Math.floor(withdrawDelay / 2))
}

// Measured: 57,000 alone, 31,000 beside others, and 17,000 more for a receiver's first claim ever. Rounded up.
export const rowGas = 64_000

/** Of one claim's unsigned transaction: 760, and a little more for each of many. */
export const rowBytes = 800
