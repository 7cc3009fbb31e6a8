import { OpenSeedError } from '../base/errors.ts'
import { parseAmount, type Usdc } from './amount.ts'
import { encodeChannelConfig, parseChannelConfig, type ChannelConfig } from './channel.ts'
import { expectInteger, expectObject, expectUint, present, refuseMessage } from './fields.ts'
import { asHex, asHex32, type Hex } from './hex.ts'

/** The scheme's name in `accepts` entries. */
export const batchSettlement = 'batch-settlement'

const evm = <Suffix extends string>(suffix: Suffix) => `invalid_batch_settlement_evm_${suffix}` as const

/** The scheme's error strings, sent verbatim as `error` of a 402 and as `errorReason` of a settlement. */
export const batchErrors = {
  cumulativeAmountMismatch: evm('cumulative_amount_mismatch'),
  cumulativeBelowClaimed: evm('cumulative_below_claimed'),
  cumulativeExceedsBalance: evm('cumulative_exceeds_balance'),
  chargeExceedsSignedCumulative: evm('charge_exceeds_signed_cumulative'),
  channelBusy: evm('channel_busy'),
  channelIdInvalid: evm('channel_id_invalid'),
  channelIdMismatch: evm('channel_id_mismatch'),
  channelNotFound: evm('channel_not_found'),
  missingChannel: evm('missing_channel'),
  voucherSignature: evm('voucher_signature'),
  receiverMismatch: evm('receiver_mismatch'),
  receiverAuthorizerMismatch: evm('receiver_authorizer_mismatch'),
  tokenMismatch: evm('token_mismatch'),
  withdrawDelayMismatch: evm('withdraw_delay_mismatch'),
  withdrawDelayOutOfRange: evm('withdraw_delay_out_of_range'),
  networkMismatch: evm('network_mismatch'),
  scheme: evm('scheme'),
  payloadType: evm('payload_type'),
  missingEip712Domain: evm('missing_eip712_domain'),
  erc3009AuthorizationRequired: evm('erc3009_authorization_required'),
  depositBelowMinDeposit: evm('deposit_below_min_deposit'),
  depositSimulationFailed: evm('deposit_simulation_failed'),
  depositTransactionFailed: evm('deposit_transaction_failed'),
  insufficientBalance: evm('insufficient_balance'),
  receiveAuthorizationSignature: evm('receive_authorization_signature'),
  authorizationValidAfter: evm('payload_authorization_valid_after'),
  authorizationValidBefore: evm('payload_authorization_valid_before'),
  refundPayload: evm('refund_payload'),
  refundNoBalance: evm('refund_no_balance'),
  refundAmountInvalid: evm('refund_amount_invalid'),
  refundSimulationFailed: evm('refund_simulation_failed'),
  refundTransactionFailed: evm('refund_transaction_failed'),
  claimSimulationFailed: evm('claim_simulation_failed'),
  claimTransactionFailed: evm('claim_transaction_failed'),
  nothingToSettle: evm('nothing_to_settle'),
  settleSimulationFailed: evm('settle_simulation_failed'),
  settleTransactionFailed: evm('settle_transaction_failed'),
  rpcReadFailed: evm('rpc_read_failed'),
  verificationStateUnavailable: evm('verification_state_unavailable'),
} as const

/** One of the scheme's error strings. */
export type BatchError = (typeof batchErrors)[keyof typeof batchErrors]

/** A cumulative ceiling signed by the payerAuthorizer: all that may ever be claimed from the channel so far. */
export interface Voucher {
  channelId: Hex
  maxClaimable: Usdc
  signature: Hex
}

/** The payer's ERC-3009 signature for a deposit; its nonce follows from the channel id and the salt. */
export interface Erc3009Authorization {
  /** Unix seconds, decimal strings on the wire. */
  validAfter: number
  /** Unix seconds, decimal strings on the wire. */
  validBefore: number
  salt: Hex
  /** 65 bytes from a key; longer from a contract wallet. */
  signature: Hex
}

/** What a payment of this scheme carries. A refund without amount asks for all that is left. */
export type BatchPayload =
  | { type: 'voucher'; config: ChannelConfig; voucher: Voucher }
  | {
      type: 'deposit'
      config: ChannelConfig
      voucher: Voucher
      deposit: { amount: Usdc; authorization: Erc3009Authorization }
    }
  | { type: 'refund'; config: ChannelConfig; voucher: Voucher; amount?: Usdc }

/** The server's view of a channel, in `extra.channelState` of a corrective 402 and of a settlement. */
export interface ChannelStateExtra {
  channelId: Hex
  balance: Usdc
  totalClaimed: Usdc
  /** Unix seconds; 0 when no withdrawal is pending. */
  withdrawRequestedAt: number
  refundNonce: bigint
  chargedCumulativeAmount?: Usdc
}

/** The client's own highest voucher as proof, in `extra.voucherState` of a corrective 402. */
export interface VoucherStateExtra {
  signedMaxClaimable: Usdc
  signature: Hex
}

/**
 * Parses `payload` of a batch-settlement payment. Signatures, ids and ranges are not judged here.
 * Throws `invalid_message`; `details.reason` is the scheme's error string where it has one.
 */
export function parseBatchPayload(payload: unknown): BatchPayload {
  const fields = expectObject(payload, 'payload')
  const type = fields['type']
  if (type !== 'voucher' && type !== 'deposit' && type !== 'refund')
    throw refusal('The payload type must be voucher, deposit or refund.', batchErrors.payloadType)
  const config = parseChannelConfig(fields['channelConfig'])
  const voucher = parseVoucher(fields['voucher'])
  if (type === 'voucher') return { type, config, voucher }
  if (type === 'deposit') return { type, config, voucher, deposit: parseDeposit(fields['deposit']) }
  const amount = present(fields['amount'])
  return { type, config, voucher, ...(amount === undefined ? {} : { amount: parseRefundAmount(amount) }) }
}

