import { expect, test } from 'vitest'
import { heartbeatDraft, nodeKey, sellerDraft } from '../../test/fixtures/records.ts'
import { signRecord } from '../wire/record.ts'
import type { HeartbeatBody } from '../wire/seller-record.ts'
import { announcedOf, KnownSellers, type KnownSeller } from './announced.ts'

const startMs = 1_800_000_000_000
const a = 'https://a.example'
const b = 'https://b.example'
const key = nodeKey(1)
const nowhere: readonly string[] = []
const catalog = { hash: `0x${'ab'.repeat(32)}`, url: 'https://seller.example.com/catalog' } as const

function seller(atMs: number, load?: { atMs: number } & Partial<HeartbeatBody>): KnownSeller {
  const { atMs: beatMs = 0, ...body } = load ?? {}
  const url = `https://seller.example.com/${atMs - startMs}`
  return {
    url,
    target: { url, addrs: [] },
    metAt: nowhere,
    record: signRecord(key, sellerDraft(atMs, { url })),
    heartbeat: load ? signRecord(key, heartbeatDraft(beatMs, body)) : null,
  }
}

const only = (known: KnownSellers) => [...known]

test('of what several registries say the newest record and the newest heartbeat win, in any order', () => {
  const old = seller(startMs, { atMs: startMs + 9 })
  const fresh = seller(startMs + 5, { atMs: startMs + 6 })
  for (const order of [
    [old, fresh],
    [fresh, old],
  ]) {
    const known = new KnownSellers()
    for (const [index, seen] of order.entries()) known.merge(seen, index === 0 ? a : b)
    expect(only(known)).toEqual([{ ...fresh, heartbeat: old.heartbeat }])
  }
})

test('a registry that repeats old records changes nothing', () => {
  const known = new KnownSellers()
  const fresh = seller(startMs + 5)
  expect(known.merge(fresh, a)).toBe(true)
  expect(known.merge(seller(startMs), b)).toBe(false)
  expect(known.merge(fresh, b)).toBe(false)
  expect(only(known)).toEqual([fresh])
})

test('a registry alone cannot hide a seller that another lists', () => {
  const known = new KnownSellers()
  known.merge(seller(startMs), a)
  known.merge(seller(startMs), b)
  expect(known.unlist(key.peerId, a)).toBe(false)
  expect(known.unlist(key.peerId, a)).toBe(false)
  expect(known.size).toBe(1)
  expect(known.unlist(key.peerId, b)).toBe(true)
  expect(known.size).toBe(0)
})

test('a seller that said goodbye is forgotten, and known again by a newer record', () => {
  const known = new KnownSellers()
  known.merge(seller(startMs), a)
  const leaving = { atMs: startMs + 1, leaving: true, recordSeq: startMs } as const
  known.merge(seller(startMs, leaving), a)
  expect(known.size).toBe(0)
  expect(known.merge(seller(startMs, leaving), b)).toBe(false)
  known.merge(seller(startMs + 5), a)
  expect(known.size).toBe(1)
})

test('what expired is forgotten', () => {
  const known = new KnownSellers()
  known.merge(seller(startMs), a)
  expect(known.forgetExpired(startMs / 1000 + 899)).toBe(false)
  expect(known.forgetExpired(startMs / 1000 + 900)).toBe(true)
  expect(known.size).toBe(0)
})

test('a seller is full when its newest heartbeat says so', () => {
  expect(announcedOf(seller(startMs)).isFull).toBe(false)
  expect(announcedOf(seller(startMs, { atMs: startMs, free: 1 })).isFull).toBe(false)
  expect(announcedOf(seller(startMs, { atMs: startMs, free: 0 })).isFull).toBe(true)
})

test('where a seller was met ourselves is taken over without a newer record', () => {
  const known = new KnownSellers()
  known.merge(seller(startMs), a)
  const met = { ...seller(startMs), metAt: ['/ip4/192.168.1.7/tcp/8404'] }
  expect(known.merge(met, 'lan')).toBe(true)
  expect(only(known)).toEqual([met])
  expect(known.merge(met, 'lan')).toBe(false)
})

test('a catalogue that was read stands for the models that a record does not name', () => {
  const known = {
    ...seller(startMs),
    record: signRecord(key, sellerDraft(startMs, { models: null, catalog })),
  }
  expect(announcedOf(known).models).toBeNull()
  const models = [{ id: 'm', quant: null, ctx: 8, maxOut: 4, in: 3n, cached: 2n, out: 5n, caps: [] }]
  expect(announcedOf(known, models).models).toEqual([
    { id: 'm', maxContext: 8, maxOutput: 4, priceIn: 3n, priceOut: 5n },
  ])
})
