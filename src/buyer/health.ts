/** How a seller behaved lately: whom to ask later, and when. Pure. */

export interface SellerHealth {
  /** In a row. */
  failures: number
  /** Asked only when nobody else is left, until then. */
  coolUntilMs: number
  /** It failed, and nobody has heard of it since: others go first, however long ago that was. */
  isSilent?: true
  /** It has answered a request. */
  hasServed?: true
  /** Requests that it called wrong. */
  refusals?: number
}

/** `heard`: it answered, if not to a paid request. `refused`: it says that the request itself is wrong. */
export type SellerReport =
  | { kind: 'ok' }
  | { kind: 'refused' }
  | { kind: 'heard' }
  | { kind: 'failed' }
  | { kind: 'busy'; retryAfterMs: number }

export const freshHealth: SellerHealth = { failures: 0, coolUntilMs: 0 }

const firstCoolDownMs = 1000
const longestCoolDownMs = 60_000
// A seller may be busy for long, but a wrong header must not lose it for a day.
const longestBusyMs = 600_000
// A client may well send a few wrong requests first.
const refusalsBelieved = 3

/** Whether somebody else is to be asked too: it has called every request wrong until now. */
export function isDoubtful({ hasServed, refusals = 0 }: SellerHealth): boolean {
  return hasServed !== true && refusals >= refusalsBelieved
}

export function afterReport(health: SellerHealth, report: SellerReport, nowMs: number): SellerHealth {
  if (report.kind === 'ok') return { ...freshHealth, hasServed: true }
  if (report.kind === 'refused') return { ...health, refusals: (health.refusals ?? 0) + 1 }
  if (report.kind === 'heard') {
    const { isSilent: _, ...heard } = health
    return heard
  }
  if (report.kind === 'busy') {
    const busyMs = Math.min(Math.max(report.retryAfterMs, firstCoolDownMs), longestBusyMs)
    // Busy is no fault: it does not lengthen later cool-downs.
    return { ...health, coolUntilMs: Math.max(health.coolUntilMs, nowMs + busyMs) }
  }
  // Requests that ran side by side fail side by side: that is one failure.
  if (health.coolUntilMs > nowMs) return health
  const coolDownMs = Math.min(firstCoolDownMs * 2 ** health.failures, longestCoolDownMs)
  return { ...health, failures: health.failures + 1, coolUntilMs: nowMs + coolDownMs, isSilent: true }
}
