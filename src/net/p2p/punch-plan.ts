/** How two peers that meet over a relay can do without it. Pure. */
import { isIPv4 } from 'node:net'
import type { Endpoint, Nat } from './nat-type.ts'

/** `meet`: both connect at once. `reverse`: the one who was called calls back. */
export type PunchPlan = 'meet' | 'reverse'

/** What one side says of itself. */
export interface PunchSide {
  nat: Nat
  /** Where its connection will be seen to come from; null when it does not know. */
  from: Endpoint | null
  /** True when it listens where others get in, or could for a moment. */
  open: boolean
}

/**
 * What to try, one after the other; nothing where the relay stays. The caller opened the relayed connection (a buyer),
 * the called one answers (a seller), and is not reachable, or there would be no relay.
 */
export function plansFor(caller: PunchSide, called: PunchSide): PunchPlan[] {
  const plans: PunchPlan[] = []
  if (isOfOtherFamily(caller.from, called.from)) return plans
  if (canMeet(caller) && canMeet(called)) plans.push('meet')
  if (caller.open && caller.from !== null) plans.push('reverse')
  // Where IPv4 has no NAT only a firewall is in the way, and most who have none of the one have none of the other.
  const isBare = caller.nat === 'none' && called.nat === 'none' && isIPv4(caller.from?.ip ?? '')
  return isBare ? plans.toReversed() : plans
}

/** A symmetric NAT sends the next connection from a port that nobody can foretell. */
export function canMeet({ nat, from }: PunchSide): boolean {
  return from !== null && (nat === 'none' || nat === 'cone')
}

/** From IPv4 there is no way to IPv6. */
function isOfOtherFamily(one: Endpoint | null, other: Endpoint | null): boolean {
  return one !== null && other !== null && isIPv4(one.ip) !== isIPv4(other.ip)
}
