/** What is known of a seller: its own signed words, and what others found out. One row per model that it offers. */
import type { SellerListing } from '../wire/seller-listing.ts'
import type { RecordModel } from '../wire/seller-record.ts'

/** Found out without taking the seller's word; null where nobody did. */
export interface Evidence {
  /** A round trip to the seller from here. */
  rttMs: number | null
  /** From a request to its first token. */
  ttftMs: number | null
  /** Share of requests that succeeded, 0 to 1. */
  success: number | null
}

export interface Listing extends SellerListing {
  /** Since a registry last heard of it. */
  ageMs: number
  evidence: Evidence
}

export interface Row {
  listing: Listing
  /** Null for a seller whose catalogue is not in its record. */
  model: RecordModel | null
}

export const noEvidence: Evidence = { rttMs: null, ttftMs: null, success: null }

export function listingOf(seen: SellerListing, nowMs: number, evidence: Evidence = noEvidence): Listing {
  return { ...seen, ageMs: Math.max(0, nowMs - seen.lastSeenMs), evidence }
}

export function rowsOf(listing: Listing): Row[] {
  return (listing.record.body.models ?? [null]).map((model) => ({ listing, model }))
}
