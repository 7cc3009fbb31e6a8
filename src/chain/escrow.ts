import type { Result } from 'ethers'
import { OpenSeedError } from '../base/errors.ts'
import type { Usdc } from '../wire/amount.ts'
import type { Address, Hex } from '../wire/hex.ts'
import type { NetworkTerms } from '../wire/network.ts'
import { escrowAbi, tokenAbi } from './abi.ts'
import { escrowCalls, type Call, type EscrowCalls } from './calls.ts'
import { eventTopic, parseLog, type EscrowEvent, type EscrowEventName, type TxLog } from './events.ts'
import { decodeRevert } from './revert.ts'
import { resultOf, type Rpc, type RpcCall, type RpcReply } from './rpc.ts'

/** A channel as the escrow holds it. `balance` is gross: deposits less refunds and withdrawals, whatever was claimed. */
export interface ChannelOnChain {
  balance: Usdc
  totalClaimed: Usdc
  /** What a pending withdrawal asks for; 0 when none is pending. */
  withdrawAmount: Usdc
  /** When it was initiated, in seconds since the epoch; 0 when none is pending. */
  withdrawInitiatedAtSec: number
  refundNonce: bigint
}

/** The newest block. */
export interface Head {
  number: number
  hash: Hex
  timestampSec: number
}

/** What a call would do now. `reason` is an error name of the escrow or token, or the node's words. */
export type Simulation = { ok: true; data: Hex } | { ok: false; reason: string }

export interface EventFilter {
  /** All events when absent. */
  names?: readonly EscrowEventName[]
  /** Events of these channels alone. */
  channelIds?: readonly Hex[]
}

/** Reads of the escrow and its token. All throw what `Rpc` throws. */
export interface Escrow {
  readonly network: NetworkTerms
  readonly rpc: Rpc
  /** Calldata for the functions that change state; an `Outbox` sends it. */
  readonly calls: EscrowCalls
  /** One channel in one round trip, all fields of the same block (the newest unless `atBlock` says another). */
  channel(id: Hex, atBlock?: number): Promise<ChannelOnChain>
  /** Many channels in one round trip, all of the same block. */
  channels(ids: readonly Hex[], atBlock?: number): Promise<ChannelOnChain[]>
  receiver(receiver: Address, token: Address): Promise<{ totalClaimed: Usdc; totalSettled: Usdc }>
  tokenBalance(address: Address): Promise<Usdc>
  /** In wei. */
  nativeBalance(address: Address): Promise<bigint>
  /** Events of the blocks `fromBlock` to `toBlock`, both included, in order. */
  events(fromBlock: number, toBlock: number, filter?: EventFilter): Promise<EscrowEvent[]>
  head(): Promise<Head>
  /** The hash of the block at this height, null for one that is not there (yet). */
  blockHash(number: number): Promise<Hex | null>
  /** Whether an ERC-3009 nonce of the network's token was used (or cancelled). */
  authorizationUsed(payer: Address, nonce: Hex): Promise<boolean>
  simulate(call: Call, from?: Address): Promise<Simulation>
  /** See `revert.ts`. */
  decodeRevert(error: unknown): string | null
}

