import type { Usdc } from './amount.ts'
import type { ChannelConfig } from './channel.ts'
import type { TransferAuthorization } from './exact.ts'
import { refuseMessage } from './fields.ts'
import type { Address, Hex } from './hex.ts'
import { keccak256 } from './keccak.ts'
import type { Offer } from './offer.ts'
import type { PeerBinding } from './peer-binding.ts'
import { peerIdBytes } from './peer-id.ts'
import type { Receipt } from './receipt.ts'
import type { PaidRequest } from './request.ts'
import type { StatusQuery } from './status.ts'

/** One row of a claim: cumulative amounts. */
export interface ClaimRow {
  channelId: Hex
  maxClaimable: Usdc
  totalClaimed: Usdc
}

/** EIP-712 domain of a token. */
export interface TokenDomain {
  name: string
  version: string
  chainId: number
  asset: Address
}

/** What an ERC-3009 ReceiveWithAuthorization signs. Times in Unix seconds. */
export interface ReceiveAuthorization {
  from: Address
  to: Address
  value: Usdc
  validAfter: number
  validBefore: number
  nonce: Hex
}

/** The EIP-712 digests of one chain and one escrow. */
export interface Digests {
  /** The id of a channel: the digest of its config. */
  channelId(config: ChannelConfig): Hex
  voucher(channelId: Hex, maxClaimable: Usdc): Hex
  refund(channelId: Hex, nonce: bigint, amount: Usdc): Hex
  claimBatch(rows: readonly ClaimRow[]): Hex
  offer(offer: Offer): Hex
  request(request: PaidRequest): Hex
  receipt(receipt: Receipt): Hex
  status(query: StatusQuery): Hex
  /** Throws `invalid_message` when `peer` is no peer id. */
  peerBinding(binding: PeerBinding): Hex
  /** The ERC-3009 nonce of a deposit: keccak256(abi.encode(channelId, uint256 salt)). */
  depositNonce(channelId: Hex, salt: Hex): Hex
  receiveAuthorization(token: TokenDomain, message: ReceiveAuthorization): Hex
  /** What the payer of an exact payment signs. */
  transferAuthorization(token: TokenDomain, message: TransferAuthorization): Hex
}

const domainType = keccak256(
  'EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)',
)
const channelConfigType = keccak256(
  'ChannelConfig(address payer,address payerAuthorizer,address receiver,address receiverAuthorizer,address token,uint40 withdrawDelay,bytes32 salt)',
)
const voucherType = keccak256('Voucher(bytes32 channelId,uint128 maxClaimableAmount)')
const refundType = keccak256('Refund(bytes32 channelId,uint256 nonce,uint128 amount)')
const claimEntry = 'ClaimEntry(bytes32 channelId,uint128 maxClaimableAmount,uint128 totalClaimed)'
const claimEntryType = keccak256(claimEntry)
const claimBatchType = keccak256(`ClaimBatch(ClaimEntry[] claims)${claimEntry}`)
const receiveType = keccak256(
  'ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)',
)
const transferType = keccak256(
  'TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)',
)
const offerType = keccak256(
  'Offer(bytes32 modelHash,address payTo,uint128 priceIn,uint128 priceCached,uint128 priceOut,uint128 fixedPrice,uint64 maxContext,uint64 maxOutput,uint40 validUntil,bytes32 detailsHash)',
)
const requestType = keccak256(
  'Request(bytes32 channelId,bytes32 requestId,bytes32 bodyHash,bytes32 offerHash,uint128 ceiling,uint40 admitBy)',
)
const receiptType = keccak256(
  'Receipt(bytes32 channelId,bytes32 requestId,bytes32 offerHash,bytes32 responseHash,uint64 inputTokens,uint64 cachedTokens,uint64 outputTokens,uint128 charged,uint128 cumulative,uint40 completedAt)',
)
const statusType = keccak256('Status(bytes32 channelId,bytes32 idsHash,uint40 askedAt)')
const peerBindingType = keccak256(
  'PeerBinding(bytes peerId,address payTo,uint64 notBefore,uint64 notAfter,uint64 seq)',
)

/**
 * Digests for one chain and escrow. Encoded by hand with the domain separators computed once: signing libraries
 * rebuild both for every message, which costs more than the signature itself.
 */
