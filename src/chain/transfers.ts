/** The in-process facilitator of exact payments: puts a payer's signed transfer on chain, at the sender's gas. */
import { OpenSeedError } from '../base/errors.ts'
import { exactErrors, type ExactError, type ExactPayload, type TransferAuthorization } from '../wire/exact.ts'
import type { Address, Hex } from '../wire/hex.ts'
import { tokenAbi } from './abi.ts'
import { agreedObjection } from './agree.ts'
import type { Call } from './calls.ts'
import {
  authorizationState,
  hasCode,
  openEscrow,
  toBigInt,
  tokenBalanceOf,
  toHead,
  toSimulation,
  type Escrow,
} from './escrow.ts'
import type { TxLog } from './events.ts'
import type { Outbox } from './outbox.ts'
import { resultOf } from './rpc.ts'

/** `settled`: the money is the receiver's, by the transaction named. `refused`: nothing moved and nothing will. */
export type TransferOutcome = { kind: 'settled'; txHash: Hex } | { kind: 'refused'; reason: ExactError }

/** What became of an authorization whose nonce is spent. */
type Spent = { kind: 'paid'; txHash: Hex } | { kind: 'elsewhere' }

// Time for the transaction to be mined before the authorization ends, as the stock facilitator asks.
const leadTimeSec = 6n
// Where the transaction of a stranger who sent the same authorization is looked for.
const blocksBack = 10_000

/** The outbox key of a transfer: one authorization is one transaction, whoever asks and whenever. */
export const transferKey = ({ from, nonce }: Pick<TransferAuthorization, 'from' | 'nonce'>): string =>
  `exact:${from}:${nonce}`

/** Would the transfer succeed now? Null when it would, else x402's string. `isSigned`: by the payer's own key. */
export const judgeTransfer = (
  escrow: Escrow,
  payment: ExactPayload,
  isSigned: boolean,
): Promise<ExactError | null> => agreedObjection(escrow, (one) => judgeAt(one, payment, isSigned))

async function judgeAt(
  { rpc, network }: Escrow,
  { authorization, signature }: ExactPayload,
  isSigned: boolean,
): Promise<ExactError | null> {
  const { from, value, nonce, validAfter, validBefore } = authorization
  const [used, balance, code, block, trial] = await rpc.batch([
    authorizationState(network.asset, from, nonce),
    tokenBalanceOf(network.asset, from),
    { method: 'eth_getCode', params: [from, 'latest'] },
    { method: 'eth_getBlockByNumber', params: ['latest', false] },
    { method: 'eth_call', params: [transferCall(network.asset, { authorization, signature }), 'latest'] },
  ])
  if (!isSigned && !hasCode(code)) return exactErrors.signature
  if (toBigInt(resultOf(used, 'eth_call')) !== 0n) return exactErrors.nonceAlreadyUsed
  if (toBigInt(resultOf(balance, 'eth_call')) < value) return exactErrors.insufficientBalance
  const now = BigInt(toHead(resultOf(block, 'eth_getBlockByNumber')).timestampSec)
  if (validAfter >= now + leadTimeSec) return exactErrors.validAfter
  if (validBefore < now + leadTimeSec) return exactErrors.validBefore
  return toSimulation(trial).ok ? null : exactErrors.simulationFailed
}

/**
 * Sends the transfer and waits until as many RPCs as must agree show it; it counts at a depth of `confirmations`, by
 * default the outbox's. Throws what `Outbox.send` throws, and `chain_unavailable` while the RPCs contradict each
 * other: then the outcome is not known yet.
 */
export async function submitTransfer(
  escrow: Escrow,
  outbox: Outbox,
  payment: ExactPayload,
  confirmations?: number,
): Promise<TransferOutcome> {
  const { authorization } = payment
  const { asset } = escrow.network
  const outcome = await outbox.send({
    key: transferKey(authorization),
    kind: 'exact',
    ...(confirmations === undefined ? {} : { confirmations }),
    ...transferCall(asset, payment),
  })
  if (outcome.status === 'confirmed') {
    const arrived = isPaid(outcome.logs, asset, authorization)
    return arrived
      ? { kind: 'settled', txHash: outcome.hash }
      : { kind: 'refused', reason: exactErrors.transferEventMismatch }
  }
  // Anyone may send what the payer signed: if somebody was faster, the money arrived all the same.
  const spent = await findSpent(escrow, authorization)
  if (spent?.kind === 'paid') return { kind: 'settled', txHash: spent.txHash }
  if (spent !== null) return { kind: 'refused', reason: exactErrors.nonceAlreadyUsed }
  return {
    kind: 'refused',
    reason: outcome.status === 'reverted' ? exactErrors.transactionFailed : exactErrors.simulationFailed,
  }
}

