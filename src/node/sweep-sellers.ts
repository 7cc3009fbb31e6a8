/** The sellers that a sweep may ask, with who is paid there: those that were named and answered, and those announced. `announced`: null when nobody is looked for. */
import type { AnnouncedSeller } from '../buyer/announced.ts'
import type { Market } from '../buyer/market.ts'
import type { SweepParts } from '../buyer/sweep.ts'
import { normaliseSellerUrl } from '../net/seller-client.ts'

export function sweepSellers(
  named: readonly string[],
  market: Market,
  announced: (() => readonly AnnouncedSeller[]) | null,
): Pick<SweepParts, 'sellers' | 'terms' | 'isLooking'> {
  const terms = () =>
    named.map(normaliseSellerUrl).flatMap((url) => {
      const found = market.terms(url)
      return found === null ? [] : [{ url, terms: found }]
    })
  const sellers = () => [
    ...terms().map(({ url, terms: { payTo, receiverAuthorizer } }) => ({
      url,
      payTo,
      authorizer: receiverAuthorizer,
    })),
    ...(announced?.() ?? []),
  ]
  const isLooking = () => announced !== null || terms().length < named.length
  return { sellers, terms, isLooking }
}
