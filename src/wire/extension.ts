import { parseAmount, type Usdc } from './amount.ts'
import { expectArray, expectObject, expectText, expectTimeSec, present, refuseMessage } from './fields.ts'
import { asHex, asHex32, type Hex } from './hex.ts'
import type { Prices } from './price.ts'
import { encodeSignedReceipt, parseSignedReceipt, type SignedReceipt } from './receipt.ts'
import type { PaidRequest } from './request.ts'

/** Our key in `extensions`: one model's price in a 402, the signed request in a payment, the receipt in a reply. */
export const openseedExtension = 'openseed'
/** The key of x402's own idempotency extension. */
export const paymentIdentifierExtension = 'payment-identifier'
/** The most ids without a final that one request may ask about, and the most finals of one reply. */
export const mostUnresolved = 16
/** The most open requests that a 402 lists; `held` counts all. Keeps PAYMENT-REQUIRED small. */
export const mostOpenListed = 8

/** A value of `extensions`, as x402 wants it. */
export interface ExtensionEntry {
  info: Record<string, unknown>
  schema: Record<string, unknown>
}

/** What a 402 tells: the offer behind the price and, to a buyer that lost its state, the channel's state. */
export interface OpenSeedTerms extends Prices {
  offerHash: Hex
  model: string
  channel?: ChannelSnapshot
}

/** The seller's truth about a channel. */
export interface ChannelSnapshot {
  charged: Usdc
  /** Sum of the ceilings of all open requests, also of those that `open` leaves out. */
  held: Usdc
  /** The highest cumulative amount the buyer signed. */
  signed: Usdc
  /** The first of the open requests. */
  open: { id: Hex; ceiling: Usdc }[]
}

/** The signed request in a payment; its channel is the voucher's. */
export interface RequestExtension extends Omit<PaidRequest, 'channelId' | 'requestId'> {
  /** The request id. */
  id: Hex
  /** By the payerAuthorizer. */
  signature: Hex
  /** Ids whose finals the buyer lacks, at most 16. */
  unresolved?: Hex[]
  /** The highest receipt cumulative that the buyer holds. */
  ack?: Usdc
}

/** What became of a request. */
export type Final =
  | { id: Hex; state: 'open'; ceiling: Usdc }
  | { id: Hex; state: 'final'; receipt: SignedReceipt }

/** What a reply carries: the receipt of this request and the finals that were asked for. */
export interface ReceiptExtension {
  receipt: SignedReceipt | null
  finals: Final[]
}

/** The entry of a 402. */
export function encodeTermsExtension(terms: OpenSeedTerms): ExtensionEntry {
  const { channel } = terms
  return entry({
    offerHash: terms.offerHash,
    model: terms.model,
    priceIn: terms.priceIn.toString(),
    priceCached: terms.priceCached.toString(),
    priceOut: terms.priceOut.toString(),
    fixedPrice: terms.fixedPrice.toString(),
    ...(channel === undefined ? {} : { channel: encodeSnapshot(channel) }),
  })
}

/** Our terms in the `extensions` of a 402; null when the seller does not speak OpenSeed. Throws `invalid_message`. */
export function parseTermsExtension(extensions: unknown): OpenSeedTerms | null {
  const info = infoOf(extensions, openseedExtension)
  if (info === null) return null
  const channel = present(info['channel'])
  return {
    offerHash: asHex32(info['offerHash'], 'offerHash'),
    model: expectText(info['model'], 'model', 256),
    priceIn: parseAmount(info['priceIn'], 'priceIn'),
    priceCached: parseAmount(info['priceCached'], 'priceCached'),
    priceOut: parseAmount(info['priceOut'], 'priceOut'),
    fixedPrice: parseAmount(info['fixedPrice'], 'fixedPrice'),
    ...(channel === undefined ? {} : { channel: parseSnapshot(channel) }),
  }
}

/** The entry of a payment. */
export function encodeRequestExtension(request: RequestExtension): ExtensionEntry {
  const { unresolved, ack } = request
  return entry({
    request: {
      id: request.id,
      bodyHash: request.bodyHash,
      offerHash: request.offerHash,
      ceiling: request.ceiling.toString(),
      admitBy: request.admitBySec,
      signature: request.signature,
      ...(unresolved === undefined ? {} : { unresolved }),
      ...(ack === undefined ? {} : { ack: ack.toString() }),
    },
  })
}

/**
 * The signed request in the `extensions` of a payment. Null when there is none: stock clients echo the key with
 * the 402's info, so the key alone proves nothing. Throws `invalid_message`.
 */
