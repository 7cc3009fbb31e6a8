import type { LogDescription, Result } from 'ethers'
import type { Usdc } from '../wire/amount.ts'
import type { ChannelConfig } from '../wire/channel.ts'
import type { Address, Hex } from '../wire/hex.ts'
import { escrowAbi } from './abi.ts'

/** A log as JSON-RPC gives it, as far as it is used. */
export interface TxLog {
  address: Address
  topics: Hex[]
  data: Hex
}

/** What an event of the escrow says. Amounts are atomic USDC, times seconds since the epoch. */
export type EscrowFact =
  | { name: 'ChannelCreated' | 'ChannelClosed'; channelId: Hex; config: ChannelConfig }
  | { name: 'Deposited'; channelId: Hex; sender: Address; amount: Usdc; newBalance: Usdc }
  | { name: 'Claimed'; channelId: Hex; sender: Address; claimAmount: Usdc; newTotalClaimed: Usdc }
  | { name: 'Settled'; receiver: Address; token: Address; sender: Address; amount: Usdc }
  | { name: 'Refunded' | 'WithdrawFinalized'; channelId: Hex; sender: Address; amount: Usdc }
  | { name: 'WithdrawInitiated'; channelId: Hex; amount: Usdc; finalizeAfterSec: number }

export type EscrowEventName = EscrowFact['name']

/** An event with its place in the chain. */
export type EscrowEvent = EscrowFact & { block: number; blockHash: Hex; txHash: Hex; logIndex: number }

/** The events of `escrow` among the logs of a transaction, in order; other contracts' logs are passed over. */
export function parseLogs(logs: readonly TxLog[], escrow: Address): EscrowFact[] {
  return logs
    .filter((log) => log.address.toLowerCase() === escrow)
    .map((log) => parseLog(log))
    .filter((fact) => fact !== null)
}

/** What a log of the escrow says; null for an event that this interface does not have. */
export function parseLog(log: TxLog): EscrowFact | null {
  const parsed = escrowAbi.parseLog(log)
  return parsed && toFact(parsed)
}

/** The first topic of an event. */
export function eventTopic(name: EscrowEventName): Hex {
  const event = escrowAbi.getEvent(name)
  if (!event) throw new RangeError(`no event ${name}`)
  return event.topicHash as Hex
}

function toFact({ name, args }: LogDescription): EscrowFact | null {
  const channelId = () => args['channelId'] as Hex
  switch (name) {
    case 'ChannelCreated':
    case 'ChannelClosed':
      return { name, channelId: channelId(), config: toConfig(args['config'] as Result) }
    case 'Deposited':
      return {
        name,
        channelId: channelId(),
        sender: address(args, 'sender'),
        amount: amount(args, 'amount'),
        newBalance: amount(args, 'newBalance'),
      }
    case 'Claimed':
      return {
        name,
        channelId: channelId(),
        sender: address(args, 'sender'),
        claimAmount: amount(args, 'claimAmount'),
        newTotalClaimed: amount(args, 'newTotalClaimed'),
      }
    case 'Settled':
      return {
        name,
        receiver: address(args, 'receiver'),
        token: address(args, 'token'),
        sender: address(args, 'sender'),
        amount: amount(args, 'amount'),
      }
    case 'Refunded':
    case 'WithdrawFinalized':
      return { name, channelId: channelId(), sender: address(args, 'sender'), amount: amount(args, 'amount') }
    case 'WithdrawInitiated':
      return {
        name,
        channelId: channelId(),
        amount: amount(args, 'amount'),
        finalizeAfterSec: Number(args['finalizeAfter']),
      }
    default:
      return null
  }
}

const address = (args: Result, name: string) => String(args[name]).toLowerCase() as Address
const amount = (args: Result, name: string): Usdc => args[name] as bigint

// Not parsed as a message would be: a stranger's odd channel must not stop the reading of ours.
function toConfig(config: Result): ChannelConfig {
  return {
    payer: address(config, 'payer'),
    payerAuthorizer: address(config, 'payerAuthorizer'),
    receiver: address(config, 'receiver'),
    receiverAuthorizer: address(config, 'receiverAuthorizer'),
    token: address(config, 'token'),
    withdrawDelay: Number(config['withdrawDelay']),
    salt: config['salt'] as Hex,
  }
}
