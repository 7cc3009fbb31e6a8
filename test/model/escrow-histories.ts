/**
 * Random histories of calls to the escrow. A move says what is to happen in words (all that is unclaimed and one more,
 * signed by a stranger); what that means in numbers is found when its turn comes.
 */
import * as fc from 'fast-check'
import type { Usdc } from '../../src/wire/amount.ts'
import type { ChannelConfig } from '../../src/wire/channel.ts'
import { curve } from '../../src/wire/curve.ts'
import type { Digests } from '../../src/wire/digests.ts'
import type { Address, Hex } from '../../src/wire/hex.ts'
import type { NetworkTerms } from '../../src/wire/network.ts'
import { accounts, type Account } from '../fixtures/accounts.ts'
import { channelConfig, word } from '../fixtures/chain.ts'
import {
  channelOf,
  zeroAddress,
  type ModelCall,
  type ModelState,
  type Row,
  type Signature,
} from './escrow-model.ts'

const faults = [
  'signer',
  'message',
  'malformed',
  'low ceiling',
  'nonce',
  'expired',
  'early',
  'collector',
] as const
export const kinds = [
  'deposit',
  'claim',
  'claimWithSignature',
  'settle',
  'initiateWithdraw',
  'finalizeWithdraw',
  'refund',
  'refundWithSignature',
] as const

export type Step = typeof step extends fc.Arbitrary<infer Shape> ? Shape : never
export type Move =
  | Step
  | { kind: 'replay'; pick: number; sender: Step['sender'] }
  | { kind: 'multicall'; steps: Step[] }

const names = Object.keys(accounts) as (keyof typeof accounts)[]
const weighted = <const T>(...choices: [weight: number, value: T][]) =>
  fc.oneof(...choices.map(([weight, value]) => ({ weight, arbitrary: fc.constant(value) })))
// Amounts are told by what the channel holds at that moment, so that the edges of every rule are met.
const step = fc.record({
  kind: fc.constantFrom(...kinds, 'deposit', 'deposit', 'deposit', 'claim', 'finalizeWithdraw'),
  channel: weighted<number>([6, 0], [6, 1], [6, 2], [1, 3], [1, 4]),
  second: weighted<number | null>([6, null], [1, 0], [1, 1], [1, 2]),
  base: weighted(
    [5, 'some'],
    [3, 'claimed'],
    [2, 'unclaimed'],
    [1, 'balance'],
    [1, 'pending'],
    [1, 'nothing'],
    [1, 'everything'],
  ),
  plus: fc.oneof(fc.constantFrom(0n, 1n), fc.bigInt(2n, 100n)),
  over: fc.constantFrom(0n, 1n, 100n),
  fault: fc.oneof(
    { weight: 3, arbitrary: fc.constant(null) },
    { weight: 1, arbitrary: fc.constantFrom(...faults) },
  ),
  isEmpty: weighted([20, false], [1, true]),
  sender: fc.oneof(
    { weight: 5, arbitrary: fc.constant('entitled' as const) },
    { weight: 1, arbitrary: fc.constantFrom(...names) },
  ),
  when: fc.constantFrom('next second', 'later', 'too early', 'in time', 'in time'),
})
export const move: fc.Arbitrary<Move> = fc.oneof(
  { weight: 16, arbitrary: step },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('replay' as const),
      pick: fc.nat(1000),
      sender: step.map(({ sender }) => sender),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('multicall' as const),
      steps: fc.array(step, { minLength: 0, maxLength: 3 }),
    }),
  },
)

export interface Sent {
  call: ModelCall
  sender: Address
}

/** What moves mean on one chain. */
export interface Player {
  /** The channels that the histories are about; the last two cannot be funded. */
  readonly configs: readonly ChannelConfig[]
  /** The time of the block that a move lands in, given that of the last one. */
  timeOf(one: Move, state: ModelState, nowSec: number): number
  /** The call; null for a replay when nothing was sent before. */
  toSent(one: Move, state: ModelState, nowSec: number, history: readonly Sent[]): Sent | null
}

