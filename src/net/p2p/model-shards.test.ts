import { expect, test } from 'vitest'
import { seeded } from '../../../test/fixtures/seeded.ts'
import {
  chooseDirectory,
  directoriesOf,
  directoryDigest,
  isCrowded,
  levels,
  sampleSellers,
  sellersPerDirectory,
  takeInTurn,
  type Directory,
} from './model-shards.ts'

const crowd = Array.from({ length: 10_000 }, (_, at) => `seller-${at}`)

// What all holders together hold: a directory that is full refuses who is not in it.
function openHolders() {
  const held = new Map<string, Set<string>>()
  const at = ({ level, shard }: Directory) => {
    const name = `${level}/${shard}`
    const listed = held.get(name) ?? new Set<string>()
    held.set(name, listed)
    return listed
  }
  return {
    held,
    read: (directory: Directory) => [...at(directory)],
    count: (directory: Directory) => at(directory).size,
    enter(directory: Directory, peer: string) {
      const listed = at(directory)
      if (listed.size < sellersPerDirectory) listed.add(peer)
    },
  }
}

type Holders = ReturnType<typeof openHolders>

async function enter(holders: Holders, peer: string): Promise<void> {
  const choice = await chooseDirectory(peer, async (directory) =>
    isCrowded(holders.count(directory)) ? holders.read(directory) : [],
  )
  holders.enter(choice, peer)
}

test('10,000 sellers of one model that come one by one are all listed, at most 200 under one key', async () => {
  const holders = openHolders()
  for (const peer of crowd) await enter(holders, peer)
  const sizes = [...holders.held.values()].map(({ size }) => size)
  expect(Math.max(...sizes)).toBeLessThanOrEqual(sellersPerDirectory)
  expect(new Set([...holders.held.values()].flatMap((listed) => [...listed])).size).toBe(crowd.length)
  const seen = new Set<string>()
  for (let buyer = 0; buyer < 200; buyer++) {
    const sample = await sampleSellers(async (directory) => [holders.read(directory)], 100, Math.random)
    for (const peer of sample) seen.add(peer)
  }
  expect(seen.size).toBeGreaterThan(5_000)
})

test('10,000 sellers that start at the same moment are all listed after two renewals', async () => {
  const holders = openHolders()
  for (let round = 0; round < 3; round++) {
    const choices: [Directory, string][] = []
    for (const peer of crowd) {
      const known = new Map<string, string[]>()
      const read = async (directory: Directory) => {
        const name = `${directory.level}/${directory.shard}`
        const list = known.get(name) ?? (isCrowded(holders.count(directory)) ? holders.read(directory) : [])
        known.set(name, list)
        return list
      }
      choices.push([await chooseDirectory(peer, read), peer])
    }
    for (const [directory, peer] of choices) holders.enter(directory, peer)
  }
  const listed = new Set([...holders.held.values()].flatMap((names) => [...names]))
  expect(listed.size).toBeGreaterThan(crowd.length * 0.99)
})

test('five holders of fourteen that name two hundred others hide nobody from who reads a hundred', async () => {
  const honest = crowd.slice(0, 10)
  const liars = Array.from({ length: 5 }, (_, at) => crowd.slice(200 * (at + 1), 200 * (at + 2)))
  const lists = [...liars, ...Array.from({ length: 9 }, () => honest)]
  const random = seeded(1)
  for (let buyer = 0; buyer < 20; buyer++)
    expect(await sampleSellers(async () => lists, 100, random)).toEqual(expect.arrayContaining(honest))
})

test('a small market has one directory, and no two directories share a key', () => {
  expect(directoriesOf('somebody').map(({ level }) => level)).toEqual([...levels])
  const all = levels.flatMap((level) => Array.from({ length: level }, (_, shard) => ({ level, shard })))
  const keys = new Set(all.map((directory) => Buffer.from(directoryDigest('m', directory)).toString('hex')))
  expect(keys.size).toBe(1 + 16 + 64)
})

test('one long list cannot crowd out the others', () => {
  const fakes = Array.from({ length: 200 }, (_, at) => `fake-${at}`)
  const taken = takeInTurn([fakes, ['a', 'b'], ['b', 'c']], 6)
  expect(taken).toEqual(expect.arrayContaining(['a', 'b', 'c']))
  expect(takeInTurn([], 5)).toEqual([])
})
