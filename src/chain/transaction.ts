/** From a call to signed bytes: gas, fees, signature. */
import { Signature, SigningKey, Transaction, computeAddress } from 'ethers'
import { OpenSeedError } from '../base/errors.ts'
import type { Address, Hex } from '../wire/hex.ts'
import type { Call } from './calls.ts'
import { decodeRevert } from './revert.ts'
import { resultOf, type Rpc } from './rpc.ts'

/** A call with gas and EIP-1559 fees (wei), ready for a nonce and a signature. */
export interface PreparedTransaction extends Call {
  gasLimit: bigint
  maxFeePerGas: bigint
  maxPriorityFeePerGas: bigint
}

/** `impossible`: it would revert (`reason` is the error's name), or the account cannot pay for it (`error` says so). */
export type Preparation =
  | { kind: 'ready'; transaction: PreparedTransaction }
  | { kind: 'impossible'; reason: string; error?: OpenSeedError }

// The price that is paid is the block's; a high limit only keeps a transaction from getting stuck when it rises.
const baseFeeHeadroom = 5n
const defaultTipWei = 1_000_000n

/** Simulates `call` as `from` and prices it at the newest block. Throws what `Rpc` throws. */
export async function prepareTransaction(rpc: Rpc, from: Address, { to, data }: Call): Promise<Preparation> {
  const [estimate, block, tip, balance] = await rpc.batch([
    { method: 'eth_estimateGas', params: [{ from, to, data }] },
    { method: 'eth_getBlockByNumber', params: ['latest', false] },
    { method: 'eth_maxPriorityFeePerGas' },
    { method: 'eth_getBalance', params: [from, 'latest'] },
  ])
  if (!estimate?.ok)
    return { kind: 'impossible', reason: decodeRevert(estimate) ?? estimate?.message ?? 'no reply' }
  const { baseFeePerGas = '0x0' } = resultOf(block, 'eth_getBlockByNumber') as { baseFeePerGas?: string }
  const maxPriorityFeePerGas = tip?.ok ? BigInt(tip.result as string) : defaultTipWei
  const maxFeePerGas = BigInt(baseFeePerGas) * baseFeeHeadroom + maxPriorityFeePerGas
  const gasLimit = (BigInt(estimate.result as string) * 12n) / 10n
  const held = BigInt(resultOf(balance, 'eth_getBalance') as string)
  const needed = gasLimit * maxFeePerGas
  if (held < needed)
    return { kind: 'impossible', reason: 'gas_insufficient', error: tooPoor(from, held, needed) }
  return { kind: 'ready', transaction: { to, data, gasLimit, maxFeePerGas, maxPriorityFeePerGas } }
}

/** Signs an EIP-1559 transaction; `raw` is what is broadcast. */
export function signTransaction(
  fields: PreparedTransaction & { nonce: number; chainId: number },
  key: Hex,
): { raw: Hex; hash: Hex } {
  const transaction = Transaction.from({ type: 2, value: 0n, ...fields })
  transaction.signature = Signature.from(new SigningKey(key).sign(transaction.unsignedHash))
  return { raw: transaction.serialized as Hex, hash: transaction.hash as Hex }
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
