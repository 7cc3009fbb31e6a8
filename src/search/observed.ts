import type { Measured } from '../wire/seller-listing.ts'
import type { Listing } from './listing.ts'

/**
 * One number out of what several registries saw, null when none did: the middle one, and of two in the middle the
 * lower one, so that no seller looks better than most of them say.
 */
export function observed(
  { observations }: Pick<Listing, 'observations'>,
  read: (measured: Measured) => number | null,
): number | null {
  const values = observations.flatMap(({ measured }) => read(measured) ?? []).toSorted((a, b) => a - b)
  return values[Math.floor((values.length - 1) / 2)] ?? null
}
