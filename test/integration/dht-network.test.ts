/** A whole DHT in one process: what it holds, what it refuses, and what is left of it when nodes lie or go. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { dhtKey } from '../../src/net/p2p/dht-records.ts'
import { directoryDigest, sellersPerDirectory } from '../../src/net/p2p/model-shards.ts'
import { encodeRecord, type SellerRecord } from '../../src/wire/record.ts'
import type { PutOutcome } from '../../src/net/p2p/open-host.ts'
import { openLiar, type Liar } from '../fixtures/dht-liar.ts'
import {
  freshKey,
  keysNear,
  knows,
  nearest,
  openNetwork,
  openNode,
  patienceMs,
  replicas,
  sellerBinding,
  sellerRecord,
  type Node,
} from '../fixtures/dht-network.ts'

const isDeep = process.env['TEST_DEEP'] === '1'
const size = isDeep ? 40 : 10
const killed = Math.round(0.3 * size)
const sellers = isDeep ? 8 : 3
const invented = isDeep ? 10 : 4
const patient = { timeoutMs: patienceMs }
const client = { server: false, listen: [] }
// It is gone soon, and meets nobody but whom it asks.
const passing = { ...client, stays: false }

// All nodes share one core with whatever else runs.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 })

let nodes: Node[]
let bootstrap: string[]

beforeAll(async () => {
  nodes = await openNetwork(size)
  bootstrap = nodes.slice(0, 3).flatMap(({ host }) => host.addrs())
})

afterAll(async () => {
  vi.resetConfig()
  await Promise.all(nodes.map(({ host }) => host[Symbol.asyncDispose]()))
})

const bytesOf = (record: SellerRecord) => Buffer.from(encodeRecord(record))
const at = (index: number) => nodes[index % nodes.length] as Node

/** As sellers do, it is told again while somebody who should hold it could not be told. */
async function everyHolder(tell: () => Promise<PutOutcome | number>): Promise<void> {
  const holders = async () => {
    const told = await tell()
    if (typeof told === 'number') return told
    return told.ok ? told.holders : 0
  }
  await vi.waitUntil(async () => (await holders()) >= replicas - 1, {
    timeout: 2 * patienceMs,
    interval: 100,
  })
}

async function timed<T>(work: () => Promise<T>): Promise<[T, number]> {
  const startedAtMs = performance.now()
  return [await work(), performance.now() - startedAtMs]
}

test('a host is known by the peer id of its node key', () => {
  for (const { key, host } of nodes) {
    expect(host.peerId).toBe(key.peerId)
    expect(host.addrs()[0]).toContain(key.peerId)
  }
})

test('poison is stored by nobody: forged, under a foreign key, oversize, from the future, in another namespace', async () => {
  await using liar = await openLiar(bootstrap)
  const key = freshKey()
  const mine = dhtKey('seller', key.peerId)
  const good = sellerRecord(key)
  const forged = Buffer.from(encodeRecord(good).replace('"concurrency":4', '"concurrency":5'))
  const oversize = Buffer.from(encodeRecord(good).replace('{', `{"pad":"${'x'.repeat(3_000)}",`))
  const future = sellerRecord(key, { seq: Date.now() + 3_600_000 })
  const eternal = sellerRecord(key, { ttlSec: 86_400 })
  const bad: [Uint8Array, Uint8Array][] = [
    [mine, forged],
    [dhtKey('seller', freshKey().peerId), bytesOf(good)],
    [dhtKey('index', key.peerId), bytesOf(good)],
    [mine, oversize],
    [mine, bytesOf(future)],
    [mine, bytesOf(eternal)],
    [mine, randomBytes(600)],
    [Buffer.from(`/other/seller/${key.peerId}`), bytesOf(good)],
  ]
  for (const [place, value] of bad) {
    const { taken, refused } = await liar.put(place, value)
    expect(taken).toBe(0)
    expect(refused).toBeGreaterThan(0)
  }
  expect((await liar.put(mine, bytesOf(good))).taken).toBeGreaterThanOrEqual(4)
  const found = await at(7).host.dht.getSeller(key.peerId, patient)
  expect(found?.document.signature).toBe(good.signature)
})

