import { AbiCoder } from 'ethers'
import type { Erc3009Authorization } from '../wire/batch-settlement.ts'
import type { ChannelConfig } from '../wire/channel.ts'
import type { Usdc } from '../wire/amount.ts'
import type { Address, Hex } from '../wire/hex.ts'
import type { NetworkTerms } from '../wire/network.ts'
import { escrowAbi } from './abi.ts'

/** A call to a contract: where to, and the encoded function with its arguments. */
export interface Call {
  to: Address
  data: Hex
}

/** One row of a claim: the payer's voucher, and the cumulative amount that the receiver takes of it. */
export interface ClaimRow {
  config: ChannelConfig
  maxClaimable: Usdc
  signature: Hex
  totalClaimed: Usdc
}

/** Calldata of the escrow's functions. Who may send each is said in the contract's interface. */
export interface EscrowCalls {
  /** Anyone may send it: the payer's ERC-3009 authorization brings the tokens. */
  deposit(config: ChannelConfig, amount: Usdc, authorization: Erc3009Authorization): Call
  /** For the receiver or the receiver authorizer. One bad row reverts all; rows already claimed change nothing. */
  claim(rows: readonly ClaimRow[]): Call
  /** For anyone: `signature` is the receiver authorizer's over the batch. */
  claimWithSignature(rows: readonly ClaimRow[], signature: Hex): Call
  settle(receiver: Address, token: Address): Call
  refund(config: ChannelConfig, amount: Usdc): Call
  refundWithSignature(config: ChannelConfig, amount: Usdc, nonce: bigint, signature: Hex): Call
  /** For the payer or its authorizer. */
  initiateWithdraw(config: ChannelConfig, amount: Usdc): Call
  /** For the payer or its authorizer, once the delay has passed. */
  finalizeWithdraw(config: ChannelConfig): Call
  /** Several of the above in one transaction, all or none. */
  multicall(calls: readonly Call[]): Call
}

export function escrowCalls({ escrow, collector }: Pick<NetworkTerms, 'escrow' | 'collector'>): EscrowCalls {
  const call = (name: string, values: readonly unknown[]): Call => ({
    to: escrow,
    data: escrowAbi.encodeFunctionData(name, values) as Hex,
  })
  return {
    deposit: (config, amount, authorization) =>
      call('deposit', [config, amount, collector, collectorData(authorization)]),
    claim: (rows) => call('claim', [rows.map(claimTuple)]),
    claimWithSignature: (rows, signature) => call('claimWithSignature', [rows.map(claimTuple), signature]),
    settle: (receiver, token) => call('settle', [receiver, token]),
    refund: (config, amount) => call('refund', [config, amount]),
    refundWithSignature: (config, amount, nonce, signature) =>
      call('refundWithSignature', [config, amount, nonce, signature]),
    initiateWithdraw: (config, amount) => call('initiateWithdraw', [config, amount]),
    finalizeWithdraw: (config) => call('finalizeWithdraw', [config]),
    multicall: (calls) => call('multicall', [calls.map(({ data }) => data)]),
  }
}

const claimTuple = ({ config, maxClaimable, signature, totalClaimed }: ClaimRow) => ({
  voucher: { channel: config, maxClaimableAmount: maxClaimable },
  signature,
  totalClaimed,
})

function collectorData({ validAfter, validBefore, salt, signature }: Erc3009Authorization): string {
  return AbiCoder.defaultAbiCoder().encode(
    ['uint256', 'uint256', 'uint256', 'bytes'],
    [validAfter, validBefore, BigInt(salt), signature],
  )
}
