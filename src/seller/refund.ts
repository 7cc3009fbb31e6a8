/** Cooperative refunds: the payer asks with a zero-charge voucher and gets back what is neither charged nor held. */
import { crashPoint } from '../base/crash.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Usdc } from '../wire/amount.ts'
import { batchErrors, type BatchPayload } from '../wire/batch-settlement.ts'
import type { Address, Hex } from '../wire/hex.ts'
import type { Allowance, Pace } from './allowance.ts'
import type { ChannelBook } from './channel-book.ts'
import type { ChainFacts, Entry } from './channel-entry.ts'
import { beginRefund, endRefund, judgeRefund, tellStated } from './ledger.ts'

/** What the chain did with a refund of this seller's. */
export type RefundOutcome = { status: 'confirmed'; hash: Hex } | { status: 'failed'; reason: string }

export interface RefundParts {
  book: ChannelBook
  /** Claims what is charged and refunds, in one transaction; the same nonce is never sent twice. */
  sendRefund: (entry: Entry, amount: Usdc, nonce: bigint) => Promise<RefundOutcome>
  readChain: (channelId: Hex) => Promise<ChainFacts>
  /** the smallest part of a balance that is worth a transaction */
  leastRefund: Usdc
  /** how often a payer gets one: it costs this seller gas and the payer nothing */
  refundAllowance: Allowance<Address>
  log: Log
}

export type RefundAnswer =
  | { kind: 'refunded'; entry: Entry; amount: Usdc; txHash: Hex }
  | { kind: 'refuse'; reason: string; entry?: Entry }

/**
 * Throws `chain_unavailable` when the outcome is not known yet: the amount stays reserved until it is. Throws
 * `rate_limit_exceeded` for a payer that asks too often.
 */
export async function refund(
  payload: Extract<BatchPayload, { type: 'refund' }>,
  parts: RefundParts,
): Promise<RefundAnswer> {
  const entry = await knownEntry(payload, parts)
  if (entry === null) return { kind: 'refuse', reason: batchErrors.channelNotFound }
  await entry.reloading
  if (entry.refundRunning) return { kind: 'refuse', reason: refusals.busy }
  // The outcome of an earlier one is not known: it goes on where it stopped.
  if (entry.ledger.refunding > 0n) return execute(entry, parts)
  const verdict = judgeRefund(
    entry.ledger,
    payload.voucher.maxClaimable,
    payload.amount ?? null,
    parts.leastRefund,
  )
  if (verdict.kind === 'correct') {
    tellStated(entry.ledger, verdict.stated)
    return { kind: 'refuse', reason: batchErrors.cumulativeAmountMismatch, entry }
  }
  if (verdict.kind === 'refuse') return { kind: 'refuse', reason: refusals[verdict.reason] }
  const { payer } = entry.config
  const waitMs = parts.refundAllowance.waitMs(payer)
  if (waitMs !== null) throw tooOften(waitMs)
  parts.refundAllowance.take(payer)
  beginRefund(entry.ledger, verdict.amount)
  entry.refundRunning = true
  try {
    await parts.book.save(entry)
  } finally {
    entry.refundRunning = false
  }
  crashPoint('seller.refund-reserved')
  return execute(entry, parts)
}

/** Sixteen at once for a buyer that clears its channels away, and as many a day. */
export const refundPace: Pace = { most: 16, everyMs: 90 * 60_000 }

const tooOften = (waitMs: number) =>
  new OpenSeedError('rate_limit_exceeded', {
    message: 'This payer was given money back too often lately.',
    hint: 'Wait, or withdraw without the seller: openseed channels withdraw',
    details: { retryAfterSec: Math.ceil(waitMs / 1000) },
  })

const refusals = {
  busy: batchErrors.channelBusy,
  withdrawing: batchErrors.channelBusy,
  nothing: batchErrors.refundNoBalance,
  too_little: batchErrors.refundAmountInvalid,
}

/** Finishes refunds that an earlier run reserved. */
export async function resumeRefunds(parts: RefundParts): Promise<void> {
  for (const entry of parts.book.entries()) {
    if (entry.ledger.refunding === 0n || entry.refundRunning) continue
    await execute(entry, parts).catch((error: unknown) => {
      parts.log.error({ error, channel: entry.id }, 'a refund is still waiting for its outcome')
    })
  }
}

async function execute(entry: Entry, parts: RefundParts): Promise<RefundAnswer> {
  entry.refundRunning = true
  try {
    return await executeOnce(entry, parts)
  } finally {
    entry.refundRunning = false
  }
}

async function executeOnce(entry: Entry, parts: RefundParts): Promise<RefundAnswer> {
  // Read from the chain: a refund that was mined before a crash must not be sent under the next nonce.
  const before = await parts.readChain(entry.id)
  const amount = entry.ledger.refunding
  if (before.refundNonce > entry.refundNonce) {
    await settle(entry, before, parts)
    return { kind: 'refuse', reason: batchErrors.refundNoBalance, entry }
  }
  const outcome = await parts.sendRefund(entry, amount, before.refundNonce)
  crashPoint('seller.refund-sent')
  await settle(entry, await parts.readChain(entry.id), parts)
  if (outcome.status === 'confirmed') return { kind: 'refunded', entry, amount, txHash: outcome.hash }
  parts.log.warn({ channel: entry.id, reason: outcome.reason }, 'a refund was refused by the chain')
  return { kind: 'refuse', reason: batchErrors.refundTransactionFailed, entry }
}

async function settle(entry: Entry, chain: ChainFacts, parts: RefundParts): Promise<void> {
  endRefund(entry.ledger, chain.balance)
  entry.refundNonce = chain.refundNonce
  await parts.book.adoptChain(entry, chain)
}

async function knownEntry(
  { config, voucher }: Extract<BatchPayload, { type: 'refund' }>,
  parts: RefundParts,
): Promise<Entry | null> {
  const known = parts.book.find(voucher.channelId)
  if (known !== undefined) return known
  const facts = await parts.readChain(voucher.channelId)
  return facts.balance === 0n ? null : parts.book.learn(voucher.channelId, config, facts)
}
