import type { Address } from '../wire/hex.ts'
import { dataFeeAbi } from './abi.ts'
import { vouched } from './quorum.ts'
import type { Rpc } from './rpc.ts'

// Where every chain of the OP stack has it.
const oracle: Address = '0x420000000000000000000000000000000000000f'

/**
 * What a chain that keeps its transactions on another one asks for their bytes, besides gas: in wei, for unsigned
 * transactions of these many bytes, at most. Asks all in one round trip, and counts what enough RPCs vouch for. A chain
 * that no longer answers the question counts as asking nothing: claims must not wait for it. Throws what `Rpc.all` does.
 */
export async function readDataFees(rpc: Rpc, sizes: readonly number[]): Promise<bigint[]> {
  const calls = sizes.map((size) => ({
    method: 'eth_call',
    params: [{ to: oracle, data: dataFeeAbi.encodeFunctionData('getL1FeeUpperBound', [size]) }, 'latest'],
  }))
  const told = await rpc.all(async (source) => {
    const replies = await source.batch(calls)
    return replies.map((reply) => (reply.ok ? toFee(reply.result) : 0n))
  })
  const needed = rpc.needed(told.length)
  return sizes.map((_, at) => {
    const fees = told.map((of) => of[at] ?? 0n)
    return vouched(fees, needed) ?? 0n
  })
}

// An address without code answers with nothing.
const toFee = (result: unknown): bigint =>
  typeof result === 'string' && /^0x[0-9a-f]{64}$/i.test(result) ? BigInt(result) : 0n
