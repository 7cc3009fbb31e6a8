import { expect, test } from 'vitest'
import { ProviderShelf, type ProviderRules } from './provider-shelf.ts'

function openShelf(rules: Partial<ProviderRules> = {}) {
  const clock = { nowMs: 1_000_000 }
  const farOf = (directory: string) => BigInt(directory.length)
  const usual = { perDirectory: 200, perPeer: 10, total: 500, farOf, now: () => clock.nowMs }
  return { clock, shelf: new ProviderShelf({ ...usual, ...rules }) }
}

test('a full directory takes no newcomers from where the others came, and who is listed keeps its place', () => {
  const { clock, shelf } = openShelf()
  for (let at = 0; at < 200; at++) expect(shelf.put('d', `p${at}`, 'here')).toBe(true)
  expect(shelf.put('d', 'late', 'here')).toBe(false)
  expect(shelf.put('d', 'p0', 'here')).toBe(true)
  expect(shelf.list('d')).toHaveLength(200)
  clock.nowMs += 31 * 60_000
  expect(shelf.put('d', 'late', 'here')).toBe(true)
  expect(shelf.list('d')).toEqual(['late'])
  expect(shelf.size).toBe(1)
})

test('a directory that one source has filled has room for everyone else', () => {
  const { shelf } = openShelf()
  for (let at = 0; at < 200; at++) shelf.put('d', `sybil${at}`, 'flood')
  for (let at = 0; at < 150; at++) expect(shelf.put('d', `p${at}`, `home${at}`)).toBe(true)
  const listed = shelf.list('d')
  expect(listed).toHaveLength(200)
  expect(listed.filter((peer) => peer.startsWith('p'))).toHaveLength(150)
  expect(shelf.put('d', 'sybil-again', 'flood')).toBe(false)
})

test('one peer cannot fill every directory, nor one source the shelf', () => {
  const { shelf } = openShelf()
  const taken = Array.from({ length: 1_000 }, (_, at) => shelf.put(`d${at}`, 'greedy', 'flood'))
  expect(taken.filter(Boolean)).toHaveLength(10)
  for (let at = 0; at < 5; at++) shelf.put('far away, as names of directories go', `p${at}`, `home${at}`)
  for (let at = 0; at < 2_000; at++) shelf.put(`${at}`, `s${at}`, 'flood')
  expect(shelf.size).toBe(500)
  expect(shelf.list('far away, as names of directories go')).toHaveLength(5)
})

test('who leaves is not listed any longer', () => {
  const { shelf } = openShelf()
  shelf.put('d', 'a', 'here')
  shelf.put('d', 'b', 'here')
  shelf.delete('d', 'a')
  expect(shelf.list('d')).toEqual(['b'])
  expect(shelf.list('nowhere')).toEqual([])
})
