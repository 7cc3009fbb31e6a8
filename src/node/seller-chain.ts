/** The seller's dealings with the chain, in the words of the seller's parts. */
import type { Escrow } from '../chain/escrow.ts'
import { submitDeposit } from '../chain/deposits.ts'
import type { OutboxStore } from '../chain/outbox-store.ts'
import type { Outbox, TxOutcome } from '../chain/outbox.ts'
import type { ChainFacts, Entry } from '../seller/channel-entry.ts'
import type { SettledDeposit } from '../seller/deposit.ts'
import type { RefundOutcome } from '../seller/refund.ts'
import { claimOrder, type ClaimOrder } from '../seller/settle.ts'
import type { Usdc } from '../wire/amount.ts'
import type { BatchPayload } from '../wire/batch-settlement.ts'
import { curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import type { Address, Hex } from '../wire/hex.ts'
import { keccak256 } from '../wire/keccak.ts'

export interface SellerChain {
  readChannels: (ids: Hex[]) => Promise<ChainFacts[]>
  readChannel: (id: Hex) => Promise<ChainFacts>
  settleDeposit: (payload: Extract<BatchPayload, { type: 'deposit' }>) => Promise<SettledDeposit>
  sendClaims: (orders: ClaimOrder[]) => Promise<{ ok: boolean; reason?: string }>
  sendRefund: (entry: Entry, amount: Usdc, nonce: bigint) => Promise<RefundOutcome>
}

export function openSellerChain(
  escrow: Escrow,
  outbox: Outbox,
  outboxStore: Pick<OutboxStore, 'outboxFind'>,
  seller: { digests: Digests; key: Hex; payTo: Address },
): SellerChain {
  const { calls, network } = escrow
  let readings = 0

  async function readChannels(ids: Hex[]): Promise<ChainFacts[]> {
    if (ids.length === 0) return []
    const reading = ++readings
    const channels = await escrow.channels(ids)
    return channels.map((channel) => ({
      reading,
      balance: channel.balance,
      totalClaimed: channel.totalClaimed,
      withdrawing: channel.withdrawAmount,
      withdrawInitiatedAtSec: channel.withdrawInitiatedAtSec,
      refundNonce: channel.refundNonce,
    }))
  }

  async function readChannel(id: Hex): Promise<ChainFacts> {
    const [facts] = await readChannels([id])
    if (facts === undefined) throw new Error('one id gives one channel')
    return facts
  }

  async function settleDeposit({
    config,
    deposit,
  }: Extract<BatchPayload, { type: 'deposit' }>): Promise<SettledDeposit> {
    const outcome = await submitDeposit(escrow, outbox, { config, ...deposit })
    if (outcome.kind === 'refused') {
      // Judged while its transaction of an earlier run was being mined, a deposit that arrived looks impossible.
      const nonce = seller.digests.depositNonce(seller.digests.channelId(config), deposit.authorization.salt)
      return (await escrow.authorizationUsed(config.payer, nonce)) ? { kind: 'already-used' } : outcome
    }
    return outcome.kind === 'deposited'
      ? { kind: 'deposited', amount: deposit.amount, txHash: outcome.txHash }
      : outcome
  }

  async function sendClaims(orders: ClaimOrder[]) {
    const identity = orders.map(({ channelId, totalClaimed }) => `${channelId}:${totalClaimed}`).join()
    // The sweep rides along: what is claimed reaches the payout address in the same transaction.
    const outcome = await outbox.send({
      key: await attemptKey(`claim:${keccak256(identity)}`),
      kind: 'claim',
      ...calls.multicall([calls.claim(orders), calls.settle(seller.payTo, network.asset)]),
    })
    return verdict(outcome)
  }

  async function sendRefund(entry: Entry, amount: Usdc, nonce: bigint): Promise<RefundOutcome> {
    const order = claimOrder(entry)
    const signature = curve.sign(seller.digests.refund(entry.id, nonce, amount), seller.key)
    const refund = calls.refundWithSignature(entry.config, amount, nonce, signature)
    const outcome = await outbox.send({
      key: await attemptKey(`refund:${entry.id}:${nonce}`),
      kind: 'refund',
      ...calls.multicall(order === null ? [refund] : [calls.claim([order]), refund]),
    })
    if (outcome.status === 'confirmed') return { status: 'confirmed', hash: outcome.hash }
    return { status: 'failed', reason: outcome.reason ?? outcome.status }
  }

  /**
   * The key of the attempt that is running, succeeded, or is due. An attempt that was undone for good may be repeated:
   * on the chain an outdated claim is skipped and a refund counts once for its nonce, whoever sends it how often.
   */
  async function attemptKey(base: string): Promise<string> {
    for (let attempt = 0; ; attempt++) {
      const key = attempt === 0 ? base : `${base}:${attempt}`
      const row = await outboxStore.outboxFind({ key })
      const isOver = row?.status === 'reverted' || (row?.status === 'dropped' && row.raw !== null)
      if (!isOver) return key
    }
  }

  return { readChannels, readChannel, settleDeposit, sendClaims, sendRefund }
}

function verdict(outcome: TxOutcome): { ok: boolean; reason?: string } {
  return outcome.status === 'confirmed'
    ? { ok: true }
    : { ok: false, reason: outcome.reason ?? outcome.status }
}
