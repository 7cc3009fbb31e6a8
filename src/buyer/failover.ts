/** Around the attempt at one seller: which failures may try the next one. Only before the first byte of a reply. */
import { asOpenSeedError, OpenSeedError } from '../base/errors.ts'
import type { ErrorCode } from '../base/error-codes.ts'
import type { SellerReport } from './health.ts'
import type { Route } from './route.ts'

/**
 * Failures that are the seller's, or between us and it: another seller may do better. Nothing was charged, or it is
 * unknown and counted at its full ceiling until it is known. Where our own view of the chain keeps a deposit from being
 * signed, one that holds a deposit needs none. All else is about the request or our own means.
 */
const anotherMayDoBetter: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'chain_mismatch',
  'chain_stale',
  'chain_unavailable',
  'channel_underfunded',
  'charge_refused',
  'engine_failed',
  'engine_stream_broken',
  'engine_timeout',
  'engine_unavailable',
  'invalid_message',
  'model_not_found',
  'money_outcome_unknown',
  'no_seller',
  'payment_refused',
  'rate_limit_exceeded',
  'seller_failed',
  'seller_stream_broken',
  'seller_timeout',
  'seller_unreachable',
  'settlement_overdue',
  'shutting_down',
])

/** Failures that say something about the seller's health, not about our means. */
const sellersFault: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'charge_refused',
  'engine_failed',
  'engine_stream_broken',
  'engine_timeout',
  'engine_unavailable',
  'invalid_message',
  'model_not_found',
  'money_outcome_unknown',
  'payment_refused',
  'seller_failed',
  'seller_stream_broken',
  'seller_timeout',
  'seller_unreachable',
  'settlement_overdue',
  'shutting_down',
])

interface FailoverParts {
  /** Tells the market how a seller did. */
  report: (sellerUrl: string, report: SellerReport) => void
  /** Sellers asked for one request, at most. */
  maxAttempts: number
}

/** Tries the routes in order. `attempts` tells how many sellers were asked. Throws one error that names them all. */
export async function withFailover<R extends Pick<Route, 'sellerUrl'>, T>(
  routes: readonly R[],
  attempt: (route: R, signal: AbortSignal) => Promise<T>,
  { report, maxAttempts }: FailoverParts,
  signal: AbortSignal,
): Promise<{ result: T; attempts: number }> {
  const failures: Failure[] = []
  for (const route of routes.slice(0, maxAttempts)) {
    try {
      const result = await attempt(route, signal)
      report(route.sellerUrl, { kind: 'ok' })
      return { result, attempts: failures.length + 1 }
    } catch (thrown) {
      const error = asOpenSeedError(thrown)
      // Whoever called it off, it says nothing about the seller.
      if (!signal.aborted) reportFailure(route.sellerUrl, error, report)
      failures.push({ sellerUrl: route.sellerUrl, error })
      if (signal.aborted || !anotherMayDoBetter.has(error.code)) break
    }
  }
  throw summarise(failures)
}

interface Failure {
  sellerUrl: string
  error: OpenSeedError
}

function reportFailure(sellerUrl: string, error: OpenSeedError, report: FailoverParts['report']): void {
  if (error.code === 'rate_limit_exceeded') {
    report(sellerUrl, { kind: 'busy', retryAfterMs: retryAfterSec(error) * 1000 })
  } else if (sellersFault.has(error.code)) {
    report(sellerUrl, { kind: 'failed' })
  }
}

function summarise(failures: readonly Failure[]): OpenSeedError {
  const last = failures.at(-1)
  if (last === undefined)
    return new OpenSeedError('no_seller', { message: 'No seller can take the request.' })
  const tried = failures.map(({ sellerUrl, error }) => ({ seller: sellerUrl, code: error.code }))
  // What somebody can do something about says more than that others were down.
  const { error, sellerUrl } = failures.find((failure) => !failure.error.meaning.retryable) ?? last
  const others = tried.filter(({ seller }) => seller !== sellerUrl)
  const alsoTried =
    others.length === 0
      ? ''
      : ` Also tried: ${others.map(({ seller, code }) => `${seller} (${code})`).join(', ')}.`
  return new OpenSeedError(error.code, {
    message: error.message + alsoTried,
    hint: error.hint,
    details: {
      ...error.details,
      ...moneyOf(failures),
      ...waitOf(failures),
      seller: sellerUrl,
      attempts: tried.length,
      tried,
    },
    cause: error,
  })
}

// One attempt whose charge is unknown makes it unknown what the whole request cost.
function moneyOf(failures: readonly Failure[]): { charged?: string | null } {
  const charges = failures
    .map(({ error }) => error.details?.['charged'])
    .filter((charged) => charged !== undefined)
  if (charges.length === 0) return {}
  if (!charges.every((charged) => typeof charged === 'string')) return { charged: null }
  return { charged: charges.reduce((sum, charged) => sum + BigInt(charged), 0n).toString() }
}

function waitOf(failures: readonly Failure[]): { retryAfterSec?: number } {
  const busy = failures.filter(({ error }) => error.code === 'rate_limit_exceeded')
  return busy.length === 0
    ? {}
    : { retryAfterSec: Math.min(...busy.map(({ error }) => retryAfterSec(error))) }
}

function retryAfterSec(error: OpenSeedError): number {
  const wait = error.details?.['retryAfterSec']
  return typeof wait === 'number' && wait > 0 ? wait : 1
}
