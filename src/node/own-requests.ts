/** What the buyer of this home itself saw of sellers. */
import { existsSync } from 'node:fs'
import { OpenSeedError } from '../base/errors.ts'
import type { OwnRequests } from '../search/listing.ts'
import type { SellerRecord } from '../wire/record.ts'
import { peerAddress } from '../wire/seller-address.ts'

export type OwnRequestsOf = (seller: SellerRecord) => OwnRequests | null

// Of what comes after, the older ones say little.
const newest = 10_000

/** Null where nothing was asked of a seller. Reads the buyer's database, if there is one, beside a running buyer. */
export async function readOwnRequests(folder: string): Promise<OwnRequestsOf> {
  const path = `${folder}/buyer.db`
  if (!existsSync(path)) return () => null
  const { openReader } = await import('../store/reader.ts')
  try {
    using reader = openReader(path, 'buyer')
    const served = reader?.read('countServed', { newest }) ?? []
    const byName = new Map(served.map((row) => [bare(row.sellerUrl), row]))
    return ({ peer, body: { url } }) => {
      // As the buyer named it: by its peer id or by its URL, which may have changed meanwhile.
      const names = new Set([peerAddress(peer), ...(url === null ? [] : [bare(url)])])
      const rows = [...names].flatMap((name) => byName.get(name) ?? [])
      const sum = (read: (row: OwnRequests) => number) => rows.reduce((total, row) => total + read(row), 0)
      const asked = sum((row) => row.asked)
      return asked === 0 ? null : { asked, answered: sum((row) => row.answered) }
    }
  } catch (error) {
    // A search needs none of it.
    if (error instanceof OpenSeedError) return () => null
    throw error
  }
}

function bare(url: string): string {
  return url.replace(/\/+$/, '')
}
