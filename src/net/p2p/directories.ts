/** The lists of who sells a model, as provider entries of the DHT. Presence only: what a seller says is in its record. */
import type { KadDHT } from '@libp2p/kad-dht'
import { base32 } from 'multiformats/bases/base32'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'
import type { PeerId } from '../../wire/peer-id.ts'
import { gatherLists } from './agreement.ts'
import type { BoundedStore } from './bounded-store.ts'
import { countUpTo, type KadQueries } from './kad-queries.ts'
import {
  chooseDirectory,
  directoriesOf,
  directoryDigest,
  sampleSellers,
  sellersPerDirectory,
  takeInTurn,
  type Directory,
} from './model-shards.ts'

export interface Directories {
  /** Enters the first of this node's directories that has room; gives how many holders were told, up to `enough`. */
  enter(model: string, enough: number, signal: AbortSignal): Promise<number>
  leave(model: string): Promise<void>
  /** Who is listed, from several directories and holders in turn. */
  read(model: string, limit: number, signal: AbortSignal): Promise<PeerId[]>
}

export interface DirectoryParts {
  kad: KadDHT
  queries: KadQueries
  store: BoundedStore
  self: PeerId
}

const holdersHeard = 3
const afterFirstMs = 600
const readMs = 2_000
const sha2256 = 0x12
const raw = 0x55

export function openDirectories({ kad, queries, store, self }: DirectoryParts): Directories {
  async function readOne(model: string, directory: Directory, outer: AbortSignal): Promise<PeerId[]> {
    const signal = AbortSignal.any([outer, AbortSignal.timeout(readMs)])
    const cid = cidOf(model, directory)
    const lists = await queries.insist(async () => {
      const enough = new AbortController()
      const replies = queries.providers(cid, AbortSignal.any([enough.signal, signal]))
      try {
        const heard = await gatherLists(replies, { agree: holdersHeard, afterFirstMs })
        return heard.length === 0 ? null : heard
      } finally {
        enough.abort()
      }
    }, signal)
    const own = store.listedAt(base32.baseEncode(cid.multihash.bytes))
    return takeInTurn([own, ...(lists ?? [])], sellersPerDirectory)
  }

  return {
    async enter(model, enough, signal) {
      const directory = await chooseDirectory(self, (directory) => readOne(model, directory, signal))
      return await countUpTo(enough, queries.provide(cidOf(model, directory), signal), 'ADD_PROVIDER')
    },
    async leave(model) {
      for (const directory of directoriesOf(self)) await kad.cancelReprovide(cidOf(model, directory))
    },
    read: (model, limit, signal) =>
      sampleSellers((directory) => readOne(model, directory, signal), limit, Math.random),
  }
}

function cidOf(model: string, directory: Directory): CID {
  return CID.createV1(raw, Digest.create(sha2256, directoryDigest(model, directory)))
}
