import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { FairShelf } from './fair-shelf.ts'

const put = fc.record({
  name: fc.integer({ min: 0, max: 60 }).map((number) => `k${number}`),
  source: fc.constantFrom('a', 'b', 'c', 'd'),
})
// Where a key lies does not change.
const farOf = (name: string) => BigInt((Number(name.slice(1)) * 7_919) % 61)

test('whatever is put, it keeps to its size, and never takes from a source to the good of one that has more', () => {
  fc.assert(
    fc.property(fc.array(put, { maxLength: 120 }), fc.integer({ min: 1, max: 20 }), (puts, limit) => {
      const held = new Map<string, string>()
      const shelf = new FairShelf<string>(limit, (name) => held.delete(name))
      const countOf = (source: string) => [...held.values()].filter((held) => held === source).length
      for (const { name, source } of puts) {
        const before = new Map(held)
        const isNew = !held.has(name)
        if (isNew) held.set(name, source)
        const isKept = shelf.set(name, { value: name, source, badness: farOf(name) })
        if (!isKept) held.delete(name)
        expect(shelf.size).toBe(held.size)
        expect(shelf.size).toBeLessThanOrEqual(limit)
        expect([...shelf].map(([name]) => name).toSorted()).toEqual([...held.keys()].toSorted())
        if (!isNew) continue
        for (const [dropped, loser] of before) {
          if (held.has(dropped)) continue
          expect(countOf(loser) + 1).toBeGreaterThanOrEqual(countOf(source))
          const kept = [...held].filter(([, source]) => source === loser).map(([name]) => farOf(name))
          expect(kept.every((far) => far <= farOf(dropped))).toBe(true)
        }
      }
    }),
    { numRuns: 300 },
  )
})

test('a flood from one source, however near its keys, takes nothing from those that bring little', () => {
  const shelf = new FairShelf<number>(1_000)
  for (let at = 0; at < 400; at++) {
    expect(
      shelf.set(`honest-${at}`, { value: at, source: `home-${at % 40}`, badness: BigInt(1_000_000 + at) }),
    ).toBe(true)
  }
  for (let at = 0; at < 20_000; at++) {
    shelf.set(`flood-${at}`, { value: at, source: 'flood', badness: BigInt(at) })
  }
  expect(shelf.size).toBe(1_000)
  for (let at = 0; at < 400; at++) expect(shelf.has(`honest-${at}`)).toBe(true)
})

test('between equals the farthest goes, the newcomer itself if it is the one', () => {
  const shelf = new FairShelf<string>(2)
  const put = (name: string, badness: bigint) => shelf.set(name, { value: name, source: name, badness })
  expect(put('near', 1n)).toBe(true)
  expect(put('far', 9n)).toBe(true)
  expect(put('farther', 10n)).toBe(false)
  expect(put('nearer', 5n)).toBe(true)
  expect([...shelf].map(([name]) => name)).toEqual(['near', 'nearer'])
  expect(shelf.delete('near')).toBe(true)
  expect(shelf.delete('near')).toBe(false)
  expect(shelf.get('nearer')).toBe('nearer')
})
