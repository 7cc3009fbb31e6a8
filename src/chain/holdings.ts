import type { Usdc } from '../wire/amount.ts'
import type { Address, Hex } from '../wire/hex.ts'
import {
  authorizationState,
  tokenBalanceOf,
  toBigInt,
  type ChannelOnChain,
  type Escrow,
  type Head,
} from './escrow.ts'
import { resultOf, type RpcCall } from './rpc.ts'

/** What a wallet and its channels hold, all of one block. */
export interface Holdings {
  head: Head
  usdc: Usdc
  /** The chain's native coin, which pays gas. */
  wei: bigint
  /** In the order asked for. */
  channels: ChannelOnChain[]
  /** Whether each deposit authorization was used, in the order asked for. */
  used: boolean[]
}

/** Reads them at the newest block. Throws what `Rpc` throws. */
export async function readHoldings(
  escrow: Escrow,
  payer: Address,
  { ids, nonces }: { ids: readonly Hex[]; nonces: readonly Hex[] },
): Promise<Holdings> {
  const { rpc, network } = escrow
  const head = await escrow.head()
  const tag = `0x${head.number.toString(16)}`
  const calls: RpcCall[] = [
    tokenBalanceOf(network.asset, payer),
    { method: 'eth_getBalance', params: [payer] },
    ...nonces.map((nonce) => authorizationState(network.asset, payer, nonce)),
  ]
  const [channels, [usdc, wei, ...used]] = await Promise.all([
    escrow.channels(ids, head.number),
    rpc.batch(calls.map(({ method, params }) => ({ method, params: [params?.[0], tag] }))),
  ])
  return {
    head,
    usdc: toBigInt(resultOf(usdc, 'eth_call')),
    wei: toBigInt(resultOf(wei, 'eth_getBalance')),
    channels,
    used: used.map((reply) => toBigInt(resultOf(reply, 'eth_call')) !== 0n),
  }
}