test('an old record played back is refused by its holders and never read', async () => {
  await using liar = await openLiar(bootstrap)
  const key = freshKey()
  const { host } = at(9)
  const now = Date.now()
  const old = sellerRecord(key, { price: 1n, seq: now - 120_000 })
  const newest = sellerRecord(key, { price: 2n, seq: now })
  expect(await host.dht.putRecord(old)).toMatchObject({ ok: true })
  await everyHolder(() => host.dht.putRecord(newest, { enough: 20 }))
  // A node that never saw the newer one may take it; who reads hears of the newer one from the others.
  const { refused } = await liar.put(dhtKey('seller', key.peerId), bytesOf(old))
  expect(refused).toBeGreaterThanOrEqual(4)
  expect(await host.dht.putRecord(old)).toEqual({ ok: false, reason: 'rollback' })
  for (const { host } of [at(2), at(12)]) {
    expect((await host.dht.getSeller(key.peerId, patient))?.document.seq).toBe(now)
  }
})

test('a record is not replaced again within half a minute, unless it is much newer', async () => {
  const key = freshKey()
  const { host } = at(11)
  const now = Date.now()
  expect(await host.dht.putRecord(sellerRecord(key, { seq: now - 90_000 }))).toMatchObject({ ok: true })
  expect(await host.dht.putRecord(sellerRecord(key, { seq: now - 89_000 }))).toEqual({
    ok: false,
    reason: 'too_often',
  })
  expect(await host.dht.putRecord(sellerRecord(key, { seq: now }))).toMatchObject({ ok: true })
})

test('a seller that starts anew within half a minute stays findable, also for who refused its new record', async () => {
  const first = await openNode(bootstrap, passing)
  const now = Date.now()
  const before = sellerRecord(first.key, { price: 1n, seq: now - 5_000 })
  await everyHolder(() => first.host.dht.putRecord(before, { enough: 20 }))
  await first.host[Symbol.asyncDispose]()
  const { key, host } = await openNode(bootstrap, { ...passing, key: first.key })
  await using again = host
  // A node that the first run did not reach may take it.
  const put = await again.dht.putRecord(sellerRecord(key, { price: 2n, seq: now }), { enough: 20 })
  expect(put).toMatchObject({ ok: true })
  for (const { host } of nearest(dhtKey('seller', key.peerId), nodes, 3)) {
    const found = await host.dht.getSeller(key.peerId, patient)
    expect([now - 5_000, now]).toContain(found?.document.seq)
  }
})

test('five liars around a key can neither hide its record nor bring back the one before', async () => {
  const key = freshKey()
  const { host } = at(13)
  const place = dhtKey('seller', key.peerId)
  const now = Date.now()
  const old = sellerRecord(key, { price: 1n, seq: now - 100_000 })
  const newest = sellerRecord(key, { price: 9n, seq: now })
  const before = await openLiar(bootstrap)
  await before.put(place, bytesOf(old))
  const oldEnvelope = await before.envelopeOf(place)
  // It is no sixth liar: it keeps whatever it has.
  await before[Symbol.asyncDispose]()
  const liars = await Promise.all(keysNear(place, 5, 400).map((near) => openLiar(bootstrap, near)))
  try {
    for (const liar of liars) liar.lie(oldEnvelope, liars)
    await everyHolder(() => host.dht.putRecord(newest, { enough: 20 }))
    const known = [...bootstrap, ...liars.flatMap(addrsOf)]
    for (const lie of [oldEnvelope, null]) {
      for (const liar of liars) liar.lie(lie, liars)
      await using buyer = (await openNode(known, client)).host
      await knows({ host: buyer }, known.length)
      expect((await buyer.dht.getSeller(key.peerId, patient))?.document.seq).toBe(now)
      // Who knows that there is a newer one takes none of theirs, however few it asks.
      const hasty = await buyer.dht.getSeller(key.peerId, { ...patient, agree: 1, lastSeq: now })
      expect(hasty?.document.seq).toBe(now)
    }
  } finally {
    await Promise.all(liars.map((liar) => liar[Symbol.asyncDispose]()))
  }
})

