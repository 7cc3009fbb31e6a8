import { expect, test } from 'vitest'
import { BoundedStore, type StoreKey } from './bounded-store.ts'
import { sellersPerDirectory } from './model-shards.ts'

const keyOf = (name: string) => ({ toString: () => name }) as unknown as StoreKey
const value = new Uint8Array(8)

function openStore(limits = { records: 100, peers: 1_000, providers: 500 }) {
  const clock = { nowMs: 1_000_000 }
  const store = new BoundedStore({
    self: 'self',
    now: () => clock.nowMs,
    limits,
    peerName: (peer) => peer,
    admitRecord: (key) => {
      if (key === 'refused') throw new Error('refused')
    },
  })
  const provide = (directory: string, peer: string) => {
    store.put(keyOf(`/peers/${peer}`), value)
    store.put(keyOf(`/dht/provider/${directory}/${peer}`), value)
  }
  return { store, clock, provide }
}

test('a flood of keys leaves the store at its size', () => {
  const { store } = openStore()
  for (let at = 0; at < 5_000; at++) store.put(keyOf(`/dht/record/${at}`), value)
  for (let at = 0; at < 5_000; at++) store.put(keyOf(`/peers/${at}`), value)
  for (let at = 0; at < 5_000; at++) store.put(keyOf(`/dht/provider/d${at}/p${at}`), value)
  expect(store.sizes).toEqual({ records: 100, peers: 1_000, providers: 500 })
  expect(store.has(keyOf('/dht/record/4999'))).toBe(true)
  expect(() => store.get(keyOf('/dht/record/0'))).toThrow(expect.objectContaining({ name: 'NotFoundError' }))
})

test('a directory takes no newcomers when it is full, and who is listed keeps its place', () => {
  const { store, clock, provide } = openStore()
  for (let at = 0; at < sellersPerDirectory; at++) provide('d', `p${at}`)
  expect(() => provide('d', 'late')).toThrow('full')
  provide('d', 'p0')
  expect(store.listedAt('d')).toHaveLength(sellersPerDirectory)
  clock.nowMs += 31 * 60_000
  provide('d', 'late')
  expect(store.listedAt('d')).toEqual(['late'])
})

test('a provider whose addresses are not known is not listed', () => {
  const { store, provide } = openStore()
  provide('d', 'known')
  store.put(keyOf('/dht/provider/d/ghost'), value)
  expect(store.listedAt('d')).toEqual(['known'])
})

test('a record that may not be stored now is refused, and an old one is gone', () => {
  const { store, clock } = openStore()
  expect(() => store.put(keyOf('/dht/record/refused'), value)).toThrow('refused')
  store.put(keyOf('/dht/record/a'), value)
  clock.nowMs += 66 * 60_000
  expect(() => store.get(keyOf('/dht/record/a'))).toThrow(expect.objectContaining({ name: 'NotFoundError' }))
})

test('one peer cannot fill every directory', () => {
  const { store } = openStore({ records: 1, peers: 1, providers: 10_000 })
  let refused = 0
  for (let at = 0; at < 1_000; at++) {
    try {
      store.put(keyOf(`/dht/provider/d${at}/greedy`), value)
    } catch {
      refused += 1
    }
  }
  expect(refused).toBeGreaterThan(400)
  expect(store.sizes.providers).toBeLessThan(600)
})