export function openDigests({ chainId, escrow }: { chainId: number; escrow: Address }): Digests {
  const batch = separator('x402 Batch Settlement', '1', chainId, escrow)
  const own = separator('OpenSeed', '1', chainId, escrow)
  const tokens = new Map<string, Hex>()
  const tokenSeparator = ({ name, version, chainId, asset }: TokenDomain): Hex => {
    const key = JSON.stringify([name, version, chainId, asset])
    const known = tokens.get(key) ?? separator(name, version, chainId, asset)
    tokens.set(key, known)
    return known
  }
  const authorization = (
    type: Hex,
    token: TokenDomain,
    message: TransferAuthorization | ReceiveAuthorization,
  ) =>
    typed(tokenSeparator(token), [
      type,
      message.from,
      message.to,
      message.value,
      message.validAfter,
      message.validBefore,
      message.nonce,
    ])
  return {
    channelId: (config) =>
      typed(batch, [
        channelConfigType,
        config.payer,
        config.payerAuthorizer,
        config.receiver,
        config.receiverAuthorizer,
        config.token,
        config.withdrawDelay,
        config.salt,
      ]),
    voucher: (channelId, maxClaimable) => typed(batch, [voucherType, channelId, maxClaimable]),
    refund: (channelId, nonce, amount) => typed(batch, [refundType, channelId, nonce, amount]),
    claimBatch: (rows) => {
      const entries = rows.map((row) =>
        hashWords([claimEntryType, row.channelId, row.maxClaimable, row.totalClaimed]),
      )
      return typed(batch, [claimBatchType, hashWords(entries)])
    },
    offer: (offer) =>
      typed(own, [
        offerType,
        offer.modelHash,
        offer.payTo,
        offer.priceIn,
        offer.priceCached,
        offer.priceOut,
        offer.fixedPrice,
        offer.maxContext,
        offer.maxOutput,
        offer.validUntilSec,
        offer.detailsHash,
      ]),
    request: (request) =>
      typed(own, [
        requestType,
        request.channelId,
        request.requestId,
        request.bodyHash,
        request.offerHash,
        request.ceiling,
        request.admitBySec,
      ]),
    receipt: (receipt) =>
      typed(own, [
        receiptType,
        receipt.channelId,
        receipt.requestId,
        receipt.offerHash,
        receipt.responseHash,
        receipt.inputTokens,
        receipt.cachedTokens,
        receipt.outputTokens,
        receipt.charged,
        receipt.cumulative,
        receipt.completedAtSec,
      ]),
    status: (query) => typed(own, [statusType, query.channelId, hashWords(query.ids), query.askedAtSec]),
    peerBinding: (binding) => {
      const peerId = peerIdBytes(binding.peer) ?? refuseMessage('peer', 'a peer id')
      return typed(own, [
        peerBindingType,
        keccak256(peerId),
        binding.payTo,
        binding.notBeforeSec,
        binding.notAfterSec,
        binding.seq,
      ])
    },
    depositNonce: (channelId, salt) => hashWords([channelId, salt]),
    receiveAuthorization: (token, message) => authorization(receiveType, token, message),
    transferAuthorization: (token, message) => authorization(transferType, token, message),
  }
}

type Word = Hex | bigint | number

function separator(name: string, version: string, chainId: number, contract: Address): Hex {
  return hashWords([domainType, keccak256(name), keccak256(version), chainId, contract])
}

function typed(domain: Hex, words: readonly Word[]): Hex {
  const message = Buffer.allocUnsafe(66)
  message[0] = 0x19
  message[1] = 0x01
  message.write(domain.slice(2), 2, 'hex')
  message.write(hashWords(words).slice(2), 34, 'hex')
  return keccak256(message)
}

// Addresses and numbers stand at the right of their word, as abi.encode puts them.
function hashWords(words: readonly Word[]): Hex {
  const bytes = Buffer.alloc(words.length * 32)
  let end = 0
  for (const word of words) {
    end += 32
    if (typeof word === 'string') bytes.write(word.slice(2), end - (word.length - 2) / 2, 'hex')
    else writeUint(bytes, end, BigInt(word))
  }
  return keccak256(bytes)
}

function writeUint(bytes: Buffer, end: number, value: bigint): void {
  let at = end - 8
  for (let rest = value; rest > 0n; rest >>= 64n) {
    bytes.writeBigUInt64BE(rest & 0xffff_ffff_ffff_ffffn, at)
    at -= 8
  }
}
