/** From engines and prices to signed offers, and their renewal before they expire. */
import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../base/clock.ts'
import type { Engine, EngineModel } from '../seller/engine/engine.ts'
import type { OfferBook } from '../seller/offer-book.ts'
import type { SellerStore } from '../seller/channel-book.ts'
import type { Usdc } from '../wire/amount.ts'
import { curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import { asHex32, type Address, type Hex } from '../wire/hex.ts'
import {
  encodeSignedOffer,
  modelHash,
  parseSignedOffer,
  signOffer,
  verifyOffer,
  type OfferDetails,
  type SignedOffer,
} from '../wire/offer.ts'

/** Prices in atomic USDC per million tokens, limits in tokens. */
export interface ModelPrices {
  priceIn: Usdc
  priceCached: Usdc
  priceOut: Usdc
  fixedPrice: Usdc
  maxContext?: number | undefined
  maxOutput?: number | undefined
}

export interface OfferSigner {
  digests: Digests
  key: Hex
  payTo: Address
  pricesOf: (model: string) => ModelPrices
  now: Clock
}

const validSec = 24 * 3600
// Engines that do not say what they serve; config can say more.
const unknownContext = 8192
const usualMaxOutput = 8192
const usualOutput = 2048

/**
 * Lists every model of every engine; the first engine that has a model serves it. An offer that still says the same and
 * has half of its life before it is kept: buyers who know it can go on paying it after a restart.
 */
export async function listOffers(
  engines: readonly Engine[],
  signer: OfferSigner,
  offers: OfferBook,
  store: SellerStore,
): Promise<void> {
  const listed = new Set<string>()
  for (const [index, engine] of engines.entries()) {
    for (const model of engine.models) {
      if (listed.has(model.id)) continue
      listed.add(model.id)
      const made = offerFor(model, engine, signer)
      const earlier = await earlierOffer(model.id, signer, store)
      // Listed first, so that it stays payable for as long as any other that is replaced.
      if (earlier !== null) offers.list(earlier, model.id, index)
      if (earlier !== null && isStillGood(earlier, made, signer)) continue
      const json = JSON.stringify(encodeSignedOffer(made))
      await store.run('saveOffer', { hash: made.hash, json, atMs: signer.now() })
      await store.run('setMeta', { key: currentKey(model.id), value: made.hash })
      offers.list(made, model.id, index)
    }
  }
}

const currentKey = (model: string): string => `offer.current.${modelHash(model)}`

/** What was offered last for this model, if it is by this key and has not ended. */
async function earlierOffer(
  model: string,
  { digests, key, now }: OfferSigner,
  store: SellerStore,
): Promise<SignedOffer | null> {
  const hash = await store.read('getMeta', { key: currentKey(model) })
  const stored = hash === null ? null : await store.read('findOffer', { hash: asHex32(hash) })
  if (stored === null) return null
  const signed = parseSignedOffer(JSON.parse(stored.json))
  const isValid = signed.offer.validUntilSec > now() / 1000
  return isValid && verifyOffer(digests, curve, signed, curve.addressOf(key)) ? signed : null
}

function isStillGood(earlier: SignedOffer, made: SignedOffer, { now }: OfferSigner): boolean {
  const { validUntilSec, ...terms } = earlier.offer
  const { validUntilSec: _, ...wanted } = made.offer
  return validUntilSec > now() / 1000 + validSec / 2 && isDeepStrictEqual(terms, wanted)
}

function offerFor(model: EngineModel, engine: Engine, signer: OfferSigner): SignedOffer {
  const prices = signer.pricesOf(model.id)
  const maxContext = prices.maxContext ?? model.maxContext ?? unknownContext
  const maxOutput = Math.min(prices.maxOutput ?? usualMaxOutput, maxContext)
  const details: OfferDetails = {
    model: model.id,
    min: 1n,
    defOut: Math.min(usualOutput, maxOutput),
    img: 4096,
    maxN: 4,
    engine: engine.kind,
    ...(model.quantization === null ? {} : { quantization: model.quantization }),
    ...(model.templateHash === undefined ? {} : { templateHash: model.templateHash }),
  }
  const { priceIn, priceCached, priceOut, fixedPrice } = prices
  const validUntilSec = Math.floor(signer.now() / 1000) + validSec
  const offer = {
    payTo: signer.payTo,
    priceIn,
    priceCached,
    priceOut,
    fixedPrice,
    maxContext,
    maxOutput,
    validUntilSec,
  }
  return signOffer(signer.digests, curve, signer.key, offer, details)
}

/** Half of an offer's life. */
export const renewEveryMs = (validSec / 2) * 1000