test('peers that a liar invents next to a key, or says to be elsewhere, keep nobody from its record', async () => {
  const key = freshKey()
  const { host } = at(6)
  const place = dhtKey('seller', key.peerId)
  await everyHolder(() => host.dht.putRecord(sellerRecord(key), { enough: 20 }))
  await using liar = await openLiar(bootstrap)
  const near = keysNear(place, invented, 200).map(({ peerId }) => peerId)
  await liar.misplace([...near, ...nodes.slice(0, 20).map(({ host }) => host.peerId)])
  await using buyer = (await openNode([...bootstrap, ...addrsOf(liar)], client)).host
  await knows({ host: buyer }, 4)
  expect((await buyer.dht.getSeller(key.peerId, patient))?.document.peer).toBe(key.peerId)
})

test('who sells from behind a NAT is found: a client without any address puts its record and is listed', async () => {
  const { key, host } = await openNode(bootstrap, client)
  await using seller = host
  expect(seller.addrs()).toEqual([])
  expect(await seller.dht.putRecord(sellerRecord(key))).toMatchObject({ ok: true })
  expect(await seller.dht.putBinding(sellerBinding(key))).toMatchObject({ ok: true })
  expect(await seller.dht.provide('from behind')).toBeGreaterThanOrEqual(4)
  await using buyer = (await openNode(bootstrap.slice(0, 1), client)).host
  const { sellers } = await buyer.dht.sellersOf(['from behind'], { ...patient, binding: true })
  const [found] = sellers
  expect(found).toMatchObject({ document: { peer: key.peerId }, binding: { peer: key.peerId } })
})

test('who comes for the first time finds every seller, though five liars name many that nobody knows', async () => {
  const directory = directoryDigest('bazaar', { level: 1, shard: 0 })
  const selling = nodes.slice(-sellers)
  for (const { key, host } of selling) {
    await everyHolder(() => host.dht.putRecord(sellerRecord(key), { enough: 20 }))
    await everyHolder(() => host.dht.provide('bazaar', { enough: 20 }))
  }
  const liars = await Promise.all(keysNear(directory, 5, 100).map((near) => openLiar(bootstrap, near)))
  try {
    for (const liar of liars)
      liar.list(
        Array.from({ length: invented }, () => freshKey().peerId),
        liars,
      )
    const known = [...bootstrap, ...liars.flatMap(addrsOf)]
    await using cold = (await openNode(known, passing)).host
    await knows({ host: cold }, known.length)
    const found = await cold.dht.sellersOf(['bazaar'], patient)
    const peers = found.sellers.map(({ document }) => document.peer).toSorted()
    expect(peers).toEqual(selling.map(({ key }) => key.peerId).toSorted())
    // Nothing ended it but that all who are listed were looked up.
    expect(found.isWhole).toBe(true)
  } finally {
    await Promise.all(liars.map((liar) => liar[Symbol.asyncDispose]()))
  }
})

test('a directory names sellers of whom its holder knows nothing else', async () => {
  await using holder = (await openNode([])).host
  const entering = Array.from({ length: 12 }, async () => {
    const { host } = await openNode(holder.addrs(), client)
    await knows({ host }, 1)
    expect(await host.dht.provide('m')).toBe(1)
    await host[Symbol.asyncDispose]()
  })
  await Promise.all(entering)
  await using buyer = (await openNode(holder.addrs(), client)).host
  await knows({ host: buyer }, 1)
  expect(await buyer.dht.findSellers('m', { ...patient, limit: sellersPerDirectory })).toHaveLength(12)
})