export function openPlayer({ network, digests }: { network: NetworkTerms; digests: Digests }): Player {
  const idOf = (config: ChannelConfig) => digests.channelId(config)
  const configs = [
    channelConfig(network, 1, { withdrawDelay: 900 }),
    channelConfig(network, 2, { payerAuthorizer: zeroAddress, withdrawDelay: 2_592_000 }),
    // Pays itself, by another authorizer.
    channelConfig(network, 3, {
      receiver: accounts.payer.address,
      receiverAuthorizer: accounts.gas.address,
      withdrawDelay: 901,
    }),
    channelConfig(network, 4, { receiverAuthorizer: zeroAddress }),
    channelConfig(network, 5, { withdrawDelay: 899 }),
  ]

  function timeOf(one: Move, state: ModelState, nowSec: number): number {
    if (!('when' in one)) return nowSec + 1
    if (one.when === 'later') return nowSec + 700
    const config = configs[aimed(one, state).channel] as ChannelConfig
    const { withdrawInitiatedAtSec } = channelOf(state, idOf(config))
    const due = withdrawInitiatedAtSec + config.withdrawDelay
    const isTimed = one.kind === 'finalizeWithdraw' && withdrawInitiatedAtSec !== 0
    if (!isTimed || one.when === 'next second') return nowSec + 1
    return Math.max(nowSec + 1, one.when === 'too early' ? due - 1 : due)
  }

  function toSent(one: Move, state: ModelState, nowSec: number, history: readonly Sent[]): Sent | null {
    if (one.kind === 'replay') {
      const earlier = history[one.pick % Math.max(1, history.length)]
      if (!earlier) return null
      return {
        call: earlier.call,
        sender: one.sender === 'entitled' ? earlier.sender : accounts[one.sender].address,
      }
    }
    const steps = (one.kind === 'multicall' ? one.steps : [one]).map((inner) => aimed(inner, state))
    const [first] = steps
    const sender = first ? senderOf(first) : accounts.stranger.address
    const calls = steps.map((inner) => toCall(inner, state, nowSec))
    return { call: one.kind === 'multicall' ? { name: 'multicall', calls } : (calls[0] as ModelCall), sender }
  }

  // Left to chance, hardly a withdrawal would be finished.
  function aimed(one: Step, state: ModelState): Step {
    if (one.kind !== 'finalizeWithdraw' || one.second !== null) return one
    const channel = configs.findIndex((config) => channelOf(state, idOf(config)).withdrawAmount > 0n)
    return channel < 0 ? { ...one, kind: 'initiateWithdraw' } : { ...one, channel }
  }

  function senderOf({ sender, kind, channel, over }: Step): Address {
    if (sender !== 'entitled') return accounts[sender].address
    const { payer, payerAuthorizer, receiver, receiverAuthorizer } = configs[channel] as ChannelConfig
    if (kind === 'claim' || kind === 'refund')
      return over === 0n && channel !== 3 ? receiverAuthorizer : receiver
    if (kind === 'initiateWithdraw' || kind === 'finalizeWithdraw')
      return over === 0n && channel !== 1 ? payerAuthorizer : payer
    return accounts.stranger.address
  }

  function toCall(one: Step, state: ModelState, nowSec: number): ModelCall {
    const config = configs[one.channel] as ChannelConfig
    const id = idOf(config)
    const amount = amountOf(one, state)
    switch (one.kind) {
      case 'deposit':
        return toDeposit(one, config, amount, nowSec)
      case 'claim':
        return { name: 'claim', rows: toRows(one, state) }
      case 'claimWithSignature': {
        const rows = toRows(one, state)
        const digest = digests.claimBatch(
          rows.map((row, index) => ({
            channelId: idOf(row.config),
            maxClaimable: row.maxClaimable,
            totalClaimed: row.totalClaimed + (one.fault === 'message' && index === 0 ? 1n : 0n),
          })),
        )
        return { name: one.kind, rows, signature: sign(one, digest, config.receiverAuthorizer) }
      }
      case 'settle':
        return { name: 'settle', receiver: one.channel < 4 ? config.receiver : accounts.stranger.address }
      case 'initiateWithdraw':
      case 'refund':
        return { name: one.kind, config, amount }
      case 'finalizeWithdraw':
        return { name: 'finalizeWithdraw', config }
      default: {
        const nonce = channelOf(state, id).refundNonce + (one.fault === 'nonce' ? 1n : 0n)
        const digest = digests.refund(id, nonce, one.fault === 'message' ? amount + 1n : amount)
        return {
          name: 'refundWithSignature',
          config,
          amount,
          nonce,
          signature: sign(one, digest, config.receiverAuthorizer),
        }
      }
    }
  }

  function toDeposit(one: Step, config: ChannelConfig, wanted: Usdc, nowSec: number): ModelCall {
    const amount = one.base === 'everything' || one.base === 'nothing' ? wanted : one.plus * 3n + 1n
    // At the edge: with a second less on either side the token would refuse.
    const validAfter = one.fault === 'early' ? nowSec : nowSec - 1
    const validBefore = one.fault === 'expired' ? nowSec : nowSec + (one.over === 1n ? 1 : 10_000_000)
    const salt = word(one.fault === 'nonce' ? 1 : nowSec)
    const { assetName: name, assetVersion: version, chainId, asset, collector: to } = network
    const digest = digests.receiveAuthorization(
      { name, version, chainId, asset },
      {
        from: config.payer,
        to,
        value: one.fault === 'message' ? amount + 1n : amount,
        validAfter,
        validBefore,
        nonce: digests.depositNonce(idOf(config), salt),
      },
    )
    const authorization = { validAfter, validBefore, salt, signature: sign(one, digest, config.payer) }
    return {
      name: 'deposit',
      config,
      amount,
      collector: one.fault === 'collector' ? zeroAddress : to,
      authorization,
    }
  }

  function toRows(one: Step, state: ModelState): Row[] {
    if (one.isEmpty) return []
    const rows = [toRow(one, state)]
    if (one.second !== null) rows.push(toRow({ ...one, channel: one.second, fault: null }, state))
    return rows
  }

  function toRow(one: Step, state: ModelState): Row {
    const config = configs[one.channel] as ChannelConfig
    const totalClaimed = amountOf(one, state)
    const maxClaimable =
      one.fault === 'low ceiling' && totalClaimed > 0n ? totalClaimed - 1n : totalClaimed + one.over
    const digest = digests.voucher(idOf(config), one.fault === 'message' ? maxClaimable + 1n : maxClaimable)
    const signer = config.payerAuthorizer === zeroAddress ? config.payer : config.payerAuthorizer
    return { config, maxClaimable, totalClaimed, signature: sign(one, digest, signer) }
  }

  function amountOf(one: Step, state: ModelState): Usdc {
    const { base, plus } = one
    const channel = channelOf(state, idOf(configs[one.channel] as ChannelConfig))
    const unclaimed = channel.balance - channel.totalClaimed
    switch (base) {
      case 'nothing':
        return 0n
      case 'some':
        return (one.kind.startsWith('claim') ? channel.totalClaimed : 0n) + unclaimed / 2n
      case 'claimed':
        return channel.totalClaimed + plus
      case 'unclaimed':
        return unclaimed + (plus === 1n ? 1n : 0n)
      case 'balance':
        return channel.balance + (plus === 1n ? 1n : 0n)
      case 'pending':
        return channel.withdrawAmount + plus
      default:
        return 2n ** 128n - 101n
    }
  }

  return { configs, timeOf, toSent }
}

const byAddress = new Map<Address, Account>(
  Object.values(accounts).map((account) => [account.address, account]),
)
const curveOrder = 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n

// The zero address signs nothing: the stranger tries in its place.
function sign({ fault, over }: Step, digest: Hex, signer: Address): Signature {
  const entitled = fault === 'signer' ? accounts.stranger : (byAddress.get(signer) ?? accounts.stranger)
  const bytes = curve.sign(digest, entitled.key)
  const isWellFormed = fault !== 'malformed'
  return { by: entitled.address, digest, isWellFormed, bytes: isWellFormed ? bytes : malformed(bytes, over) }
}

function malformed(bytes: Hex, way: bigint): Hex {
  if (way === 0n) return bytes.slice(0, -2) as Hex
  if (way === 1n) return `${bytes.slice(0, -2)}00` as Hex
  // The mirror image, which plain secp256k1 takes for the same signature.
  const s = (curveOrder - BigInt(`0x${bytes.slice(66, 130)}`)).toString(16).padStart(64, '0')
  return `${bytes.slice(0, 66)}${s}${bytes.endsWith('1b') ? '1c' : '1b'}` as Hex
}
