/** The lists of who sells a model, in the DHT. Presence only: what a seller says is in its record. */
import type { PeerId } from '../../wire/peer-id.ts'
import { gatherLists } from './agreement.ts'
import type { BoundedStore } from './bounded-store.ts'
import type { KadQueries } from './kad-queries.ts'
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
  /**
   * Enters the first of this node's directories that has room; gives how many holders list it there, up to `enough`.
   */
  enter(model: string, enough: number, signal: AbortSignal): Promise<number>
  leave(model: string): void
  /** Who is listed, from several directories and holders in turn. */
  read(model: string, limit: number, signal: AbortSignal): Promise<PeerId[]>
}

export interface DirectoryParts {
  queries: Pick<KadQueries, 'providers' | 'provide'>
  store: BoundedStore
  self: PeerId
}

// Of a renewal every ten minutes.
const chooseMs = 10_000

export function openDirectories({ queries, store, self }: DirectoryParts): Directories {
  async function namedIn(
    model: string,
    directory: Directory,
    signal: AbortSignal,
  ): Promise<(readonly PeerId[])[]> {
    const key = directoryDigest(model, directory)
    return [store.listedAt(key), ...(await gatherLists(queries.providers(key, signal)))]
  }

  return {
    async enter(model, enough, signal) {
      const brief = AbortSignal.any([signal, AbortSignal.timeout(chooseMs)])
      const choice = await chooseDirectory(self, async (directory) =>
        takeInTurn(await namedIn(model, directory, brief), sellersPerDirectory),
      )
      let holders = 0
      // Where all holders say that it is full after all, the next one has room.
      for (const directory of directoriesOf(self)) {
        if (directory.level < choice.level || holders > 0) continue
        const key = directoryDigest(model, directory)
        // Who reads asks this node as well, if it is near.
        store.enter(key, self)
        holders = await queries.provide(key, enough, signal)
      }
      return holders
    },
    leave(model) {
      for (const directory of directoriesOf(self)) store.leave(directoryDigest(model, directory), self)
    },
    read: (model, limit, signal) =>
      sampleSellers((directory) => namedIn(model, directory, signal), limit, Math.random),
  }
}
