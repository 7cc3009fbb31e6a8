/**
 * The seller's side of a channel: what is charged, held and signed, and which request may still be admitted.
 * Decisions (`judge…`) are pure; transitions change the ledger they are given and nothing else. The rules are
 * docs/protocol/02-admission.md; `channel-book.ts` makes them durable.
 */
import type { Usdc } from '../wire/amount.ts'
import type { Hex } from '../wire/hex.ts'

export interface OpenRow {
  readonly ceiling: Usdc
  /** What the journal proves was produced so far, a lower bound of the cost; a restart closes the row at this. */
  meter: Usdc
}

export interface SellerLedger {
  /** deposits - refunds - withdrawals; claims do not lower it */
  balance: Usdc
  totalClaimed: Usdc
  /** cumulative charge of finished requests: never falls, never above `signed` */
  charged: Usdc
  /** the highest voucher held; never falls (after a refund it may exceed the balance) */
  signed: Usdc
  /** the cumulative this seller last stated to a stock client */
  told: Usdc
  /** amount of the refund being executed, else 0 */
  refunding: Usdc
  /** amount of the pending withdrawal, else 0 */
  withdrawing: Usdc
  /** a request to be admitted before this moment was signed before the last restart */
  admitFloorSec: number
  /** admitted, not finished */
  readonly open: Map<Hex, OpenRow>
}

export const emptyLedger = (): SellerLedger => ({
  balance: 0n,
  totalClaimed: 0n,
  charged: 0n,
  signed: 0n,
  told: 0n,
  refunding: 0n,
  withdrawing: 0n,
  admitFloorSec: 0,
  open: new Map(),
})

/** What running requests may still cost. Summed each time: a stored total could drift from its rows. */
export function held(ledger: SellerLedger): Usdc {
  let sum = 0n
  for (const row of ledger.open.values()) sum += row.ceiling
  return sum
}

/** What the channel can still pay for, charged and held included. */
export const available = (ledger: SellerLedger): Usdc =>
  ledger.balance - ledger.refunding - ledger.withdrawing

const max = (a: Usdc, b: Usdc): Usdc => (a > b ? a : b)
const min = (a: Usdc, b: Usdc): Usdc => (a < b ? a : b)

export interface OpenseedAsk {
  /** true when this channel never saw the request id */
  isNew: boolean
  amount: Usdc
  /** the voucher's maxClaimableAmount */
  voucher: Usdc
  admitBySec: number
  /** the highest cumulative of this seller's receipts that the buyer says it holds */
  ack?: Usdc
}

export type OpenseedVerdict =
  | { kind: 'admit' }
  | {
      kind: 'refuse'
      reason: 'duplicate' | 'expired' | 'forgotten' | 'withdrawing' | 'exceeds_balance' | 'uncovered'
    }

/** Admission under a valid Request signature: headroom below the highest voucher may be used by its signer's word. */
export function judgeOpenseed(ledger: SellerLedger, ask: OpenseedAsk, nowSec: number): OpenseedVerdict {
  if (!ask.isNew) return { kind: 'refuse', reason: 'duplicate' }
  if (nowSec > ask.admitBySec || ask.admitBySec < ledger.admitFloorSec)
    return { kind: 'refuse', reason: 'expired' }
  // This store is older than that receipt: the buyer shows it first, or what it proves would never be claimed.
  if ((ask.ack ?? 0n) > ledger.charged) return { kind: 'refuse', reason: 'forgotten' }
  if (ledger.withdrawing > 0n) return { kind: 'refuse', reason: 'withdrawing' }
  const limit = available(ledger)
  if (ask.voucher > limit) return { kind: 'refuse', reason: 'exceeds_balance' }
  const needed = ledger.charged + held(ledger) + ask.amount
  if (needed > limit) return { kind: 'refuse', reason: 'exceeds_balance' }
  if (needed > max(ledger.signed, ask.voucher)) return { kind: 'refuse', reason: 'uncovered' }
  return { kind: 'admit' }
}

export type StockVerdict =
  | { kind: 'admit' }
  /** Answer a corrective 402 that states this cumulative; `told` becomes it. */
  | { kind: 'correct'; stated: Usdc }
  /** Something runs that may bring the cumulative to what the client signed: wait for it, then judge again. */
  | { kind: 'wait' }
  | { kind: 'refuse'; reason: 'withdrawing' | 'exceeds_balance' }

/** Admission of a client that knows nothing but stock x402: its voucher must cover exactly what it was told. */
export function judgeStock(ledger: SellerLedger, ask: { amount: Usdc; voucher: Usdc }): StockVerdict {
  if (ledger.withdrawing > 0n) return { kind: 'refuse', reason: 'withdrawing' }
  const base = ledger.charged + held(ledger)
  if (ask.voucher < base + ask.amount) {
    return ledger.open.size > 0 ? { kind: 'wait' } : { kind: 'correct', stated: ledger.charged }
  }
  if (ask.voucher > ledger.told + ask.amount) return { kind: 'correct', stated: base }
  if (ask.voucher > available(ledger)) return { kind: 'refuse', reason: 'exceeds_balance' }
  return { kind: 'admit' }
}

/** Opens the row of an admitted openseed request. */
export function admitOpenseed(ledger: SellerLedger, id: Hex, ask: OpenseedAsk): void {
  ledger.signed = max(ledger.signed, ask.voucher)
  ledger.open.set(id, { ceiling: ask.amount, meter: 0n })
}

