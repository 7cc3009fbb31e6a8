/** From engines and prices to signed offers, and their renewal before they expire. */
import type { Clock } from '../base/clock.ts'
import type { Engine, EngineModel } from '../seller/engine/engine.ts'
import type { OfferBook } from '../seller/offer-book.ts'
import type { SellerStore } from '../seller/channel-book.ts'
import type { Usdc } from '../wire/amount.ts'
import { curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import type { Address, Hex } from '../wire/hex.ts'
import { encodeSignedOffer, signOffer, type OfferDetails, type SignedOffer } from '../wire/offer.ts'

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

/** Lists every model of every engine; the first engine that has a model serves it. */
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
      const signed = offerFor(model, engine, signer)
      const json = JSON.stringify(encodeSignedOffer(signed))
      await store.run('saveOffer', { hash: signed.hash, json, atMs: signer.now() })
      offers.list(signed, model.id, index)
    }
  }
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
