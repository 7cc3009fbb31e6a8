/** A registry followed by its changes: everything once, in pages; then only what is new, asked for in advance. */
import type { PeerId } from '../wire/peer-id.ts'
import type { SellerListing } from '../wire/seller-listing.ts'
import type { RegistryClient } from './registry-client.ts'

export interface RegistryNews {
  listings: readonly SellerListing[]
  /** Whom the registry lists no longer. */
  gone: readonly PeerId[]
  /** How many listings were not to be believed. */
  refused: number
  /** More is known there already: ask again at once. */
  isPartial: boolean
}

export interface RegistryFeed {
  readonly url: string
  /**
   * What changed since the last call; at first everything, page by page. When nothing did, the registry may wait a few
   * seconds for news. Throws when it does not answer.
   */
  next(signal: AbortSignal): Promise<RegistryNews>
  close(): Promise<void>
}

const pageSize = 500
const waitSec = 10

/** The feed closes the client with itself. */
export function openRegistryFeed(client: RegistryClient): RegistryFeed {
  /** What the next changes are asked since; that of the first page, as later pages may miss what changed meanwhile. */
  let version: string | null = null
  let cursor: string | null = null
  let isWhole = false
  return {
    url: client.url,
    async next(signal) {
      const page = await client.sellers({
        stale: true,
        limit: pageSize,
        signal,
        ...(isWhole && version !== null && { since: version, waitSec }),
        ...(cursor !== null && { cursor }),
      })
      if (page === null) return { listings: [], gone: [], refused: 0, isPartial: false }
      if (page.reset) isWhole = false
      if (cursor === null) version = page.version
      cursor = page.next
      if (cursor === null) isWhole = true
      const { listings, gone, refused } = page
      return { listings, gone, refused, isPartial: cursor !== null || page.more }
    },
    close: () => client.close(),
  }
}
