/** How fast something may pass: a token bucket. Pure, with the time handed in. */
import type { Clock } from '../../base/clock.ts'

export interface Throttle {
  /** Lets that much pass and says how many milliseconds nothing more may; 0 while there is credit. */
  take(amount: number): number
}

export interface ThrottleOptions {
  perSec: number
  /** What may pass at once after a rest. */
  burst: number
  now: Clock
}

/**
 * Never splits what is taken: it may go into debt, which is waited off before the next. So of any stretch of time no
 * more passes than the burst, the rate times the time, and the last piece.
 */
export function openThrottle({ perSec, burst, now }: ThrottleOptions): Throttle {
  let credit = burst
  let countedAtMs = now()
  return {
    take(amount) {
      const nowMs = now()
      // A clock that was set back gives nothing, and takes nothing away.
      const earned = (Math.max(0, nowMs - countedAtMs) * perSec) / 1000
      credit = Math.min(burst, credit + earned) - amount
      countedAtMs = nowMs
      return credit >= 0 ? 0 : Math.ceil((-credit * 1000) / perSec)
    },
  }
}
