/**
 * Where the sellers of a model are listed. A directory holds 200 sellers at most, so a model has three levels of them:
 * one directory, 16 and 64. A seller enters the first level that has room; a buyer reads the first level and goes on
 * while what it reads is crowded. Nobody has to be told how many sellers there are.
 */
import { createHash } from 'node:crypto'

/** More are not stored under one key: a holder answers with all of them at once. */
export const sellersPerDirectory = 200

const crowdedFrom = 150
const shardsRead = 4

/** How many directories each level has. */
export const levels = [1, 16, 64] as const

export interface Directory {
  level: (typeof levels)[number]
  shard: number
}

/** The SHA-256 digest under which a directory is found. */
export function directoryDigest(model: string, { level, shard }: Directory): Uint8Array {
  // The level is part of the name: shard 0 of 16 is not the one directory of a small market.
  return sha256(`openseed/model/v1/${model}/${level}/${shard}`)
}

/** The only directory of each level that a seller may enter. */
export function directoriesOf(peer: string): Directory[] {
  const place = sha256(peer)[0] as number
  return levels.map((level) => ({ level, shard: place % level }))
}

/**
 * The directory a seller enters: the first that it is in already or that has room. It is asked again at every renewal,
 * so that who found no room, or was left out when all came at once, is in the next level ten minutes later.
 */
export async function chooseDirectory(
  peer: string,
  read: (directory: Directory) => Promise<readonly string[]>,
): Promise<Directory> {
  const directories = directoriesOf(peer)
  for (const directory of directories) {
    const listed = await read(directory)
    if (listed.includes(peer) || !isCrowded(listed.length)) return directory
  }
  return directories.at(-1) as Directory
}

export function isCrowded(listed: number): boolean {
  return listed >= crowdedFrom
}

/**
 * Sellers of a model as a buyer samples them: level by level while what it reads is crowded, some directories of each.
 * What a holder named is taken in random order, or every buyer would turn to the same few.
 */
export async function sampleSellers(
  read: (directory: Directory) => Promise<readonly (readonly string[])[]>,
  limit: number,
  random: () => number,
): Promise<string[]> {
  const lists: string[][] = []
  for (const level of levels) {
    const shards = shuffled([...Array(level).keys()], random).slice(0, shardsRead)
    const found = await Promise.all(
      shards.map(async (shard) => {
        const named = await read({ level, shard })
        return takeInTurn(
          named.map((list) => shuffled(list, random)),
          sellersPerDirectory,
        )
      }),
    )
    lists.push(...found)
    if (!found.some((list) => isCrowded(list.length))) break
  }
  return takeInTurn(lists, limit)
}

/**
 * One list out of what several holders or directories named, taking from each in turn: no one of them, however long
 * its list, can crowd out what the others say.
 */
export function takeInTurn(lists: readonly (readonly string[])[], limit: number): string[] {
  const taken = new Set<string>()
  const longest = Math.max(0, ...lists.map((list) => list.length))
  for (let at = 0; at < longest; at++) {
    for (const list of lists) {
      const peer = list[at]
      if (peer !== undefined) taken.add(peer)
      if (taken.size === limit) return [...taken]
    }
  }
  return [...taken]
}

function shuffled<Item>(items: readonly Item[], random: () => number): Item[] {
  return items
    .map((item) => ({ item, order: random() }))
    .toSorted((a, b) => a.order - b.order)
    .map(({ item }) => item)
}

function sha256(text: string): Uint8Array {
  return createHash('sha256').update(text).digest()
}
