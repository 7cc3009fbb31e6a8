/** Which sellers to ask for one request, and in which order. Pure. */
import { OpenSeedError } from '../base/errors.ts'
import { ceilingTerms, requestCeiling, type Ceiling } from '../wire/ceiling.ts'
import type { Hex } from '../wire/hex.ts'
import type { SignedOffer } from '../wire/offer.ts'
import type { SellerTerms } from '../wire/terms.ts'
import { freshHealth, type SellerHealth } from './health.ts'

/** One verified offer of one seller. */
export interface Candidate {
  sellerUrl: string
  terms: SellerTerms
  signedOffer: SignedOffer
  /** It announced that no slot is free. */
  isFull?: boolean
}

export interface Route extends Candidate {
  ceiling: Ceiling
}

/** What the request may cost at most, by offer hash. */
export type Ceilings = ReadonlyMap<Hex, Ceiling>

/**
 * Computes the ceilings; an offer that cannot take the request gets none. When no offer can, throws what is wrong
 * with the request.
 */
export function quoteCeilings(
  candidates: readonly Candidate[],
  json: Record<string, unknown>,
  bodyBytes: number,
): Ceilings {
  const ceilings = new Map<Hex, Ceiling>()
  let refusal: OpenSeedError | null = null
  for (const { signedOffer, terms } of candidates) {
    try {
      if (bodyBytes > terms.maxBodyBytes) throw tooLargeFor(terms.maxBodyBytes)
      ceilings.set(signedOffer.hash, requestCeiling(json, bodyBytes, ceilingTerms(signedOffer)))
    } catch (thrown) {
      if (!(thrown instanceof OpenSeedError)) throw thrown
      refusal ??= thrown
    }
  }
  if (ceilings.size === 0 && refusal !== null) throw refusal
  return ceilings
}

/**
 * The cheapest ceiling first among the healthy that have a free slot, then the full ones, then those that failed and
 * were not heard of since; those that cool down last, the first to recover before the others.
 */
export function chooseRoutes(
  model: string,
  candidates: readonly Candidate[],
  health: ReadonlyMap<string, SellerHealth>,
  ceilings: Ceilings,
  nowMs: number,
): Route[] {
  const bySeller = new Map<string, Route>()
  for (const candidate of candidates) {
    const ceiling = ceilings.get(candidate.signedOffer.hash)
    if (ceiling === undefined || candidate.signedOffer.details.model !== model) continue
    const known = bySeller.get(candidate.sellerUrl)
    const route = { ...candidate, ceiling }
    if (known === undefined || compareOffers(route, known) < 0) bySeller.set(candidate.sellerUrl, route)
  }
  const healthOf = ({ sellerUrl }: Route) => health.get(sellerUrl) ?? freshHealth
  const coolUntil = (route: Route) => {
    const { coolUntilMs } = healthOf(route)
    return coolUntilMs > nowMs ? coolUntilMs : 0
  }
  return [...bySeller.values()].toSorted(
    (a, b) =>
      coolUntil(a) - coolUntil(b) ||
      Number(healthOf(a).isSilent ?? false) - Number(healthOf(b).isSilent ?? false) ||
      Number(a.isFull ?? false) - Number(b.isFull ?? false) ||
      compare(a.ceiling.amount, b.ceiling.amount) ||
      healthOf(a).failures - healthOf(b).failures ||
      compare(a.sellerUrl, b.sellerUrl),
  )
}

// The hash decides between equals, so that the order in which offers were listed never does.
function compareOffers(a: Route, b: Route): number {
  return compare(a.ceiling.amount, b.ceiling.amount) || compare(a.signedOffer.hash, b.signedOffer.hash)
}

function compare<T extends bigint | string>(a: T, b: T): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}

function tooLargeFor(maxBodyBytes: number): OpenSeedError {
  return new OpenSeedError('body_too_large', {
    message: `No seller takes a body over ${maxBodyBytes} bytes.`,
  })
}
