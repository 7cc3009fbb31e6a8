/**
 * The buyer's mirror of a channel: never below the seller's truth, so that what it signs always covers what runs.
 * Decisions are pure; transitions change the ledger they are given and nothing else. The rules are
 * docs/protocol/02-admission.md; `channel-book.ts` makes them durable.
 */
import type { Usdc } from '../wire/amount.ts'
import type { Hex } from '../wire/hex.ts'

export interface UnknownOutcome {
  readonly ceiling: Usdc
  readonly admitBySec: number
  /** false while the request runs; true once its reply ended without a final */
  lost: boolean
}

export interface BuyerLedger {
  /** confirmed deposits - refunds asked for - withdrawals */
  balance: Usdc
  /** sum of the charges of known finals */
  charged: Usdc
  /** the highest voucher ever signed */
  signed: Usdc
  /** the highest cumulative that a receipt of the seller proves */
  proven: Usdc
  /** requests without a final, each counted at its full ceiling */
  readonly open: Map<Hex, UnknownOutcome>
}

export interface BuyerLimits {
  /** cap on signed - charged: what a dishonest seller could take */
  maxExposure: Usdc
  /** cap on the sum of ceilings whose outcome is unknown */
  maxUnresolved: Usdc
}

const max = (a: Usdc, b: Usdc): Usdc => (a > b ? a : b)

/** Upper bound of what the seller may have charged and hold now. */
export function mirror(ledger: BuyerLedger): Usdc {
  let sum = ledger.charged
  for (const row of ledger.open.values()) sum += row.ceiling
  return sum
}

export function unresolved(ledger: BuyerLedger): Usdc {
  let sum = 0n
  for (const row of ledger.open.values()) if (row.lost) sum += row.ceiling
  return sum
}

export type VoucherPlan =
  /** `fresh` false: the stored highest voucher covers it and is sent again. */
  | { kind: 'voucher'; amount: Usdc; fresh: boolean }
  | { kind: 'underfunded'; missing: Usdc }
  | { kind: 'refuse'; reason: 'unresolved' | 'exposure' }

/** Chooses the voucher that pays for a request of at most `ceiling`. */
export function planVoucher(ledger: BuyerLedger, ceiling: Usdc, limits: BuyerLimits): VoucherPlan {
  if (unresolved(ledger) > limits.maxUnresolved) return { kind: 'refuse', reason: 'unresolved' }
  const needed = mirror(ledger) + ceiling
  if (needed > ledger.balance) return { kind: 'underfunded', missing: needed - ledger.balance }
  if (needed <= ledger.signed && ledger.signed <= ledger.balance) {
    return { kind: 'voucher', amount: ledger.signed, fresh: false }
  }
  if (max(ledger.signed, needed) - ledger.charged > limits.maxExposure)
    return { kind: 'refuse', reason: 'exposure' }
  return { kind: 'voucher', amount: needed, fresh: true }
}

/** A request is open from the moment its voucher is stored, before anything is sent. */
export function openRequest(
  ledger: BuyerLedger,
  id: Hex,
  request: { ceiling: Usdc; admitBySec: number; voucher: Usdc },
): void {
  ledger.signed = max(ledger.signed, request.voucher)
  ledger.open.set(id, { ceiling: request.ceiling, admitBySec: request.admitBySec, lost: false })
}

/** The reply ended, or the process died, without a final. */
export function loseRequest(ledger: BuyerLedger, id: Hex): void {
  const row = ledger.open.get(id)
  if (row !== undefined) row.lost = true
}

/**
 * Books a final and returns what it cost; null (and nothing changes) for an id that is not open or a charge above what
 * was agreed. A seller restored from an old backup closes an id it forgot at 0 while other receipts still contain its
 * charge: then the id costs what they prove, at most its ceiling.
 */
export function bookFinal(ledger: BuyerLedger, id: Hex, charged: Usdc, cumulative: Usdc): Usdc | null {
  const row = ledger.open.get(id)
  if (row === undefined || charged > row.ceiling) return null
  ledger.open.delete(id)
  ledger.proven = max(ledger.proven, cumulative)
  const unexplained = ledger.proven - mirror(ledger)
  const cost = max(charged, unexplained < row.ceiling ? unexplained : row.ceiling)
  ledger.charged += cost
  return cost
}

/** A refund is subtracted when it is asked for: what may be gone must not be signed for. */
export function askRefund(ledger: BuyerLedger, amount: Usdc): void {
  ledger.balance -= amount
}

export interface ChannelSnapshot {
  charged: Usdc
  signed: Usdc
  open: readonly { id: Hex; ceiling: Usdc }[]
}

export type SnapshotVerdict = { kind: 'adopt' } | { kind: 'wait'; untilSec: number } | { kind: 'refuse' }

/**
 * A buyer that lost its store may adopt one snapshot, once nothing it forgot can be admitted any more: a request
 * signed before `lostAtSec` is dead `ttlSec` later. What it still knows must not be contradicted.
 */
export function judgeSnapshot(
  ledger: BuyerLedger,
  snapshot: ChannelSnapshot,
  times: { lostAtSec: number; ttlSec: number; nowSec: number },
): SnapshotVerdict {
  const untilSec = times.lostAtSec + times.ttlSec
  if (times.nowSec <= untilSec) return { kind: 'wait', untilSec }
  if (ledger.open.size > 0) return { kind: 'refuse' }
  if (snapshot.charged < ledger.charged || snapshot.charged > snapshot.signed) return { kind: 'refuse' }
  return { kind: 'adopt' }
}

export function adoptSnapshot(ledger: BuyerLedger, snapshot: ChannelSnapshot, admitBySec: number): void {
  ledger.charged = snapshot.charged
  ledger.proven = max(ledger.proven, snapshot.charged)
  ledger.signed = max(ledger.signed, snapshot.signed)
  for (const row of snapshot.open) ledger.open.set(row.id, { ceiling: row.ceiling, admitBySec, lost: true })
}
