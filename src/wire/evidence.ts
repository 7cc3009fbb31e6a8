import { parseAmount, type Usdc } from './amount.ts'
import { encodeChannelConfig, parseChannelConfig, type ChannelConfig } from './channel.ts'
import { expectArray, expectObject, expectText, expectTimeSec, optional, refuseMessage } from './fields.ts'
import { asAddress, asHex, asHex32, checksummed, type Address, type Hex } from './hex.ts'
import { encodeSignedOffer, parseSignedOffer, type SignedOffer } from './offer.ts'
import { encodeSignedReceipt, parseSignedReceipt, type SignedReceipt } from './receipt.ts'

/** Receipts with all that their signatures refer to: whoever has the file can check it without asking anybody. */
export interface Evidence {
  chainId: number
  escrow: Address
  /** Of every channel of a receipt; a channel's id is the digest of its config. */
  channels: ChannelConfig[]
  offers: SignedOffer[]
  receipts: EvidenceReceipt[]
}

/** One receipt and what was asked for. */
export interface EvidenceReceipt {
  signed: SignedReceipt
  /** What the payerAuthorizer signed under the receipt's channel and request id; null for a stock x402 client. */
  request: EvidenceRequest | null
  /** Where the seller was reached. Nobody signed this. */
  seller: string | null
  /** Why its holder disputes it. Nobody signed this. */
  disputed: string | null
}

/** A signed request without the ids that its receipt repeats. */
export interface EvidenceRequest {
  bodyHash: Hex
  offerHash: Hex
  ceiling: Usdc
  /** Unix seconds. */
  admitBySec: number
  signature: Hex
}

/** Names the format in its first member. */
export const evidenceFormat = 'evidence/1'
/** The most receipts of one file. */
export const mostEvidence = 1_000_000

/** Parses the JSON form; whether anything in it is true is judged by `judgeEvidence`. Throws `invalid_message`. */
export function parseEvidence(input: unknown): Evidence {
  const fields = expectObject(input, 'evidence')
  if (fields['openseed'] !== evidenceFormat) refuseMessage('openseed', `"${evidenceFormat}"`)
  return {
    chainId: parseChainId(fields['network']),
    escrow: asAddress(fields['escrow'], 'escrow'),
    channels: expectArray(fields['channels'], 'channels', mostEvidence).map(parseChannelConfig),
    offers: expectArray(fields['offers'], 'offers', mostEvidence).map(parseSignedOffer),
    receipts: expectArray(fields['receipts'], 'receipts', mostEvidence).map(parseEvidenceReceipt),
  }
}

/** The JSON form. */
export function encodeEvidence(evidence: Evidence): Record<string, unknown> {
  return {
    openseed: evidenceFormat,
    network: `eip155:${evidence.chainId}`,
    escrow: checksummed(evidence.escrow),
    channels: evidence.channels.map(encodeChannelConfig),
    offers: evidence.offers.map(encodeSignedOffer),
    receipts: evidence.receipts.map(encodeEvidenceReceipt),
  }
}

function parseChainId(input: unknown): number {
  const [, digits] = /^eip155:([1-9][0-9]{0,14})$/.exec(expectText(input, 'network', 64)) ?? []
  return digits === undefined ? refuseMessage('network', 'a CAIP-2 name of an EVM chain') : Number(digits)
}

function parseEvidenceReceipt(input: unknown): EvidenceReceipt {
  const fields = expectObject(input, 'a receipt')
  return {
    signed: parseSignedReceipt(fields['receipt']),
    request: optional(fields['request'], parseEvidenceRequest),
    seller: optional(fields['seller'], (seller) => expectText(seller, 'seller')),
    disputed: optional(fields['disputed'], (reason) => expectText(reason, 'disputed', 64)),
  }
}

function parseEvidenceRequest(input: unknown): EvidenceRequest {
  const fields = expectObject(input, 'request')
  return {
    bodyHash: asHex32(fields['bodyHash'], 'bodyHash'),
    offerHash: asHex32(fields['offerHash'], 'offerHash'),
    ceiling: parseAmount(fields['ceiling'], 'ceiling'),
    admitBySec: expectTimeSec(fields['admitBy'], 'admitBy'),
    signature: asHex(fields['signature'], 'signature'),
  }
}

function encodeEvidenceReceipt(row: EvidenceReceipt): Record<string, unknown> {
  const { signed, request, seller, disputed } = row
  return {
    receipt: encodeSignedReceipt(signed),
    request: request === null ? null : encodeEvidenceRequest(request),
    seller,
    disputed,
  }
}

function encodeEvidenceRequest(request: EvidenceRequest): Record<string, unknown> {
  const { bodyHash, offerHash, ceiling, admitBySec, signature } = request
  return { bodyHash, offerHash, ceiling: ceiling.toString(), admitBy: admitBySec, signature }
}