export function parseRequestExtension(extensions: unknown): RequestExtension | null {
  const info = infoOf(extensions, openseedExtension)
  const request = info === null ? undefined : present(info['request'])
  if (request === undefined) return null
  const fields = expectObject(request, 'request')
  const unresolved = present(fields['unresolved'])
  const ack = present(fields['ack'])
  return {
    id: asHex32(fields['id'], 'id'),
    bodyHash: asHex32(fields['bodyHash'], 'bodyHash'),
    offerHash: asHex32(fields['offerHash'], 'offerHash'),
    ceiling: parseAmount(fields['ceiling'], 'ceiling'),
    admitBySec: expectTimeSec(fields['admitBy'], 'admitBy'),
    signature: asHex(fields['signature'], 'signature'),
    ...(unresolved === undefined
      ? {}
      : { unresolved: expectArray(unresolved, 'unresolved', mostUnresolved).map((id) => asHex32(id, 'id')) }),
    ...(ack === undefined ? {} : { ack: parseAmount(ack, 'ack') }),
  }
}

/** The entry of a reply. */
export function encodeReceiptExtension({ receipt, finals }: ReceiptExtension): ExtensionEntry {
  return entry({
    ...(receipt === null ? {} : { receipt: encodeSignedReceipt(receipt) }),
    ...(finals.length === 0 ? {} : { finals: finals.map(encodeFinal) }),
  })
}

/** Receipt and finals in the `extensions` of a settlement. Throws `invalid_message`. */
export function parseReceiptExtension(extensions: unknown): ReceiptExtension {
  const info = infoOf(extensions, openseedExtension)
  const receipt = present(info?.['receipt'])
  const finals = present(info?.['finals'])
  return {
    receipt: receipt === undefined ? null : parseSignedReceipt(receipt),
    finals: finals === undefined ? [] : expectArray(finals, 'finals', mostUnresolved).map(parseFinal),
  }
}

/** The JSON form of a final; a receipt names its id, so the id is not repeated beside it. */
export function encodeFinal(final: Final): Record<string, unknown> {
  if (final.state === 'open') return { id: final.id, state: 'open', ceiling: final.ceiling.toString() }
  return { state: 'final', receipt: encodeSignedReceipt(final.receipt) }
}

/** Parses a final. Throws `invalid_message`. */
export function parseFinal(input: unknown): Final {
  const fields = expectObject(input, 'final')
  const state = fields['state']
  if (state === 'open')
    return { id: asHex32(fields['id'], 'id'), state, ceiling: parseAmount(fields['ceiling'], 'ceiling') }
  if (state !== 'final') return refuseMessage('state', 'open or final')
  const receipt = parseSignedReceipt(fields['receipt'])
  return { id: receipt.receipt.requestId, state, receipt }
}

/** The payment-identifier entry of a 402. */
export function advertisePaymentIdentifier(): ExtensionEntry {
  return { info: { required: false }, schema: identifierSchema }
}

/** The payment-identifier entry of our payment: the request id's 64 hex digits. */
export function encodePaymentIdentifier(requestId: Hex): ExtensionEntry {
  return { info: { required: false, id: requestId.slice(2) }, schema: identifierSchema }
}

/** The client's payment identifier; null when it sent none. Throws `invalid_message`. */
export function parsePaymentIdentifier(extensions: unknown): string | null {
  const info = infoOf(extensions, paymentIdentifierExtension)
  const id = present(info?.['id'])
  if (id === undefined) return null
  if (typeof id !== 'string' || !/^[A-Za-z0-9_-]{16,128}$/.test(id))
    return refuseMessage('payment-identifier', '16 to 128 characters A-Z a-z 0-9 _ -')
  return id
}

/** The request id that a payment identifier of ours stands for; null when it is not one of ours. */
export function requestIdOf(paymentIdentifier: string): Hex | null {
  return /^[0-9a-f]{64}$/.test(paymentIdentifier) ? `0x${paymentIdentifier}` : null
}

const identifierSchema = {
  type: 'object',
  properties: { required: { type: 'boolean' }, id: { type: 'string', minLength: 16, maxLength: 128 } },
  required: ['required'],
}

function entry(info: Record<string, unknown>): ExtensionEntry {
  return { info, schema: { type: 'object' } }
}

function infoOf(extensions: unknown, key: string): Record<string, unknown> | null {
  if (present(extensions) === undefined) return null
  const value = present(expectObject(extensions, 'extensions')[key])
  return value === undefined ? null : expectObject(expectObject(value, key)['info'], `${key}.info`)
}

function encodeSnapshot(channel: ChannelSnapshot): Record<string, unknown> {
  return {
    charged: channel.charged.toString(),
    held: channel.held.toString(),
    signed: channel.signed.toString(),
    open: channel.open
      .slice(0, mostOpenListed)
      .map(({ id, ceiling }) => ({ id, ceiling: ceiling.toString() })),
  }
}

function parseSnapshot(input: unknown): ChannelSnapshot {
  const fields = expectObject(input, 'channel')
  return {
    charged: parseAmount(fields['charged'], 'charged'),
    held: parseAmount(fields['held'], 'held'),
    signed: parseAmount(fields['signed'], 'signed'),
    open: expectArray(fields['open'], 'open', mostOpenListed).map((row) => {
      const { id, ceiling } = expectObject(row, 'open')
      return { id: asHex32(id, 'id'), ceiling: parseAmount(ceiling, 'ceiling') }
    }),
  }
}
