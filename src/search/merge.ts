import type { PeerId } from '../wire/peer-id.ts'
import type { SellerListing } from '../wire/seller-listing.ts'

/**
 * One listing of each seller out of several registries' lists: what one omits another tells. The newest signed word
 * wins, the latest sign of life, and the observation of whoever has known the seller longest.
 */
export function mergeListings(lists: readonly (readonly SellerListing[])[]): SellerListing[] {
  const merged = new Map<PeerId, SellerListing>()
  for (const listing of lists.flat()) {
    const known = merged.get(listing.record.peer)
    merged.set(listing.record.peer, known ? mergeTwo(known, listing) : listing)
  }
  return [...merged.values()]
}

function mergeTwo(a: SellerListing, b: SellerListing): SellerListing {
  const newest = b.record.seq > a.record.seq ? b : a
  const seen = b.lastSeenMs > a.lastSeenMs ? b : a
  return {
    record: newest.record,
    binding: newest.binding,
    heartbeat: (b.heartbeat?.seq ?? -1) > (a.heartbeat?.seq ?? -1) ? b.heartbeat : a.heartbeat,
    lastSeenMs: seen.lastSeenMs,
    state: seen.state,
    measured: b.measured.sinceMs < a.measured.sinceMs ? b.measured : a.measured,
  }
}
