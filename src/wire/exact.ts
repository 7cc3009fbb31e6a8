import { OpenSeedError } from '../base/errors.ts'
import type { Usdc } from './amount.ts'
import { expectObject, expectUint, present } from './fields.ts'
import { asAddress, asHex, asHex32, checksummed, type Address, type Hex } from './hex.ts'
import type { NetworkTerms } from './network.ts'
import type { PaymentRequirements } from './x402.ts'

/** The scheme's name in `accepts` entries: one transfer of exactly the amount for each request. */
export const exact = 'exact'

/** How the tokens move: the payer's ERC-3009 authorization. The default of the scheme, and the only way here. */
export const eip3009 = 'eip3009'

const evm = <Suffix extends string>(suffix: Suffix) => `invalid_exact_evm_${suffix}` as const

/** The scheme's error strings, sent verbatim as `error` of a 402 and as `errorReason` of a settlement. */
export const exactErrors = {
  recipientMismatch: evm('recipient_mismatch'),
  signature: evm('signature'),
  valueMismatch: evm('payload_authorization_value_mismatch'),
  validAfter: evm('payload_authorization_valid_after'),
  validBefore: evm('payload_authorization_valid_before'),
  nonceAlreadyUsed: evm('nonce_already_used'),
  insufficientBalance: evm('insufficient_balance'),
  simulationFailed: evm('transaction_simulation_failed'),
  transactionFailed: evm('transaction_failed'),
  transferEventMismatch: evm('transfer_event_mismatch'),
  unsupportedPayload: 'unsupported_payload_type',
  settlementPending: 'settlement_pending',
} as const

/** One of the scheme's error strings. */
export type ExactError = (typeof exactErrors)[keyof typeof exactErrors]

/** What an ERC-3009 TransferWithAuthorization signs. Times in Unix seconds; clients write any uint256. */
export interface TransferAuthorization {
  from: Address
  to: Address
  value: Usdc
  validAfter: bigint
  validBefore: bigint
  nonce: Hex
}

/** What a payment of this scheme carries. */
export interface ExactPayload {
  authorization: TransferAuthorization
  /** 65 bytes from a key; longer from a contract wallet. */
  signature: Hex
}

/**
 * Parses `payload` of an exact payment. The signature, amounts and times are not judged here. Throws
 * `invalid_message`; `details.reason` is the scheme's error string where it has one.
 */
export function parseExactPayload(payload: unknown): ExactPayload {
  const fields = expectObject(payload, 'payload')
  if (present(fields['authorization']) === undefined)
    throw new OpenSeedError('invalid_message', {
      message: 'Only ERC-3009 authorizations are taken.',
      details: { reason: exactErrors.unsupportedPayload },
    })
  return {
    authorization: parseTransferAuthorization(fields['authorization']),
    signature: asHex(fields['signature'], 'signature'),
  }
}

/** Parses the JSON form of an authorization. Throws `invalid_message`. */
export function parseTransferAuthorization(input: unknown): TransferAuthorization {
  const fields = expectObject(input, 'authorization')
  return {
    from: asAddress(fields['from'], 'from'),
    to: asAddress(fields['to'], 'to'),
    value: expectUint(fields['value'], 'value', 256),
    validAfter: expectUint(fields['validAfter'], 'validAfter', 256),
    validBefore: expectUint(fields['validBefore'], 'validBefore', 256),
    nonce: asHex32(fields['nonce'], 'nonce'),
  }
}

/** The JSON form of a payload. */
export function encodeExactPayload({ authorization, signature }: ExactPayload): Record<string, unknown> {
  const { from, to, value, validAfter, validBefore, nonce } = authorization
  return {
    authorization: {
      from: checksummed(from),
      to: checksummed(to),
      value: value.toString(),
      validAfter: validAfter.toString(),
      validBefore: validBefore.toString(),
      nonce,
    },
    signature,
  }
}

/** The entry of `accepts` for one request of this amount, paid to `payTo` in the network's token. */
export function exactRequirements(
  network: NetworkTerms,
  payTo: Address,
  amount: Usdc,
  maxTimeoutSeconds: number,
): PaymentRequirements {
  return {
    scheme: exact,
    network: network.caip2,
    amount: amount.toString(),
    asset: checksummed(network.asset),
    payTo: checksummed(payTo),
    maxTimeoutSeconds,
    extra: { name: network.assetName, version: network.assetVersion, assetTransferMethod: eip3009 },
  }
}
