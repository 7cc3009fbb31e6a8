/** The in-process facilitator: puts a payer's signed deposit on chain, at the sender's expense of gas. */
import type { Usdc } from '../wire/amount.ts'
import { batchErrors, type BatchError, type Erc3009Authorization } from '../wire/batch-settlement.ts'
import { maxWithdrawDelaySec, minWithdrawDelaySec, type ChannelConfig } from '../wire/channel.ts'
import { curve } from '../wire/curve.ts'
import { openDigests } from '../wire/digests.ts'
import type { Hex } from '../wire/hex.ts'
import { agreedObjection } from './agree.ts'
import {
  authorizationState,
  hasCode,
  toBigInt,
  tokenBalanceOf,
  toHead,
  toSimulation,
  type Escrow,
} from './escrow.ts'
import { parseLogs } from './events.ts'
import type { Outbox } from './outbox.ts'
import { resultOf } from './rpc.ts'

/** A deposit as the payer signed it. */
export interface DepositOrder {
  config: ChannelConfig
  amount: Usdc
  authorization: Erc3009Authorization
}

/**
 * `deposited`: mined; `balance` is the channel's after it. `already-used`: the authorization's nonce is spent, by this
 * deposit earlier (or cancelled by the payer): read the channel. `refused`: nothing moved; `reason` is x402's string.
 */
export type DepositOutcome =
  | { kind: 'deposited'; balance: Usdc; txHash: Hex }
  | { kind: 'already-used' }
  | { kind: 'refused'; reason: BatchError }

// Time for the transaction to be mined before the authorization ends, as the stock facilitator asks.
const leadTimeSec = 6

/**
 * Checks a deposit, sends it and waits. Idempotent: the same channel and salt is one transaction, whoever asks and
 * whenever; it counts at a depth of `confirmations`, by default the outbox's. Throws `chain_unavailable` when the outcome is not known yet, and what `Outbox.send` throws.
 */
export async function submitDeposit(
  escrow: Escrow,
  outbox: Outbox,
  order: DepositOrder,
  confirmations?: number,
): Promise<DepositOutcome> {
  const digests = openDigests({ chainId: escrow.network.chainId, escrow: escrow.network.escrow })
  const channelId = digests.channelId(order.config)
  const nonce = digests.depositNonce(channelId, order.authorization.salt)
  const verdict = await agreedObjection(escrow, (one) => judgeDeposit(one, order, nonce))
  if (verdict) return verdict

  const { config, amount, authorization } = order
  const outcome = await outbox.send({
    key: `deposit:${channelId}:${authorization.salt}`,
    kind: 'deposit',
    ...(confirmations === undefined ? {} : { confirmations }),
    ...escrow.calls.deposit(config, amount, authorization),
  })
  if (outcome.status === 'confirmed') {
    const deposited = parseLogs(outcome.logs, escrow.network.escrow).find(
      (fact) => fact.name === 'Deposited' && fact.channelId === channelId,
    )
    const balance =
      deposited?.name === 'Deposited' ? deposited.newBalance : (await escrow.channel(channelId)).balance
    return { kind: 'deposited', balance, txHash: outcome.hash }
  }
  // Somebody else may have sent the same authorization a moment earlier: the money arrived all the same.
  if (await escrow.authorizationUsed(config.payer, nonce)) return { kind: 'already-used' }
  const reason = outcome.status === 'reverted' ? 'depositTransactionFailed' : 'depositSimulationFailed'
  return { kind: 'refused', reason: batchErrors[reason] }
}

async function judgeDeposit(
  escrow: Escrow,
  { config, amount, authorization }: DepositOrder,
  nonce: Hex,
): Promise<DepositOutcome | null> {
  const { network, rpc, calls } = escrow
  if (config.token !== network.asset) return refused('tokenMismatch')
  if (config.withdrawDelay < minWithdrawDelaySec || config.withdrawDelay > maxWithdrawDelaySec)
    return refused('withdrawDelayOutOfRange')
  const [used, balance, code, block, trial] = await rpc.batch([
    authorizationState(network.asset, config.payer, nonce),
    tokenBalanceOf(network.asset, config.payer),
    { method: 'eth_getCode', params: [config.payer, 'latest'] },
    { method: 'eth_getBlockByNumber', params: ['latest', false] },
    { method: 'eth_call', params: [calls.deposit(config, amount, authorization), 'latest'] },
  ])
  if (toBigInt(resultOf(used, 'eth_call')) !== 0n) return { kind: 'already-used' }
  const { timestampSec } = toHead(resultOf(block, 'eth_getBlockByNumber'))
  if (authorization.validAfter >= timestampSec + leadTimeSec) return refused('authorizationValidAfter')
  if (authorization.validBefore < timestampSec + leadTimeSec) return refused('authorizationValidBefore')
  // An account with code signs as its contract says; there the simulation alone decides.
  if (!hasCode(code) && !isSignedBy(config.payer, escrow, { config, amount, authorization }, nonce))
    return refused('receiveAuthorizationSignature')
  if (toBigInt(resultOf(balance, 'eth_call')) < amount) return refused('insufficientBalance')
  return toSimulation(trial).ok ? null : refused('depositSimulationFailed')
}

function isSignedBy(
  payer: Hex,
  { network }: Escrow,
  { amount, authorization }: DepositOrder,
  nonce: Hex,
): boolean {
  const { chainId, asset, assetName, assetVersion, escrow, collector } = network
  const digest = openDigests({ chainId, escrow }).receiveAuthorization(
    { name: assetName, version: assetVersion, chainId, asset },
    {
      from: payer,
      to: collector,
      value: amount,
      validAfter: authorization.validAfter,
      validBefore: authorization.validBefore,
      nonce,
    },
  )
  return curve.recover(digest, authorization.signature) === payer
}

const refused = (reason: keyof typeof batchErrors): DepositOutcome => ({
  kind: 'refused',
  reason: batchErrors[reason],
})
