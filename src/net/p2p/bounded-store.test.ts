import { createHash, randomBytes } from 'node:crypto'
import { base32 } from 'multiformats/bases/base32'
import { expect, test } from 'vitest'
import { nodeKeyOf } from '../../wire/node-key.ts'
import { BoundedStore, type StoreKey } from './bounded-store.ts'
import { farFrom } from './distance.ts'

const keyOf = (name: string) => ({ toString: () => name }) as unknown as StoreKey
const recordOf = (name: string) => keyOf(`/dht/record/${base32.baseEncode(Buffer.from(name))}`)
const value = new Uint8Array(8)
const { peerId: self } = nodeKeyOf(randomBytes(32))
const far = farFrom(self)
const nearestFirst = (names: string[]) =>
  names
    .map((name) => ({ name, far: far(Buffer.from(name)) }))
    .toSorted((a, b) => (a.far < b.far ? -1 : 1))
    .map(({ name }) => name)

function openStore(limits = { records: 100, peers: 1_000, providers: 500 }) {
  const clock = { nowMs: 1_000_000, seq: 1 }
  const store = new BoundedStore({
    self,
    now: () => clock.nowMs,
    limits,
    admitRecord: (place) => {
      if (place === base32.baseEncode(Buffer.from('refused'))) throw new Error('refused')
      return clock.seq
    },
  })
  return { store, clock }
}

function putFrom(store: BoundedStore, source: string, name: string): boolean {
  try {
    store.onBehalfOf(source, () => store.put(recordOf(name), value))
    return true
  } catch {
    return false
  }
}

test('a flood of keys leaves the store at its size, with those that are nearest to this node', () => {
  const { store } = openStore()
  const names = Array.from({ length: 3_000 }, (_, at) => `record-${at}`)
  for (const name of names) putFrom(store, 'one', name)
  for (let at = 0; at < 3_000; at++) store.put(keyOf(`/peers/${at}`), value)
  for (let at = 0; at < 3_000; at++)
    store.enter(createHash('sha256').update(`${at}`).digest(), `p${at}`, 'one')
  expect(store.sizes).toEqual({ records: 100, peers: 1_000, providers: 500 })
  const nearest = nearestFirst(names).slice(0, 100)
  expect(nearest.every((name) => store.has(recordOf(name)))).toBe(true)
})

test('keys made to lie next to this node push out nothing that others brought', () => {
  const { store } = openStore()
  const honest = Array.from({ length: 60 }, (_, at) => `honest-${at}`)
  for (const [at, name] of honest.entries()) expect(putFrom(store, `home-${at % 20}`, name)).toBe(true)
  const near = nearestFirst(Array.from({ length: 4_000 }, (_, at) => `made-${at}`)).slice(0, 400)
  for (const name of near) putFrom(store, 'flood', name)
  expect(store.sizes.records).toBe(100)
  expect(honest.every((name) => store.has(recordOf(name)))).toBe(true)
})

test('a record is not replaced by one from before it, even where its sequence was forgotten', () => {
  const { store, clock } = openStore()
  clock.seq = 9
  store.put(recordOf('a'), new Uint8Array([9]))
  clock.seq = 5
  expect(() => store.put(recordOf('a'), new Uint8Array([5]))).toThrow('rollback')
  expect(store.get(recordOf('a'))).toEqual(new Uint8Array([9]))
})

test('what this node puts itself is never an error, even when there is no room for it', () => {
  const { store } = openStore({ records: 1, peers: 1, providers: 1 })
  const [near = '', farther = ''] = nearestFirst(['x', 'y'])
  expect(putFrom(store, 'other', near)).toBe(true)
  expect(putFrom(store, 'another', farther)).toBe(false)
  store.put(recordOf(farther), value)
  expect(store.has(recordOf(near))).toBe(true)
})

test('a record that may not be stored now is refused, and an old one is gone', async () => {
  const { store, clock } = openStore()
  expect(() => store.put(recordOf('refused'), value)).toThrow('refused')
  store.put(recordOf('a'), value)
  clock.nowMs += 66 * 60_000
  expect(() => store.get(recordOf('a'))).toThrow(expect.objectContaining({ name: 'NotFoundError' }))
  expect(await Array.fromAsync(store.query({ prefix: '/dht/record' }))).toEqual([])
})
