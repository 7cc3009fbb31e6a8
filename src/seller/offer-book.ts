/** What this seller offers: signed offers by model, and for a while the ones they replaced. */
import type { Clock } from '../base/clock.ts'
import { ceilingTerms, type CeilingTerms } from '../wire/ceiling.ts'
import type { Hex } from '../wire/hex.ts'
import type { SignedOffer } from '../wire/offer.ts'

export interface Listing {
  signed: SignedOffer
  ceiling: CeilingTerms
  /** the model's name at the engine */
  engineModel: string
  engineIndex: number
}

const replacedPayableMs = 120_000

export class OfferBook {
  readonly #now: Clock
  readonly #current = new Map<string, Listing>()
  readonly #replaced = new Map<Hex, { listing: Listing; untilMs: number }>()

  constructor(now: Clock) {
    this.#now = now
  }

  /** Lists an offer; the one it replaces stays payable for two minutes. */
  list(signed: SignedOffer, engineModel: string, engineIndex: number): void {
    const { model } = signed.details
    const before = this.#current.get(model)
    for (const [hash, { untilMs }] of this.#replaced) if (untilMs < this.#now()) this.#replaced.delete(hash)
    if (before !== undefined) {
      this.#replaced.set(before.signed.hash, { listing: before, untilMs: this.#now() + replacedPayableMs })
    }
    this.#current.set(model, { signed, ceiling: ceilingTerms(signed), engineModel, engineIndex })
  }

  all(): Listing[] {
    return [...this.#current.values()]
  }

  byModel(model: string): Listing | undefined {
    return this.#current.get(model)
  }

  /** The offer a request names, current or just replaced. */
  byHash(hash: Hex, model: string): Listing | undefined {
    const current = this.#current.get(model)
    if (current?.signed.hash === hash) return current
    const replaced = this.#replaced.get(hash)
    if (replaced === undefined || replaced.listing.signed.details.model !== model) return undefined
    return replaced.untilMs >= this.#now() ? replaced.listing : undefined
  }
}

/** A model that costs nothing is served without a payment. */
export const isFree = ({ signed: { offer } }: Listing): boolean =>
  offer.priceIn === 0n && offer.priceOut === 0n && offer.fixedPrice === 0n
