import { parseAmount, type Usdc } from './amount.ts'
import type { Curve } from './curve.ts'
import type { Digests } from './digests.ts'
import { encodeFinal, parseFinal, type Final } from './extension.ts'
import { expectArray, expectObject, expectTimeSec, present } from './fields.ts'
import { asHex, asHex32, type Address, type Hex } from './hex.ts'
import { encodeSignedReceipt, parseSignedReceipt, type SignedReceipt } from './receipt.ts'

/**
 * Body of `POST /openseed/v1/status`: the buyer asks what became of requests. Asking closes an unknown id at 0 for
 * ever, so the question is signed by the payerAuthorizer, as
 * `Status(bytes32 channelId,bytes32 idsHash,uint40 askedAt)` with idsHash = keccak256 of the concatenated ids.
 */
export interface StatusQuery {
  channelId: Hex
  ids: Hex[]
  /** Unix seconds. */
  askedAtSec: number
  /** Not signed: each part proves itself. */
  proof?: StatusProof
}

/** The seller's own newest receipt and the buyer's highest voucher: a seller restored from an old backup catches up. */
export interface StatusProof {
  receipt: SignedReceipt
  voucher: { maxClaimable: Usdc; signature: Hex }
}

/** A question with its signature. */
export interface SignedStatusQuery extends StatusQuery {
  signature: Hex
}

/** The seller's answer: the finals of the ids that were asked for, and every open request of the channel. */
export interface StatusReply {
  finals: Final[]
  charged: Usdc
  held: Usdc
  /** The highest cumulative amount the buyer signed. */
  signed: Usdc
  /** The voucher signature over `signed`, when there is one. */
  signature?: Hex
}

/** The most ids of one question. */
export const mostStatusIds = 256
// The open requests of a busy channel come on top of those that were asked for.
const mostStatusFinals = 8192

/** Signs a question with the payerAuthorizer's key. */
export function signStatusQuery(
  digests: Digests,
  curve: Curve,
  key: Hex,
  query: StatusQuery,
): SignedStatusQuery {
  return { ...query, signature: curve.sign(digests.status(query), key) }
}

/** True when the payerAuthorizer signed exactly this question. Its age is not judged. */
export function verifyStatusQuery(
  digests: Digests,
  curve: Curve,
  query: SignedStatusQuery,
  payerAuthorizer: Address,
): boolean {
  return curve.recover(digests.status(query), query.signature) === payerAuthorizer
}

/** Parses the JSON form of a question. Throws `invalid_message`. */
export function parseStatusQuery(input: unknown): SignedStatusQuery {
  const fields = expectObject(input, 'status')
  const proof = present(fields['proof'])
  return {
    channelId: asHex32(fields['channelId'], 'channelId'),
    ids: expectArray(fields['ids'], 'ids', mostStatusIds).map((id) => asHex32(id, 'id')),
    askedAtSec: expectTimeSec(fields['askedAt'], 'askedAt'),
    signature: asHex(fields['signature'], 'signature'),
    ...(proof === undefined ? {} : { proof: parseProof(proof) }),
  }
}

/** The JSON form of a question. */
export function encodeStatusQuery(query: SignedStatusQuery): Record<string, unknown> {
  const { channelId, ids, askedAtSec, signature, proof } = query
  return {
    channelId,
    ids,
    askedAt: askedAtSec,
    signature,
    ...(proof === undefined ? {} : { proof: encodeProof(proof) }),
  }
}

/** Parses the JSON form of an answer. Throws `invalid_message`. */
export function parseStatusReply(input: unknown): StatusReply {
  const fields = expectObject(input, 'status reply')
  const signature = present(fields['signature'])
  return {
    finals: expectArray(fields['finals'], 'finals', mostStatusFinals).map(parseFinal),
    charged: parseAmount(fields['charged'], 'charged'),
    held: parseAmount(fields['held'], 'held'),
    signed: parseAmount(fields['signed'], 'signed'),
    ...(signature === undefined ? {} : { signature: asHex(signature, 'signature') }),
  }
}

/** The JSON form of an answer. */
export function encodeStatusReply(reply: StatusReply): Record<string, unknown> {
  return {
    finals: reply.finals.map(encodeFinal),
    charged: reply.charged.toString(),
    held: reply.held.toString(),
    signed: reply.signed.toString(),
    ...(reply.signature === undefined ? {} : { signature: reply.signature }),
  }
}

function parseProof(input: unknown): StatusProof {
  const fields = expectObject(input, 'proof')
  const voucher = expectObject(fields['voucher'], 'voucher')
  return {
    receipt: parseSignedReceipt(fields['receipt']),
    voucher: {
      maxClaimable: parseAmount(voucher['maxClaimable'], 'maxClaimable'),
      signature: asHex(voucher['signature'], 'signature'),
    },
  }
}

function encodeProof({ receipt, voucher }: StatusProof): Record<string, unknown> {
  return {
    receipt: encodeSignedReceipt(receipt),
    voucher: { maxClaimable: voucher.maxClaimable.toString(), signature: voucher.signature },
  }
}
