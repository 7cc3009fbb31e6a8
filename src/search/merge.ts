import type { PeerId } from '../wire/peer-id.ts'
import type { SellerListing } from '../wire/seller-listing.ts'
import type { Told } from './listing.ts'

/** What one registry lists. */
export interface RegistryList {
  url: string
  listings: readonly SellerListing[]
}

/**
 * One word on each seller out of several registries' lists: what one omits another tells. The newest signed word wins
 * and the latest sign of life; what each registry saw stays beside what the others saw.
 */
export function mergeLists(lists: readonly RegistryList[]): Told[] {
  const merged = new Map<PeerId, Told>()
  for (const { url, listings } of lists) {
    for (const { measured, ...listing } of listings) {
      const told = { ...listing, observations: [{ by: url, measured }] }
      const known = merged.get(listing.record.peer)
      merged.set(listing.record.peer, known ? mergeTwo(known, told) : told)
    }
  }
  return [...merged.values()]
}

function mergeTwo(a: Told, b: Told): Told {
  const newest = b.record.seq > a.record.seq ? b : a
  const seen = (b.lastSeenMs ?? 0) > (a.lastSeenMs ?? 0) ? b : a
  return {
    record: newest.record,
    binding: newest.binding,
    heartbeat: (b.heartbeat?.seq ?? -1) > (a.heartbeat?.seq ?? -1) ? b.heartbeat : a.heartbeat,
    lastSeenMs: seen.lastSeenMs,
    state: seen.state,
    observations: [...a.observations, ...b.observations.filter(({ by }) => !isBy(a, by))],
  }
}

// Who says it twice is still one.
function isBy({ observations }: Told, by: string): boolean {
  return observations.some((observation) => observation.by === by)
}