/**
 * How an authorization was spent; null when it was not. The payer may cancel it, or spend its nonce elsewhere. Throws
 * `chain_unavailable` when too few RPCs answer, or they do not agree whether it paid.
 */
export async function findSpent(
  { rpc, network }: Escrow,
  authorization: TransferAuthorization,
): Promise<Spent | null> {
  const told = await rpc.all((source) => spentAt(openEscrow(source, network), authorization))
  const needed = rpc.needed(told.length)
  for (const one of told) {
    if (one?.kind !== 'paid') continue
    const alike = told.filter((other) => other?.kind === 'paid' && other.txHash === one.txHash)
    if (alike.length >= needed) return one
  }
  if (told.filter((one) => one?.kind !== 'paid').length < needed) {
    throw new OpenSeedError('chain_unavailable', {
      message: 'The RPCs do not agree whether an authorization paid; its outcome is not known yet.',
      hint: 'It is looked up again. Check rpc_urls where this goes on.',
    })
  }
  return told.some((one) => one?.kind === 'elsewhere') ? { kind: 'elsewhere' } : null
}

/** As one RPC tells it. */
async function spentAt(escrow: Escrow, authorization: TransferAuthorization): Promise<Spent | null> {
  const { asset } = escrow.network
  const { from, nonce } = authorization
  if (!(await escrow.authorizationUsed(from, nonce))) return null
  const { number } = await escrow.head()
  const range = {
    fromBlock: `0x${Math.max(0, number - blocksBack).toString(16)}`,
    toBlock: 'latest',
    address: asset,
    topics: tokenAbi.encodeFilterTopics('AuthorizationUsed', [from, nonce]),
  }
  const uses = (await escrow.rpc.send('eth_getLogs', [range])) as { transactionHash: Hex }[]
  const txHash = uses[0]?.transactionHash
  if (txHash === undefined) return { kind: 'elsewhere' }
  const receipt = (await escrow.rpc.send('eth_getTransactionReceipt', [txHash])) as { logs: TxLog[] } | null
  return isPaid(receipt?.logs ?? [], asset, authorization) ? { kind: 'paid', txHash } : { kind: 'elsewhere' }
}

function transferCall(asset: Address, { authorization, signature }: ExactPayload): Call {
  const { from, to, value, validAfter, validBefore, nonce } = authorization
  const common = [from, to, value, validAfter, validBefore, nonce]
  const name = 'transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,'
  const data =
    signature.length === 132
      ? tokenAbi.encodeFunctionData(`${name}uint8,bytes32,bytes32)`, [...common, ...split(signature)])
      : tokenAbi.encodeFunctionData(`${name}bytes)`, [...common, signature])
  return { to: asset, data: data as Hex }
}

const split = (signature: Hex) => [
  Number.parseInt(signature.slice(130), 16),
  signature.slice(0, 66),
  `0x${signature.slice(66, 130)}`,
]

/**
 * The token notes the use of an authorization and at once the transfer it was used for: in one transaction with
 * other transfers only the one that follows counts.
 */
function isPaid(logs: readonly TxLog[], asset: Address, authorization: TransferAuthorization): boolean {
  const { from, to, value, nonce } = authorization
  const facts = logs
    .filter(({ address }) => address.toLowerCase() === asset)
    .map(({ topics, data }) => tokenAbi.parseLog({ topics, data }))
  const used = facts.findIndex(
    (fact) =>
      fact?.name === 'AuthorizationUsed' &&
      same(fact.args['authorizer'], from) &&
      fact.args['nonce'] === nonce,
  )
  const next = used === -1 ? null : facts[used + 1]
  return (
    next?.name === 'Transfer' &&
    same(next.args['from'], from) &&
    same(next.args['to'], to) &&
    next.args['value'] === value
  )
}

const same = (address: unknown, wanted: Address): boolean => String(address).toLowerCase() === wanted
