/**
 * The escrow as its interface documents it, in plain TypeScript: what the natspec of IChannelEscrow and the README of
 * the contracts promise, and nothing of how the contract does it. Where a call breaks several rules at once, any of
 * their errors is right, because the documentation gives no order.
 */
import type { ChannelOnChain } from '../../src/chain/escrow.ts'
import type { EscrowFact } from '../../src/chain/events.ts'
import type { Usdc } from '../../src/wire/amount.ts'
import type { ChannelConfig } from '../../src/wire/channel.ts'
import type { Digests } from '../../src/wire/digests.ts'
import type { Address, Hex } from '../../src/wire/hex.ts'
import type { NetworkTerms } from '../../src/wire/network.ts'

/** A signature, and what the model knows about how it was made. */
export interface Signature {
  by: Address
  digest: Hex
  isWellFormed: boolean
  bytes: Hex
}

export interface Row {
  config: ChannelConfig
  maxClaimable: Usdc
  totalClaimed: Usdc
  signature: Signature
}

export interface Authorization {
  validAfter: number
  validBefore: number
  salt: Hex
  signature: Signature
}

export type ModelCall =
  | {
      name: 'deposit'
      config: ChannelConfig
      amount: Usdc
      collector: Address
      authorization: Authorization
    }
  | { name: 'claim'; rows: Row[] }
  | { name: 'claimWithSignature'; rows: Row[]; signature: Signature }
  | { name: 'settle'; receiver: Address }
  | { name: 'initiateWithdraw'; config: ChannelConfig; amount: Usdc }
  | { name: 'finalizeWithdraw'; config: ChannelConfig }
  | { name: 'refund'; config: ChannelConfig; amount: Usdc }
  | {
      name: 'refundWithSignature'
      config: ChannelConfig
      amount: Usdc
      nonce: bigint
      signature: Signature
    }
  | { name: 'multicall'; calls: ModelCall[] }

/** Who sends a call, and the time of the block that it lands in. */
export interface Circumstances {
  sender: Address
  nowSec: number
}

export interface Receiver {
  totalClaimed: Usdc
  totalSettled: Usdc
}

/** Everything that anybody can read; whoever is missing has nothing. */
export interface ModelState {
  channels: Map<Hex, ChannelOnChain>
  receivers: Map<Address, Receiver>
  tokens: Map<Address, Usdc>
  usedAuthorizations: Set<Hex>
}

/** `errors` are the errors that the call may end with; none when it must succeed. */
export interface Outcome {
  errors: string[]
  events: EscrowFact[]
  state: ModelState
}

export const zeroAddress: Address = `0x${'0'.repeat(40)}`
const badSignature = [
  'InvalidSignature',
  'ECDSAInvalidSignature',
  'ECDSAInvalidSignatureLength',
  'ECDSAInvalidSignatureS',
]

export const channelOf = (state: ModelState, id: Hex): ChannelOnChain =>
  state.channels.get(id) ?? {
    balance: 0n,
    totalClaimed: 0n,
    withdrawAmount: 0n,
    withdrawInitiatedAtSec: 0,
    refundNonce: 0n,
  }
export const receiverOf = (state: ModelState, address: Address): Receiver =>
  state.receivers.get(address) ?? { totalClaimed: 0n, totalSettled: 0n }

