import { parseAmount, type Usdc } from './amount.ts'
import { canonicalJson } from './canonical-json.ts'
import type { Curve } from './curve.ts'
import type { Digests } from './digests.ts'
import { expectInteger, expectObject, expectText, expectTimeSec, present, refuseMessage } from './fields.ts'
import { asAddress, asHex, asHex32, checksummed, type Address, type Hex } from './hex.ts'
import { keccak256 } from './keccak.ts'

/** The signed part of an offer. Prices are atomic USDC per 1,000,000 tokens. */
export interface Offer {
  /** keccak256 of the model id's UTF-8 bytes. */
  modelHash: Hex
  payTo: Address
  priceIn: Usdc
  priceCached: Usdc
  priceOut: Usdc
  /** Atomic USDC per request, added to the token cost. */
  fixedPrice: Usdc
  maxContext: number
  maxOutput: number
  /** Unix seconds. */
  validUntilSec: number
  detailsHash: Hex
}

/** The document that `detailsHash` binds: the ceiling's other parameters and what describes the model. */
export interface OfferDetails {
  model: string
  /** The least ceiling and charge of a request, at least 1. */
  min: Usdc
  /** Output tokens assumed when the client sets no limit. */
  defOut: number
  /** Prompt tokens assumed per image. */
  img: number
  /** The most choices (`n`) of one request. */
  maxN: number
  engine?: string
  quantization?: string
  /** keccak256 of the chat template's UTF-8 bytes. */
  templateHash?: string
  /** Descriptive keys that this version does not know; kept, because the hash covers them. */
  rest?: Record<string, string | number | boolean>
}

/** An offer with its details, the receiverAuthorizer's signature and its EIP-712 digest, the "offer hash". */
export interface SignedOffer {
  offer: Offer
  details: OfferDetails
  signature: Hex
  hash: Hex
}

const knownDetails = new Set([
  'model',
  'min',
  'defOut',
  'img',
  'maxN',
  'engine',
  'quantization',
  'templateHash',
])
const mostUnknownDetails = 32

/** keccak256 of the details as canonical JSON (sorted keys, no spaces, amounts as decimal strings). */
export function detailsHash(details: OfferDetails): Hex {
  return keccak256(canonicalJson(encodeDetails(details)))
}

/** keccak256 of the model id as offered. */
export function modelHash(model: string): Hex {
  return keccak256(model)
}

/** Signs an offer with the receiverAuthorizer's key; its two hashes are taken from the details. */
export function signOffer(
  digests: Digests,
  curve: Curve,
  key: Hex,
  offer: Omit<Offer, 'modelHash' | 'detailsHash'>,
  details: OfferDetails,
): SignedOffer {
  const bound = { ...offer, modelHash: modelHash(details.model), detailsHash: detailsHash(details) }
  const hash = digests.offer(bound)
  return { offer: bound, details, signature: curve.sign(hash, key), hash }
}

/** True when hash, model and details belong together and the receiverAuthorizer signed them. Time is not judged. */
export function verifyOffer(
  digests: Digests,
  curve: Curve,
  signed: SignedOffer,
  receiverAuthorizer: Address,
): boolean {
  const { offer, details, hash, signature } = signed
  return (
    digests.offer(offer) === hash &&
    offer.modelHash === modelHash(details.model) &&
    offer.detailsHash === detailsHash(details) &&
    curve.recover(hash, signature) === receiverAuthorizer
  )
}

/** Parses the JSON form; signature and hashes are checked by `verifyOffer`. Throws `invalid_message`. */
export function parseSignedOffer(input: unknown): SignedOffer {
  const fields = expectObject(input, 'offer')
  return {
    offer: parseOffer(fields['offer']),
    details: parseDetails(fields['details']),
    signature: asHex(fields['signature'], 'signature'),
    hash: asHex32(fields['hash'], 'hash'),
  }
}

/** The JSON form of a signed offer. */
export function encodeSignedOffer({ offer, details, signature, hash }: SignedOffer): Record<string, unknown> {
  return {
    offer: {
      modelHash: offer.modelHash,
      payTo: checksummed(offer.payTo),
      priceIn: offer.priceIn.toString(),
      priceCached: offer.priceCached.toString(),
      priceOut: offer.priceOut.toString(),
      fixedPrice: offer.fixedPrice.toString(),
      maxContext: offer.maxContext,
      maxOutput: offer.maxOutput,
      validUntil: offer.validUntilSec,
      detailsHash: offer.detailsHash,
    },
    details: encodeDetails(details),
    signature,
    hash,
  }
}

function parseOffer(input: unknown): Offer {
  const fields = expectObject(input, 'offer')
  return {
    modelHash: asHex32(fields['modelHash'], 'modelHash'),
    payTo: asAddress(fields['payTo'], 'payTo'),
    priceIn: parseAmount(fields['priceIn'], 'priceIn'),
    priceCached: parseAmount(fields['priceCached'], 'priceCached'),
    priceOut: parseAmount(fields['priceOut'], 'priceOut'),
    fixedPrice: parseAmount(fields['fixedPrice'], 'fixedPrice'),
    maxContext: expectInteger(fields['maxContext'], 'maxContext'),
    maxOutput: expectInteger(fields['maxOutput'], 'maxOutput'),
    validUntilSec: expectTimeSec(fields['validUntil'], 'validUntil'),
    detailsHash: asHex32(fields['detailsHash'], 'detailsHash'),
  }
}

function parseDetails(input: unknown): OfferDetails {
  const fields = expectObject(input, 'details')
  const engine = present(fields['engine'])
  const quantization = present(fields['quantization'])
  const templateHash = present(fields['templateHash'])
  const rest = Object.entries(fields).filter(([key]) => !knownDetails.has(key))
  const min = parseAmount(fields['min'], 'min')
  if (min < 1n) refuseMessage('min', 'at least 1')
  if (rest.length > mostUnknownDetails)
    refuseMessage('details', `an object of at most ${mostUnknownDetails} more keys`)
  return {
    model: expectText(fields['model'], 'model', 256),
    min,
    defOut: expectInteger(fields['defOut'], 'defOut'),
    img: expectInteger(fields['img'], 'img'),
    maxN: expectInteger(fields['maxN'], 'maxN'),
    ...(engine === undefined ? {} : { engine: expectText(engine, 'engine', 256) }),
    ...(quantization === undefined ? {} : { quantization: expectText(quantization, 'quantization', 256) }),
    ...(templateHash === undefined ? {} : { templateHash: expectText(templateHash, 'templateHash', 66) }),
    ...(rest.length === 0 ? {} : { rest: parseRest(rest) }),
  }
}

function parseRest(entries: [string, unknown][]): Record<string, string | number | boolean> {
  // Plain values only: nesting would let a seller choose how deep the buyer recurses.
  return Object.fromEntries(
    entries.map(([key, value]) => {
      if (typeof value === 'boolean') return [key, value]
      if (typeof value === 'string' && value.length <= 4096) return [key, value]
      return [key, expectInteger(value, 'a detail')]
    }),
  )
}

function encodeDetails({ rest, min, ...details }: OfferDetails): Record<string, string | number | boolean> {
  return { ...rest, ...details, min: min.toString() }
}