/** Opens the row of an admitted stock request. */
export function admitStock(ledger: SellerLedger, id: Hex, ask: { amount: Usdc; voucher: Usdc }): void {
  ledger.told = ask.voucher - ask.amount
  ledger.signed = max(ledger.signed, ask.voucher)
  ledger.open.set(id, { ceiling: ask.amount, meter: 0n })
}

/**
 * What a stock client is told in PAYMENT-RESPONSE; call it after admission (stream) or after the charge (plain).
 * Never more than `ceiling` above what it was told before: a stock client takes that for a fault after it was served.
 */
export function tell(ledger: SellerLedger, ceiling: Usdc): { chargedAmount: Usdc; cumulative: Usdc } {
  const cumulative = min(max(ledger.told, ledger.charged + held(ledger)), ledger.told + ceiling)
  const chargedAmount = cumulative - ledger.told
  ledger.told = cumulative
  return { chargedAmount, cumulative }
}

/** Closes a row at what it cost, never above its ceiling nor below what the journal already proved; returns what was charged, or null for an id that is not open. */
export function finish(ledger: SellerLedger, id: Hex, cost: Usdc): Usdc | null {
  const row = ledger.open.get(id)
  if (row === undefined) return null
  const charged = min(max(cost, row.meter), row.ceiling)
  ledger.open.delete(id)
  ledger.charged += charged
  return charged
}

export type RefundVerdict =
  | { kind: 'refund'; amount: Usdc }
  | { kind: 'correct'; stated: Usdc }
  | { kind: 'refuse'; reason: 'busy' | 'withdrawing' | 'nothing' | 'too_little' }

/**
 * A refund gives back what is neither charged nor held, one refund at a time. `wanted` null means all of it; a part
 * must be worth `least`, because the seller pays the gas.
 */
export function judgeRefund(
  ledger: SellerLedger,
  voucher: Usdc,
  wanted: Usdc | null,
  least: Usdc,
): RefundVerdict {
  if (ledger.refunding > 0n) return { kind: 'refuse', reason: 'busy' }
  if (ledger.withdrawing > 0n) return { kind: 'refuse', reason: 'withdrawing' }
  if (voucher < ledger.charged || voucher > max(ledger.told, ledger.charged))
    return { kind: 'correct', stated: ledger.charged }
  const free = available(ledger) - ledger.charged - held(ledger)
  const amount = wanted === null ? free : min(wanted, free)
  if (amount < free && amount < least) return { kind: 'refuse', reason: 'too_little' }
  return amount > 0n ? { kind: 'refund', amount } : { kind: 'refuse', reason: 'nothing' }
}

export function beginRefund(ledger: SellerLedger, amount: Usdc): void {
  ledger.refunding = amount
}

/** The refund is over: the chain's balance already lacks what was paid. */
export function endRefund(ledger: SellerLedger, balanceOnChain: Usdc): void {
  ledger.refunding = 0n
  ledger.balance = balanceOnChain
}

/** After a corrective 402 the client's next voucher counts from here. */
export function tellStated(ledger: SellerLedger, stated: Usdc): void {
  ledger.told = stated
}

/** How long after its signature a request may be admitted, seconds. */
export const requestTtlSec = 120

export interface ChainState {
  balance: Usdc
  totalClaimed: Usdc
  withdrawing: Usdc
}

/** Takes over what the chain says. A claim that reached the chain proves charges that a restored backup forgot. */
export function adoptChain(ledger: SellerLedger, chain: ChainState): void {
  ledger.balance = chain.balance
  ledger.withdrawing = chain.withdrawing
  ledger.totalClaimed = max(ledger.totalClaimed, chain.totalClaimed)
  if (ledger.totalClaimed > ledger.charged) catchUp(ledger, ledger.totalClaimed, ledger.totalClaimed)
}

/**
 * A buyer presents this seller's own newest receipt and its own voucher: a restored backup catches up. The charge is
 * taken from the receipt alone; a voucher is a ceiling and proves no charge.
 */
export function adoptProof(ledger: SellerLedger, receiptCumulative: Usdc, voucher: Usdc): boolean {
  if (receiptCumulative <= ledger.charged || receiptCumulative > voucher) return false
  catchUp(ledger, receiptCumulative, voucher)
  return true
}

function catchUp(ledger: SellerLedger, charged: Usdc, signed: Usdc): void {
  ledger.charged = charged
  ledger.signed = max(ledger.signed, signed)
  ledger.told = max(ledger.told, charged)
}

/**
 * Before listening: no request signed earlier is admitted (the store may be an old backup that forgot its id), and
 * every row the previous run left open is returned with the amount its journal proves, to be finished at that. When
 * the chain proves the store stale, those rows may be in the claimed sum already: they are finished at 0.
 */
export function restart(ledger: SellerLedger, chain: ChainState, nowSec: number): { id: Hex; cost: Usdc }[] {
  const stale = chain.totalClaimed > ledger.charged
  adoptChain(ledger, chain)
  ledger.admitFloorSec = nowSec + requestTtlSec + 1
  if (stale) for (const row of ledger.open.values()) row.meter = 0n
  return [...ledger.open].map(([id, row]) => ({ id, cost: row.meter }))
}

/** What a claim may take now: exactly what is charged, or what is left when the balance fell below it. */
export const claimable = (ledger: SellerLedger): Usdc => min(ledger.charged, ledger.balance)
