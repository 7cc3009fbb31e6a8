/** The seller's dealings with the chain, in the words of the seller's parts. */
import { OpenSeedError } from '../base/errors.ts'
import { agreedChannels } from '../chain/agree.ts'
import { attemptKey } from '../chain/attempt-key.ts'
import { submitDeposit } from '../chain/deposits.ts'
import type { Escrow } from '../chain/escrow.ts'
import { readDataFees } from '../chain/data-fee.ts'
import { weiPerGas } from '../chain/fees.ts'
import type { OutboxStore } from '../chain/outbox-store.ts'
import type { Outbox, TxOutcome } from '../chain/outbox.ts'
import type { ChainFacts, Entry } from '../seller/channel-entry.ts'
import type { SettledDeposit } from '../seller/deposit.ts'
import type { RefundOutcome } from '../seller/refund.ts'
import {
  claimOrder,
  claimPrice,
  claimSizes,
  type ClaimOrder,
  type ClaimPrice,
} from '../seller/settle-policy.ts'
import type { ClaimOutcome } from '../seller/settle.ts'
import type { Usdc } from '../wire/amount.ts'
import type { BatchPayload } from '../wire/batch-settlement.ts'
import { curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import type { Address, Hex } from '../wire/hex.ts'
import { keccak256 } from '../wire/keccak.ts'

export interface SellerChain {
  /** As enough RPCs vouch for them; a withdrawal counts when one reports it. */
  readChannels: (ids: Hex[]) => Promise<ChainFacts[]>
  readChannel: (id: Hex) => Promise<ChainFacts>
  settleDeposit: (payload: Extract<BatchPayload, { type: 'deposit' }>) => Promise<SettledDeposit>
  sendClaims: (orders: ClaimOrder[]) => Promise<ClaimOutcome>
  /** Brings claims of earlier turns to their outcome, and all that a reorg may have undone back to the chain. */
  reconcileClaims: () => Promise<void>
  /** The chain gave up what it had from this block on. */
  reorged: (fromBlock: number) => void
  claimPrice: () => Promise<ClaimPrice>
  sendRefund: (entry: Entry, amount: Usdc, nonce: bigint) => Promise<RefundOutcome>
}

export function openSellerChain(
  escrow: Escrow,
  outbox: Outbox,
  outboxStore: Pick<OutboxStore, 'outboxFind'>,
  seller: {
    digests: Digests
    key: Hex
    payTo: Address
    depositConfirmations?: number
    /** whether transactions pay for their bytes, besides gas */
    paysForData?: boolean
  },
): SellerChain {
  const { calls, network } = escrow
  const { depositConfirmations = 1, paysForData = false } = seller
  let readings = 0

  async function readChannels(ids: Hex[]): Promise<ChainFacts[]> {
    if (ids.length === 0) return []
    const reading = ++readings
    const channels = await agreedChannels(escrow, ids, depositConfirmations)
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
    const outcome = await submitDeposit(escrow, outbox, { config, ...deposit }, depositConfirmations)
    if (outcome.kind === 'refused') {
      // Judged while its transaction of an earlier run was being mined, a deposit that arrived looks impossible.
      const nonce = seller.digests.depositNonce(seller.digests.channelId(config), deposit.authorization.salt)
      return (await escrow.authorizationUsed(config.payer, nonce)) ? { kind: 'already-used' } : outcome
    }
    return outcome.kind === 'deposited'
      ? { kind: 'deposited', amount: deposit.amount, txHash: outcome.txHash }
      : outcome
  }

  async function sendClaims(orders: ClaimOrder[]): Promise<ClaimOutcome> {
    const identity = orders.map(({ channelId, totalClaimed }) => `${channelId}:${totalClaimed}`).join()
    const base = `claim:${keccak256(identity)}`
    let key = await attemptKey(outboxStore, base)
    try {
      // Mined before, and yet the chain says that it is due: then a reorg undid it, or the RPCs contradict themselves.
      const again = await outbox.confirmAgain(key)
      if (again?.status === 'confirmed') return await judgeAgain(orders)
      if (again !== null) key = await attemptKey(outboxStore, base)
      // The sweep rides along: what is claimed reaches the payout address in the same transaction.
      const settle = calls.settle(seller.payTo, network.asset)
      const call = calls.multicall([calls.claim(orders), settle])
      return verdict(await outbox.send({ key, kind: claimKind, ...call }))
    } catch (thrown) {
      // Only a row that is signed can still be mined.
      const row = await outboxStore.outboxFind({ key })
      if (row?.status !== 'signed' || !(thrown instanceof OpenSeedError)) throw thrown
      return { kind: 'unknown', reason: thrown.message }
    }
  }

  async function judgeAgain(orders: ClaimOrder[]): Promise<ClaimOutcome> {
    const facts = await readChannels(orders.map(({ channelId }) => channelId))
    const isThere = orders.every(
      ({ totalClaimed }, index) => (facts[index]?.totalClaimed ?? 0n) >= totalClaimed,
    )
    return isThere
      ? { kind: 'settled' }
      : { kind: 'unknown', reason: 'the RPCs show the mined claim and not what it did' }
  }

  async function readClaimPrice(): Promise<ClaimPrice> {
    const [wei, [one = 0n, many = 0n]] = await Promise.all([
      weiPerGas(escrow.rpc),
      paysForData ? readDataFees(escrow.rpc, claimSizes) : [],
    ])
    return claimPrice(wei, [one, many])
  }

  async function sendRefund(entry: Entry, amount: Usdc, nonce: bigint): Promise<RefundOutcome> {
    const order = claimOrder(entry)
    const signature = curve.sign(seller.digests.refund(entry.id, nonce, amount), seller.key)
    const refund = calls.refundWithSignature(entry.config, amount, nonce, signature)
    const outcome = await outbox.send({
      key: await attemptKey(outboxStore, `refund:${entry.id}:${nonce}`),
      kind: 'refund',
      ...calls.multicall(order === null ? [refund] : [calls.claim([order]), refund]),
    })
    if (outcome.status === 'confirmed') return { status: 'confirmed', hash: outcome.hash }
    return { status: 'failed', reason: outcome.reason ?? outcome.status }
  }

  return {
    readChannels,
    readChannel,
    settleDeposit,
    sendClaims,
    reconcileClaims: () => outbox.reconcile(claimKind),
    reorged: (fromBlock) => outbox.reorged(fromBlock),
    claimPrice: readClaimPrice,
    sendRefund,
  }
}

const claimKind = 'claim'

function verdict(outcome: TxOutcome): ClaimOutcome {
  return outcome.status === 'confirmed'
    ? { kind: 'settled' }
    : { kind: 'failed', reason: outcome.reason ?? outcome.status }
}