test('a flood of garbage costs its sender the connection, and a holder neither memory nor its other guests', async () => {
  await using holder = (await openNode([])).host
  await using liar = await openLiar(holder.addrs())
  const author = freshKey()
  const forged = encodeRecord(sellerRecord(author)).replace('"concurrency":4', '"concurrency":5')
  const place = dhtKey('seller', author.peerId)
  const refused = await liar.flood(holder.peerId, 1_000, place, Buffer.from(forged))
  // Fifty at once and two a second, and those that were under way; then nobody is there to refuse the rest.
  expect(refused).toBeGreaterThanOrEqual(50)
  expect(refused).toBeLessThan(300)
  expect(holder.dht.stored().records).toBe(0)
  const { key, host } = await openNode(holder.addrs(), client)
  expect(await host.dht.putRecord(sellerRecord(key))).toMatchObject({ ok: true })
  expect(holder.dht.stored().records).toBe(1)
  await host[Symbol.asyncDispose]()
})

test('with 30 % of the nodes gone every seller is found, and nobody waited for', async () => {
  const selling = nodes.slice(killed + 1, killed + 1 + sellers)
  const sell = async ({ key, host }: Node) => {
    // All replicas, not just enough of them: those told in the background might not be told before the nodes go.
    await everyHolder(() => host.dht.putRecord(sellerRecord(key), { enough: 20 }))
    await everyHolder(() => host.dht.putBinding(sellerBinding(key), { enough: 20 }))
    await everyHolder(() => host.dht.provide('market', { enough: 20 }))
  }
  for (let from = 0; from < sellers; from += 2) await Promise.all(selling.slice(from, from + 2).map(sell))
  const gone = nodes.splice(1, killed)
  await Promise.all(gone.map(({ host }) => host[Symbol.asyncDispose]()))

  const buyer = nodes.at(-1) as Node
  for (const { key } of selling) {
    const found = await buyer.host.dht.getSeller(key.peerId, { ...patient, binding: true })
    expect([found?.document.peer, found?.binding?.peer]).toEqual([key.peerId, key.peerId])
  }
  await using cold = (await openNode(nodes[0]?.host.addrs() ?? [], client)).host
  const { sellers: market, isWhole } = await cold.dht.sellersOf(['market'], { ...patient, binding: true })
  // It did not end by its deadline.
  expect(isWhole).toBe(true)
  const peers = market.map(({ document }) => document.peer).toSorted()
  expect(peers).toEqual(selling.map(({ key }) => key.peerId).toSorted())
  expect(market.every(({ binding, document }) => binding?.peer === document.peer)).toBe(true)
  expect(market[0]).toMatchObject({ url: 'http://127.0.0.1:8402/', addrs: ['/ip4/127.0.0.1/tcp/4001'] })
})

test('nothing is found of who does not exist, and the answer comes within the deadline', async () => {
  const [found, ms] = await timed(() => at(2).host.dht.getSeller(freshKey().peerId, { timeoutMs: 2_000 }))
  expect(found).toBeNull()
  expect(ms).toBeLessThan(patienceMs)
  const [none] = await timed(() => at(2).host.dht.findSellers('no such model', { timeoutMs: 2_000 }))
  expect(none).toEqual([])
})

test('a host whose bootstrap peers are all dead starts, answers nothing in time, and stops', async () => {
  const dead = `/ip4/127.0.0.1/tcp/1/p2p/${freshKey().peerId}`
  const { host } = await openNode([dead], client)
  const [found, ms] = await timed(() => host.dht.getSeller(freshKey().peerId))
  expect(found).toBeNull()
  expect(ms).toBeLessThan(patienceMs)
  await host[Symbol.asyncDispose]()
})

test('without permission no private address is dialled or given', async () => {
  const { host } = await openNode(bootstrap, { ...client, allowPrivate: false })
  expect(await host.joined(1, AbortSignal.timeout(300))).toBe(false)
  expect(await host.knownServers(10)).toEqual([])
  await host[Symbol.asyncDispose]()
})

function addrsOf({ node }: Liar): string[] {
  return node.getMultiaddrs().map(String)
}