/** The JSON form of a payload. */
export function encodeBatchPayload(payload: BatchPayload): Record<string, unknown> {
  const common = {
    type: payload.type,
    channelConfig: encodeChannelConfig(payload.config),
    voucher: encodeVoucher(payload.voucher),
  }
  if (payload.type === 'voucher') return common
  if (payload.type === 'refund')
    return payload.amount === undefined ? common : { ...common, amount: payload.amount.toString() }
  const { amount, authorization } = payload.deposit
  const erc3009Authorization = {
    validAfter: authorization.validAfter.toString(),
    validBefore: authorization.validBefore.toString(),
    salt: authorization.salt,
    signature: authorization.signature,
  }
  return { ...common, deposit: { amount: amount.toString(), authorization: { erc3009Authorization } } }
}

/** Parses `channelState`; counters are taken as digits or numbers, as SDKs differ. Throws `invalid_message`. */
export function parseChannelState(input: unknown): ChannelStateExtra {
  const fields = expectObject(input, 'channelState')
  const charged = present(fields['chargedCumulativeAmount'])
  return {
    channelId: asHex32(fields['channelId'], 'channelId'),
    balance: parseAmount(fields['balance'], 'balance'),
    totalClaimed: parseAmount(fields['totalClaimed'], 'totalClaimed'),
    withdrawRequestedAt: expectInteger(numeral(fields['withdrawRequestedAt']), 'withdrawRequestedAt'),
    refundNonce: expectUint(digits(fields['refundNonce']), 'refundNonce', 256),
    ...(charged === undefined
      ? {}
      : { chargedCumulativeAmount: parseAmount(charged, 'chargedCumulativeAmount') }),
  }
}

/** The JSON form of a channel state, with the types stock clients expect. */
export function encodeChannelState(state: ChannelStateExtra): Record<string, string | number> {
  const charged = state.chargedCumulativeAmount
  return {
    channelId: state.channelId,
    balance: state.balance.toString(),
    totalClaimed: state.totalClaimed.toString(),
    withdrawRequestedAt: state.withdrawRequestedAt,
    refundNonce: state.refundNonce.toString(),
    ...(charged === undefined ? {} : { chargedCumulativeAmount: charged.toString() }),
  }
}

/** Parses `voucherState`. Throws `invalid_message`. */
export function parseVoucherState(input: unknown): VoucherStateExtra {
  const fields = expectObject(input, 'voucherState')
  return {
    signedMaxClaimable: parseAmount(fields['signedMaxClaimable'], 'signedMaxClaimable'),
    signature: asHex(fields['signature'], 'signature'),
  }
}

/** The JSON form of a voucher state. */
export function encodeVoucherState(state: VoucherStateExtra): Record<string, string> {
  return { signedMaxClaimable: state.signedMaxClaimable.toString(), signature: state.signature }
}

function parseVoucher(input: unknown): Voucher {
  const fields = expectObject(input, 'voucher')
  const channelId = fields['channelId']
  if (typeof channelId !== 'string' || !/^0x[0-9a-fA-F]{64}$/.test(channelId))
    throw refusal('The channel id must be 32 bytes of hex.', batchErrors.channelIdInvalid)
  return {
    channelId: asHex32(channelId, 'channelId'),
    maxClaimable: parseAmount(fields['maxClaimableAmount'], 'maxClaimableAmount'),
    signature: asHex(fields['signature'], 'signature'),
  }
}

function encodeVoucher(voucher: Voucher): Record<string, string> {
  return {
    channelId: voucher.channelId,
    maxClaimableAmount: voucher.maxClaimable.toString(),
    signature: voucher.signature,
  }
}

function parseDeposit(input: unknown): { amount: Usdc; authorization: Erc3009Authorization } {
  const fields = expectObject(input, 'deposit')
  const choice = expectObject(fields['authorization'], 'authorization')
  if (present(choice['erc3009Authorization']) === undefined)
    throw refusal('Only ERC-3009 deposits are taken.', batchErrors.erc3009AuthorizationRequired)
  const authorization = expectObject(choice['erc3009Authorization'], 'erc3009Authorization')
  const amount = parseAmount(fields['amount'], 'amount')
  if (amount === 0n) return refuseMessage('amount', 'more than 0')
  return {
    amount,
    authorization: {
      validAfter: Number(expectUint(authorization['validAfter'], 'validAfter', 53)),
      validBefore: Number(expectUint(authorization['validBefore'], 'validBefore', 53)),
      salt: asHex32(authorization['salt'], 'salt'),
      signature: asHex(authorization['signature'], 'signature'),
    },
  }
}

function parseRefundAmount(input: unknown): Usdc {
  const amount = typeof input === 'string' && /^[1-9][0-9]*$/.test(input) ? input : undefined
  if (amount === undefined)
    throw refusal('The refund amount must be more than 0.', batchErrors.refundAmountInvalid)
  return parseAmount(amount, 'amount')
}

function refusal(message: string, reason: BatchError): OpenSeedError {
  return new OpenSeedError('invalid_message', { message, details: { reason } })
}

function digits(input: unknown): unknown {
  return Number.isSafeInteger(input) ? String(input) : input
}

function numeral(input: unknown): unknown {
  return typeof input === 'string' && /^[0-9]{1,16}$/.test(input) ? Number(input) : input
}
