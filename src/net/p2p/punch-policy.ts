/** Where a peer's word may send us: to itself, and not often. */
import { judgeIp } from '../../wire/address-policy.ts'
import type { Endpoint } from './nat-type.ts'
import { PeerRates } from './peer-limits.ts'

export interface PunchPolicy {
  /** Whether to knock there now. Counts it. */
  admits(at: Endpoint): boolean
}

// NATs give ports from here on; below it services listen that no stranger should make us touch.
const lowestPort = 1_024

export function openPunchPolicy(allowPrivate: boolean, nowMs?: () => number): PunchPolicy {
  // A knock is at most four packets.
  const ofPort = new PeerRates(2 / 60, 2, nowMs)
  const ofIp = new PeerRates(10 / 60, 10, nowMs)
  const ofAll = new PeerRates(4, 120, nowMs)
  return {
    admits({ ip, port }) {
      const verdict = judgeIp(ip)
      if (verdict === 'refused' || (verdict === 'private' && !allowPrivate) || port < lowestPort) return false
      return ofPort.take(`${ip} ${port}`) && ofIp.take(ip) && ofAll.take('all')
    },
  }
}
