/** Around the attempt at one seller: which failures may try the next one. Only before the first byte of a reply. */
import { asOpenSeedError, OpenSeedError } from '../base/errors.ts'
import type { ErrorCode } from '../base/error-codes.ts'
import type { Usdc } from '../wire/amount.ts'
import type { Ceiling } from '../wire/ceiling.ts'
import type { SellerReport } from './health.ts'

/**
 * Failures that are the seller's, or between us and it: another seller may do better. Nothing was charged, or it is
 * unknown and counted at its full ceiling until it is known, also against what this one request may cost. Where the
 * wallet, a cap or our view of the chain keeps a deposit from being signed, another seller needs a smaller one, or
 * holds one already. All else is about the request or about ourselves.
 */
const anotherMayDoBetter: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'balance_insufficient',
  'budget_exceeded',
  'chain_mismatch',
  'chain_stale',
  'chain_unavailable',
  'channel_underfunded',
  'charge_refused',
  'clock_skewed',
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

/** Failures that end an attempt before the seller is asked: they leave the others their turn. */
const ourMeans: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['balance_insufficient', 'budget_exceeded'])

/** Failures after which sellers come first that need no deposit. */
const noDeposit: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  ...ourMeans,
  'chain_mismatch',
  'chain_stale',
  'chain_unavailable',
])

const aboutRequest: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'body_too_large',
  'invalid_json',
  'invalid_request',
])

// Each of them may have asked the chain.
const mostTried = 8

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

interface FailoverParts<W> {
  /** Tells the market how a seller did. */
  report: (sellerUrl: string, report: SellerReport) => void
  /** Sellers asked for one request, at most. */
  maxAttempts: number
  /** What all attempts together may cost. */
  cap: Usdc
  /** Whether what is deposited there pays for the request. */
  isFunded: (way: W) => boolean
  /** Whether its word alone, that the request is wrong, is not believed. */
  isDoubted: (sellerUrl: string) => boolean
}

/** Where a seller can be asked; `ceiling` is absent where only the seller itself says what it costs. */
interface Way {
  sellerUrl: string
  ceiling?: Pick<Ceiling, 'amount'>
}

/** Asks one seller; `left` of the cap is what it may cost. */
type Attempt<W, T> = (way: W, left: Usdc, signal: AbortSignal) => Promise<T>

interface Tried<T> {
  result: T
  /** How many sellers were asked. */
  attempts: number
  /** What the failed attempts cost; null when one of them does not know. */
  lost: Usdc | null
}

/** Tries the ways in order, those that the cap still allows. Throws one error that names all that were tried. */
export async function withFailover<W extends Way, T>(
  ways: readonly W[],
  attempt: Attempt<W, T>,
  { report, maxAttempts, cap, isFunded, isDoubted }: FailoverParts<W>,
  signal: AbortSignal,
): Promise<Tried<T>> {
  const failures: Failure[] = []
  let rest = [...ways]
  let asked = 0
  let left = cap
  let doubted: string | null = null
  for (;;) {
    const way = rest.shift()
    if (way === undefined || asked === maxAttempts || failures.length === mostTried) break
    if (failures.length > 0 && (way.ceiling?.amount ?? 1n) > left) continue
    try {
      const result = await attempt(way, left, signal)
      report(way.sellerUrl, { kind: 'ok' })
      if (doubted !== null) report(doubted, { kind: 'failed' })
      const { charged = '0' } = moneyOf(failures)
      return { result, attempts: failures.length + 1, lost: charged === null ? null : BigInt(charged) }
    } catch (thrown) {
      const error = asOpenSeedError(thrown)
      // Whoever called it off, it says nothing about the seller.
      if (!signal.aborted) reportFailure(way.sellerUrl, error, report)
      failures.push({ sellerUrl: way.sellerUrl, error })
      // Once: what two call wrong is wrong.
      const isDoubtful: boolean = callsWrong(error) && doubted === null && isDoubted(way.sellerUrl)
      if (isDoubtful) doubted = way.sellerUrl
      if (signal.aborted || !(isDoubtful || anotherMayDoBetter.has(error.code))) break
      if (!ourMeans.has(error.code)) asked += 1
      if (noDeposit.has(error.code)) rest = rest.toSorted((a, b) => Number(isFunded(b)) - Number(isFunded(a)))
      left -= atMost(error, way.ceiling?.amount ?? left)
    }
  }
  throw summarise(failures)
}

/** What a failed attempt may have cost. */
function atMost(error: OpenSeedError, ceiling: Usdc): Usdc {
  const charged = error.details?.['charged']
  if (charged === undefined) return 0n
  return typeof charged === 'string' ? BigInt(charged) : ceiling
}

interface Failure {
  sellerUrl: string
  error: OpenSeedError
}

function reportFailure(
  sellerUrl: string,
  error: OpenSeedError,
  report: FailoverParts<never>['report'],
): void {
  if (error.code === 'rate_limit_exceeded') {
    report(sellerUrl, { kind: 'busy', retryAfterMs: retryAfterSec(error) * 1000 })
  } else if (sellersFault.has(error.code)) {
    report(sellerUrl, { kind: 'failed' })
  } else if (callsWrong(error)) {
    report(sellerUrl, { kind: 'refused' })
  }
}

/** It is the seller that says so, and not this node. */
function callsWrong({ code, details }: OpenSeedError): boolean {
  return aboutRequest.has(code) && typeof details?.['status'] === 'number'
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
