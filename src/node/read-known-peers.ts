import { existsSync } from 'node:fs'
import { OpenSeedError } from '../base/errors.ts'
import type { Config } from '../config/config.ts'
import { knownPeersKey, parseKnownPeers } from './known-peers.ts'

/** DHT servers that a buyer or a seller of this home met the last time it ran. */
export async function readKnownPeers(
  { buyer, seller }: Pick<Config['paths'], 'buyer' | 'seller'>,
  allowPrivate: boolean,
): Promise<string[]> {
  const [ofBuyer, ofSeller] = [`${buyer}/buyer.db`, `${seller}/seller.db`]
  if (!existsSync(ofBuyer) && !existsSync(ofSeller)) return []
  const { openReader } = await import('../store/reader.ts')
  try {
    using buyers = openReader(ofBuyer, 'buyer')
    using sellers = openReader(ofSeller, 'seller')
    return [buyers, sellers].flatMap((reader) =>
      parseKnownPeers(reader?.read('getMeta', { key: knownPeersKey }) ?? null, allowPrivate),
    )
  } catch (error) {
    // One more place to begin at; without it there are others.
    if (error instanceof OpenSeedError) return []
    throw error
  }
}