/** What a call does; `state` is left as it is. */
export function applyCall(
  state: ModelState,
  call: ModelCall,
  circumstances: Circumstances,
  { digests, network }: { digests: Digests; network: NetworkTerms },
): Outcome {
  const next = structuredClone(state)
  const events: EscrowFact[] = []
  const { sender, nowSec } = circumstances
  const errors = run(call)
  return errors.length > 0 ? { errors, events: [], state } : { errors, events, state: next }

  function run(one: ModelCall): string[] {
    switch (one.name) {
      case 'deposit':
        return deposit(one)
      case 'claim':
        return claim(one.rows, (row) => (isReceiverSide(row.config) ? [] : ['NotAuthorizedToClaim']))
      case 'claimWithSignature':
        return claimWithSignature(one.rows, one.signature)
      case 'settle':
        return settle(one.receiver)
      case 'initiateWithdraw':
        return initiateWithdraw(one.config, one.amount)
      case 'finalizeWithdraw':
        return finalizeWithdraw(one.config)
      case 'refund':
        return isReceiverSide(one.config)
          ? refund(one.config, one.amount)
          : ['NotAuthorizedToRefund', ...zeroRefund(one.amount)]
      case 'multicall':
        return runAll(one.calls)
      default:
        return refundWithSignature(one)
    }
  }

  function runAll(calls: readonly ModelCall[]): string[] {
    for (const one of calls) {
      const refusals = run(one)
      if (refusals.length > 0) return refusals
    }
    return []
  }

  function deposit(one: ModelCall & { name: 'deposit' }): string[] {
    const { config, amount, collector, authorization } = one
    const id = digests.channelId(config)
    const channel = channelOf(next, id)
    const parties = [config.payer, config.receiver, config.receiverAuthorizer, config.token]
    const refusals = [
      ...when(parties.includes(zeroAddress), 'InvalidChannel'),
      ...when(
        config.withdrawDelay < 15 * 60 || config.withdrawDelay > 30 * 86_400,
        'WithdrawDelayOutOfRange',
      ),
      ...when(amount === 0n, 'ZeroDeposit'),
      ...when(collector === zeroAddress, 'InvalidCollector'),
      ...when(channel.balance + amount >= 2n ** 128n, 'DepositOverflow'),
      ...authorizationRefusals(config, amount, id, authorization),
    ]
    if (refusals.length > 0) return refusals
    next.usedAuthorizations.add(digests.depositNonce(id, authorization.salt))
    move(config.payer, network.escrow, amount)
    const newBalance = channel.balance + amount
    next.channels.set(id, { ...channel, balance: newBalance })
    if (channel.balance === 0n) events.push({ name: 'ChannelCreated', channelId: id, config })
    events.push({ name: 'Deposited', channelId: id, sender, amount, newBalance })
    return []
  }

  // The token's own rules, those of ERC-3009.
  function authorizationRefusals(config: ChannelConfig, amount: Usdc, id: Hex, given: Authorization) {
    const { validAfter, validBefore, salt, signature } = given
    const nonce = digests.depositNonce(id, salt)
    const { assetName: name, assetVersion: version, chainId, asset, collector: to } = network
    const digest = digests.receiveAuthorization(
      { name, version, chainId, asset },
      { from: config.payer, to, value: amount, validAfter, validBefore, nonce },
    )
    return [
      ...when(nowSec <= validAfter, 'AuthorizationNotYetValid'),
      ...when(nowSec >= validBefore, 'AuthorizationExpired'),
      ...when(next.usedAuthorizations.has(nonce), 'AuthorizationAlreadyUsed'),
      ...when((next.tokens.get(config.payer) ?? 0n) < amount, 'InsufficientBalance'),
      ...signatureRefusals(signature, config.payer, digest),
    ]
  }

  function claim(rows: readonly Row[], entitlement: (row: Row) => string[]): string[] {
    if (rows.length === 0) return ['EmptyBatch']
    return rows.flatMap((row) => [...entitlement(row), ...claimRow(row)])
  }

  function claimRow({ config, maxClaimable, totalClaimed, signature }: Row): string[] {
    const id = digests.channelId(config)
    const channel = channelOf(next, id)
    if (totalClaimed <= channel.totalClaimed) return []
    const signer = config.payerAuthorizer === zeroAddress ? config.payer : config.payerAuthorizer
    const refusals = [
      ...when(totalClaimed > maxClaimable, 'ClaimExceedsCeiling'),
      ...when(totalClaimed > channel.balance, 'ClaimExceedsBalance'),
      ...signatureRefusals(signature, signer, digests.voucher(id, maxClaimable)),
    ]
    if (refusals.length > 0) return refusals
    const claimAmount = totalClaimed - channel.totalClaimed
    const receiver = receiverOf(next, config.receiver)
    next.channels.set(id, { ...channel, totalClaimed })
    next.receivers.set(config.receiver, { ...receiver, totalClaimed: receiver.totalClaimed + claimAmount })
    events.push({ name: 'Claimed', channelId: id, sender, claimAmount, newTotalClaimed: totalClaimed })
    return []
  }

  function claimWithSignature(rows: readonly Row[], signature: Signature): string[] {
    const authorizer = rows[0]?.config.receiverAuthorizer ?? zeroAddress
    const digest = digests.claimBatch(
      rows.map(({ config, ...row }) => ({ ...row, channelId: digests.channelId(config) })),
    )
    const refusals = rows.length === 0 ? [] : signatureRefusals(signature, authorizer, digest)
    const claims = claim(rows, ({ config }) =>
      when(config.receiverAuthorizer !== authorizer, 'NotReceiverAuthorizer'),
    )
    return [...refusals, ...claims]
  }

  function settle(address: Address): string[] {
    const receiver = receiverOf(next, address)
    const amount = receiver.totalClaimed - receiver.totalSettled
    if (amount === 0n) return []
    next.receivers.set(address, { ...receiver, totalSettled: receiver.totalClaimed })
    move(network.escrow, address, amount)
    events.push({ name: 'Settled', receiver: address, token: network.asset, sender, amount })
    return []
  }

  function initiateWithdraw(config: ChannelConfig, amount: Usdc): string[] {
    const id = digests.channelId(config)
    const channel = channelOf(next, id)
    const refusals = [
      ...when(!isPayerSide(config), 'InvalidChannel'),
      ...when(amount === 0n, 'NothingToWithdraw'),
      ...when(channel.withdrawInitiatedAtSec !== 0, 'WithdrawalAlreadyPending'),
      ...when(amount > unclaimed(channel), 'WithdrawAmountExceedsAvailable'),
    ]
    if (refusals.length > 0) return refusals
    next.channels.set(id, { ...channel, withdrawAmount: amount, withdrawInitiatedAtSec: nowSec })
    const finalizeAfterSec = nowSec + config.withdrawDelay
    events.push({ name: 'WithdrawInitiated', channelId: id, amount, finalizeAfterSec })
    return []
  }

  function finalizeWithdraw(config: ChannelConfig): string[] {
    const id = digests.channelId(config)
    const channel = channelOf(next, id)
    const startedAt = channel.withdrawInitiatedAtSec
    const refusals = [
      ...when(!isPayerSide(config), 'NotAuthorizedToFinalizeWithdraw'),
      ...when(startedAt === 0, 'WithdrawalNotPending'),
      ...when(startedAt !== 0 && nowSec < startedAt + config.withdrawDelay, 'WithdrawDelayNotElapsed'),
    ]
    if (refusals.length > 0) return refusals
    const amount = least(channel.withdrawAmount, unclaimed(channel))
    events.push({ name: 'WithdrawFinalized', channelId: id, sender, amount })
    giveBack(config, { ...channel, withdrawAmount: 0n, withdrawInitiatedAtSec: 0 }, amount)
    return []
  }

  function refundWithSignature(one: ModelCall & { name: 'refundWithSignature' }): string[] {
    const { config, amount, nonce, signature } = one
    const id = digests.channelId(config)
    const refusals = [
      ...when(nonce !== channelOf(next, id).refundNonce, 'InvalidRefundNonce'),
      ...signatureRefusals(signature, config.receiverAuthorizer, digests.refund(id, nonce, amount)),
    ]
    return refusals.length > 0 ? [...refusals, ...zeroRefund(amount)] : refund(config, amount)
  }

  function refund(config: ChannelConfig, requested: Usdc): string[] {
    if (requested === 0n) return zeroRefund(requested)
    const id = digests.channelId(config)
    const before = channelOf(next, id)
    const channel = { ...before, refundNonce: before.refundNonce + 1n }
    next.channels.set(id, channel)
    const amount = least(requested, unclaimed(channel))
    if (amount === 0n) return []
    events.push({ name: 'Refunded', channelId: id, sender, amount })
    const left = channel.withdrawAmount - amount
    const pending = left > 0n ? { withdrawAmount: left } : { withdrawAmount: 0n, withdrawInitiatedAtSec: 0 }
    giveBack(config, { ...channel, ...pending }, amount)
    return []
  }

  function giveBack(config: ChannelConfig, channel: ChannelOnChain, amount: Usdc): void {
    const id = digests.channelId(config)
    const balance = channel.balance - amount
    next.channels.set(id, { ...channel, balance })
    move(network.escrow, config.payer, amount)
    if (balance === 0n) events.push({ name: 'ChannelClosed', channelId: id, config })
  }

  function move(from: Address, to: Address, amount: Usdc): void {
    next.tokens.set(from, (next.tokens.get(from) ?? 0n) - amount)
    next.tokens.set(to, (next.tokens.get(to) ?? 0n) + amount)
  }

  function isReceiverSide({ receiver, receiverAuthorizer }: ChannelConfig): boolean {
    return sender === receiver || sender === receiverAuthorizer
  }

  function isPayerSide({ payer, payerAuthorizer }: ChannelConfig): boolean {
    return sender === payer || sender === payerAuthorizer
  }
}

const when = (condition: boolean, error: string): string[] => (condition ? [error] : [])
const zeroRefund = (amount: Usdc) => when(amount === 0n, 'ZeroRefund')
const unclaimed = ({ balance, totalClaimed }: ChannelOnChain) => balance - totalClaimed
const least = (a: bigint, b: bigint) => (a < b ? a : b)

function signatureRefusals({ by, digest, isWellFormed }: Signature, signer: Address, wanted: Hex): string[] {
  if (!isWellFormed) return badSignature
  return when(by !== signer || digest !== wanted, 'InvalidSignature')
}