/** Reads `network`'s escrow over `rpc`. Nothing is sent before the first call. */
export function openEscrow(rpc: Rpc, network: NetworkTerms): Escrow {
  const calls = escrowCalls(network)

  async function read(to: Address, data: string, atBlock?: number): Promise<string> {
    const answer = (await rpc.send('eth_call', [{ to, data }, blockTag(atBlock)])) as string
    if (answer === '0x') throw noContract(to)
    return answer
  }

  async function channels(ids: readonly Hex[], atBlock?: number): Promise<ChannelOnChain[]> {
    if (ids.length === 0) return []
    // The escrow's own multicall: one call, hence one block, and no other contract is needed for it.
    const reads = ids.flatMap((id) => channelReads.map((name) => escrowAbi.encodeFunctionData(name, [id])))
    const answer = await read(network.escrow, escrowAbi.encodeFunctionData('multicall', [reads]), atBlock)
    const results = escrowAbi.decodeFunctionResult('multicall', answer)[0] as Result
    return ids.map((_, index) => toChannel(results.toArray().slice(index * 3, index * 3 + 3) as string[]))
  }

  async function events(
    fromBlock: number,
    toBlock: number,
    filter: EventFilter = {},
  ): Promise<EscrowEvent[]> {
    const topics = [filter.names?.map(eventTopic) ?? null, ...(filter.channelIds ? [filter.channelIds] : [])]
    const range = {
      fromBlock: blockTag(fromBlock),
      toBlock: blockTag(toBlock),
      address: network.escrow,
      topics,
    }
    const logs = (await rpc.send('eth_getLogs', [range])) as (TxLog & LogPlace)[]
    return logs.flatMap((log) => {
      const fact = log.removed ? null : parseLog(log)
      return fact ? [{ ...fact, ...placeOf(log) }] : []
    })
  }

  async function simulate(call: Call, from?: Address): Promise<Simulation> {
    const [reply] = await rpc.batch([
      { method: 'eth_call', params: [from ? { ...call, from } : call, 'latest'] },
    ])
    return toSimulation(reply)
  }

  return {
    network,
    rpc,
    calls,
    channels,
    channel: async (id, atBlock) => (await channels([id], atBlock))[0] as ChannelOnChain,
    receiver: async (receiver, token) => {
      const data = escrowAbi.encodeFunctionData('receivers', [receiver, token])
      const [totalClaimed, totalSettled] = escrowAbi.decodeFunctionResult(
        'receivers',
        await read(network.escrow, data),
      )
      return { totalClaimed, totalSettled }
    },
    tokenBalance: async (address) =>
      toBigInt(await rpc.send('eth_call', tokenBalanceOf(network.asset, address).params)),
    nativeBalance: async (address) => toBigInt(await rpc.send('eth_getBalance', [address, 'latest'])),
    events,
    head: async () => toHead(await rpc.send('eth_getBlockByNumber', ['latest', false])),
    blockHash: async (number) => {
      const block = (await rpc.send('eth_getBlockByNumber', [blockTag(number), false])) as {
        hash: Hex
      } | null
      return block?.hash ?? null
    },
    authorizationUsed: async (payer, nonce) =>
      toBigInt(await rpc.send('eth_call', authorizationState(network.asset, payer, nonce).params)) !== 0n,
    simulate,
    decodeRevert,
  }
}

/** The `balanceOf` read of a token, for a batch. */
export const tokenBalanceOf = (token: Address, address: Address) =>
  ethCall(token, tokenAbi.encodeFunctionData('balanceOf', [address]))

/** The `authorizationState` read of a token, for a batch. Its result is 1 when the nonce is used. */
export const authorizationState = (token: Address, payer: Address, nonce: Hex) =>
  ethCall(token, tokenAbi.encodeFunctionData('authorizationState', [payer, nonce]))

/** The result of a read as an integer; empty data (no contract there) is 0. */
export function toBigInt(result: unknown): bigint {
  return typeof result === 'string' && result !== '0x' ? BigInt(result) : 0n
}

/** The head out of an `eth_getBlockByNumber` result. */
export function toHead(block: unknown): Head {
  const { number, hash, timestamp } = block as { number: string; hash: Hex; timestamp: string }
  return { number: Number(number), hash, timestampSec: Number(timestamp) }
}

/** What an `eth_call` reply says. */
export function toSimulation(reply: RpcReply | undefined): Simulation {
  if (reply?.ok) return { ok: true, data: reply.result as Hex }
  return { ok: false, reason: decodeRevert(reply) ?? reply?.message ?? 'no reply' }
}

/** Whether an `eth_getCode` reply holds code. */
export function hasCode(reply: RpcReply | undefined): boolean {
  const code = resultOf(reply, 'eth_getCode')
  return typeof code === 'string' && code.length > 2
}

const noContract = (place: Address) =>
  new OpenSeedError('chain_mismatch', {
    message: `There is no escrow at ${place} on this chain.`,
    hint: 'Check the network in the config.',
  })

const channelReads = ['channels', 'pendingWithdrawals', 'refundNonce'] as const

function toChannel([channel, withdrawal, nonce]: readonly string[]): ChannelOnChain {
  const [balance, totalClaimed] = escrowAbi.decodeFunctionResult('channels', channel ?? '0x')
  const [amount, initiatedAt] = escrowAbi.decodeFunctionResult('pendingWithdrawals', withdrawal ?? '0x')
  const [refundNonce] = escrowAbi.decodeFunctionResult('refundNonce', nonce ?? '0x')
  return {
    balance,
    totalClaimed,
    withdrawAmount: amount,
    withdrawInitiatedAtSec: Number(initiatedAt),
    refundNonce,
  }
}

const ethCall = (to: Address, data: string) =>
  ({ method: 'eth_call', params: [{ to, data }, 'latest'] }) satisfies RpcCall

const blockTag = (block: number | undefined) => (block === undefined ? 'latest' : `0x${block.toString(16)}`)

interface LogPlace {
  blockNumber: string
  blockHash: Hex
  transactionHash: Hex
  logIndex: string
  removed?: boolean
}

const placeOf = (log: LogPlace) => ({
  block: Number(log.blockNumber),
  blockHash: log.blockHash,
  txHash: log.transactionHash,
  logIndex: Number(log.logIndex),
})
