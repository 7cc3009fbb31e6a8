/** What a stock seller states about a lane, against what this buyer signed. Pure. */
import type { Usdc } from '../wire/amount.ts'

export interface LaneFacts {
  /** what this buyer knows to be charged */
  charged: Usdc
  /** the ceiling of the one request whose outcome is unknown; null when there is none */
  lost: Usdc | null
}

/** How a reply's settlement splits between the request it is for and the one whose outcome was unknown. */
export type LaneCharge = { kind: 'booked'; charged: Usdc; lost: Usdc } | { kind: 'unclear' }

/** `cumulative` null where the seller did not state it. */
export function judgeCharge(
  { charged, lost }: LaneFacts,
  amount: Usdc,
  stated: { charged: Usdc; cumulative: Usdc | null },
): LaneCharge {
  if (stated.charged > amount) return { kind: 'unclear' }
  const cumulative = stated.cumulative ?? (lost === null ? charged + stated.charged : null)
  if (cumulative === null) return { kind: 'unclear' }
  const earlier = cumulative - charged - stated.charged
  if (earlier < 0n || earlier > (lost ?? 0n)) return { kind: 'unclear' }
  return { kind: 'booked', charged: stated.charged, lost: earlier }
}

export type LaneCorrection = { kind: 'adopt'; charged: Usdc } | { kind: 'refuse'; reason: string }

/**
 * A 402 that states another sum. A buyer that knows what it signed believes only what its one unknown request may have
 * cost. One that lost its store believes a sum between the chain's and the voucher that the seller can show.
 */
export function judgeCorrection(
  { charged, lost }: LaneFacts,
  stated: Usdc,
  forgotten: { totalClaimed: Usdc; proven: Usdc | null } | null,
): LaneCorrection {
  if (forgotten !== null) {
    const { totalClaimed, proven } = forgotten
    const most = proven ?? totalClaimed
    if (stated >= totalClaimed && stated <= most) return { kind: 'adopt', charged: stated }
    return { kind: 'refuse', reason: 'it states a sum that no signature of ours covers' }
  }
  if (lost === null) return { kind: 'refuse', reason: 'it states another sum than it said itself' }
  if (stated >= charged && stated <= charged + lost) return { kind: 'adopt', charged: stated }
  return { kind: 'refuse', reason: 'it states more than the request without an outcome may have cost' }
}
