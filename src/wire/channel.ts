import { expectInteger, expectObject, maxUint40 } from './fields.ts'
import { asAddress, asHex32, checksummed, hexToBytes, type Address, type Hex } from './hex.ts'
import { keccak256 } from './keccak.ts'

/** What a channel is; its EIP-712 digest is the channel's id. Nothing of it can ever change. */
export interface ChannelConfig {
  payer: Address
  /** Signs vouchers and requests. */
  payerAuthorizer: Address
  receiver: Address
  /** Signs offers, receipts, claims and refunds. */
  receiverAuthorizer: Address
  token: Address
  /** Seconds between announcing and finishing a withdrawal. */
  withdrawDelay: number
  salt: Hex
}

/** The least withdraw delay that the escrow takes, in seconds. */
export const minWithdrawDelaySec = 900
/** The greatest withdraw delay that the escrow takes, in seconds. */
export const maxWithdrawDelaySec = 2_592_000

/** Parses the JSON form; `withdrawDelay` is a number there. Its range is the gate's affair. Throws `invalid_message`. */
export function parseChannelConfig(input: unknown): ChannelConfig {
  const fields = expectObject(input, 'channelConfig')
  return {
    payer: asAddress(fields['payer'], 'payer'),
    payerAuthorizer: asAddress(fields['payerAuthorizer'], 'payerAuthorizer'),
    receiver: asAddress(fields['receiver'], 'receiver'),
    receiverAuthorizer: asAddress(fields['receiverAuthorizer'], 'receiverAuthorizer'),
    token: asAddress(fields['token'], 'token'),
    withdrawDelay: expectInteger(fields['withdrawDelay'], 'withdrawDelay', maxUint40),
    salt: asHex32(fields['salt'], 'salt'),
  }
}

/** The JSON form, with checksummed addresses as stock peers write them. */
export function encodeChannelConfig(config: ChannelConfig): Record<string, string | number> {
  return {
    payer: checksummed(config.payer),
    payerAuthorizer: checksummed(config.payerAuthorizer),
    receiver: checksummed(config.receiver),
    receiverAuthorizer: checksummed(config.receiverAuthorizer),
    token: checksummed(config.token),
    withdrawDelay: config.withdrawDelay,
    salt: config.salt,
  }
}

/** True when both describe the same channel (on the same chain and escrow). */
export function sameConfig(a: ChannelConfig, b: ChannelConfig): boolean {
  return (
    a.payer === b.payer &&
    a.payerAuthorizer === b.payerAuthorizer &&
    a.receiver === b.receiver &&
    a.receiverAuthorizer === b.receiverAuthorizer &&
    a.token === b.token &&
    a.withdrawDelay === b.withdrawDelay &&
    a.salt === b.salt
  )
}

/**
 * The salt of our channel number `index`: keccak256(utf8 "openseed channel salt v1" ‖ key ‖ uint256 index).
 * Derived, so that channels can be found again from the key and the chain; in a space of its own, so that no
 * channel is ever shared with a stock client, whose salts start at 0.
 */
export function channelSalt(authorizerPrivateKey: Hex, index: number): Hex {
  const position = Buffer.alloc(32)
  position.writeBigUInt64BE(BigInt(index), 24)
  return keccak256(
    Buffer.concat([Buffer.from('openseed channel salt v1'), hexToBytes(authorizerPrivateKey), position]),
  )
}
