/** From a call to signed bytes: gas, fees, signature. */
import { Signature, SigningKey, Transaction, computeAddress } from 'ethers'
import { OpenSeedError } from '../base/errors.ts'
import type { Address, Hex } from '../wire/hex.ts'
import type { Call } from './calls.ts'
import { feesFor, readFeeMarket, type Fees } from './fees.ts'
import { vouched } from './quorum.ts'
import { decodeRevert } from './revert.ts'
import { resultOf, type Rpc, type RpcReply } from './rpc.ts'

/** A call with gas and EIP-1559 fees (wei), ready for a nonce and a signature. */
export interface PreparedTransaction extends Call, Fees {
  gasLimit: bigint
}

/** `impossible`: it would revert (`reason` is the error's name), or the account cannot pay for it (`error` says so). */
export type Preparation =
  | { kind: 'ready'; transaction: PreparedTransaction }
  | { kind: 'impossible'; reason: string; error?: OpenSeedError }

/**
 * Simulates `call` as `from` and prices it at the newest block. It is impossible when no RPC can make it succeed: one
 * that lags, or lies, must not keep a claim from being sent. Throws what `Rpc` throws.
 */
export async function prepareTransaction(rpc: Rpc, from: Address, { to, data }: Call): Promise<Preparation> {
  const [trials, market] = await Promise.all([
    rpc.all(async (source) => {
      const [estimate, balance] = await source.batch([
        { method: 'eth_estimateGas', params: [{ from, to, data }] },
        { method: 'eth_getBalance', params: [from, 'latest'] },
      ])
      return { estimate, held: BigInt(resultOf(balance, 'eth_getBalance') as string) }
    }),
    readFeeMarket(rpc),
  ])
  const estimates = trials.flatMap(({ estimate }) =>
    estimate?.ok ? [BigInt(estimate.result as string)] : [],
  )
  const needed = rpc.needed(trials.length)
  const gas = vouched(estimates, Math.min(needed, estimates.length))
  const refusal = trials[0]?.estimate
  if (gas === null || refusal === undefined)
    return { kind: 'impossible', reason: decodeRevert(refusal) ?? messageOf(refusal) }
  const fees = feesFor(market)
  const gasLimit = (gas * 12n) / 10n
  const held = vouched(
    trials.map((trial) => trial.held),
    needed,
  )
  const cost = gasLimit * fees.maxFeePerGas
  if (held !== null && held < cost)
    return { kind: 'impossible', reason: 'gas_insufficient', error: tooPoor(from, held, cost) }
  return { kind: 'ready', transaction: { to, data, gasLimit, ...fees } }
}

const messageOf = (reply: RpcReply | undefined) =>
  reply === undefined || reply.ok ? 'no reply' : reply.message

/** Signs an EIP-1559 transaction; `raw` is what is broadcast. */
export function signTransaction(
  fields: PreparedTransaction & { nonce: number; chainId: number },
  key: Hex,
): { raw: Hex; hash: Hex } {
  const transaction = Transaction.from({ type: 2, value: 0n, ...fields })
  transaction.signature = Signature.from(new SigningKey(key).sign(transaction.unsignedHash))
  return { raw: transaction.serialized as Hex, hash: transaction.hash as Hex }
}

/** The same transaction at another fee: same nonce, so that at most one of the two is mined. */
export function signCopy(raw: Hex, fees: Fees, key: Hex): { raw: Hex; hash: Hex } {
  const { to, data, gasLimit, nonce, chainId } = Transaction.from(raw)
  const call = { to: (to ?? '').toLowerCase() as Address, data: data as Hex }
  return signTransaction({ ...call, gasLimit, ...fees, nonce, chainId: Number(chainId) }, key)
}

/** What a signed transaction offers, and the most gas it may use. */
export function offerOf(raw: Hex): Fees & { gasLimit: bigint } {
  const { gasLimit, maxFeePerGas, maxPriorityFeePerGas } = Transaction.from(raw)
  return { gasLimit, maxFeePerGas: maxFeePerGas ?? 0n, maxPriorityFeePerGas: maxPriorityFeePerGas ?? 0n }
}

/** The account of a private key. */
export function addressOfKey(key: Hex): Address {
  return computeAddress(key).toLowerCase() as Address
}

const tooPoor = (from: Address, held: bigint, needed: bigint) =>
  new OpenSeedError('gas_insufficient', {
    message: `${from} holds ${held} wei; the transaction may need ${needed}.`,
    hint: `Send some of the chain's native coin to ${from}.`,
  })
