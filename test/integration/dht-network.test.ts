import { randomBytes } from 'node:crypto'
import { multiaddr } from '@multiformats/multiaddr'
import { peerIdFromString } from '@libp2p/peer-id'
import { CID } from 'multiformats/cid'
import * as Digest from 'multiformats/hashes/digest'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { BoundedStore } from '../../src/net/p2p/bounded-store.ts'
import { dhtKey } from '../../src/net/p2p/dht-records.ts'
import { encodeRecord, type SellerRecord } from '../../src/wire/record.ts'
import { openLiar, type Liar } from '../fixtures/dht-liar.ts'
import {
  freshKey,
  keysNear,
  openNetwork,
  openNode,
  sellerRecord,
  type Node,
} from '../fixtures/dht-network.ts'

const size = 40
const killed = 12
const sellers = 8
// Of a machine that has other things to do; a quiet one answers in a tenth of a second.
const patient = { timeoutMs: 15_000 }

let nodes: Node[]
let bootstrap: string[]

beforeAll(async () => {
  nodes = await openNetwork(size)
  bootstrap = nodes.slice(0, 3).flatMap(({ host }) => host.addrs())
})

afterAll(async () => {
  await Promise.all(nodes.map(({ host }) => host[Symbol.asyncDispose]()))
})

const bytesOf = (record: SellerRecord) => Buffer.from(encodeRecord(record))
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
  const found = await nodes[7]?.host.dht.getSeller(key.peerId, patient)
  expect(found?.document.signature).toBe(good.signature)
})

test('an old record played back is refused by its holders and never read', async () => {
  await using liar = await openLiar(bootstrap)
  const { key, host } = nodes[9] as Node
  const now = Date.now()
  const old = sellerRecord(key, { price: 1n, seq: now - 120_000 })
  const newest = sellerRecord(key, { price: 2n, seq: now })
  expect(await host.dht.putRecord(old)).toMatchObject({ ok: true })
  expect(await host.dht.putRecord(newest, { enough: 20 })).toMatchObject({ ok: true })
  // A node that never saw the newer one may take it; who reads hears of the newer one from the others.
  const { refused } = await liar.put(dhtKey('seller', key.peerId), bytesOf(old))
  expect(refused).toBeGreaterThanOrEqual(4)
  expect(await host.dht.putRecord(old)).toEqual({ ok: false, reason: 'rollback' })
  for (const { host } of [nodes[20], nodes[30]] as Node[]) {
    expect((await host.dht.getSeller(key.peerId, patient))?.document.seq).toBe(now)
  }
})

test('a record is not replaced again within half a minute, unless it is much newer', async () => {
  const { key, host } = nodes[11] as Node
  const now = Date.now()
  expect(await host.dht.putRecord(sellerRecord(key, { seq: now - 90_000 }))).toMatchObject({ ok: true })
  expect(await host.dht.putRecord(sellerRecord(key, { seq: now - 89_000 }))).toEqual({
    ok: false,
    reason: 'too_often',
  })
  expect(await host.dht.putRecord(sellerRecord(key, { seq: now }))).toMatchObject({ ok: true })
})

test.runIf(process.env['TEST_DEEP'] === '1')(
  'five liars around a key can neither hide its record nor bring back the one before',
  async () => {
    const { key, host } = nodes[13] as Node
    const place = dhtKey('seller', key.peerId)
    const now = Date.now()
    const old = sellerRecord(key, { price: 1n, seq: now - 100_000 })
    const newest = sellerRecord(key, { price: 9n, seq: now })
    await using before = await openLiar(bootstrap)
    await before.put(place, bytesOf(old))
    const oldEnvelope = await recordOf(before, place)
    const liars = await Promise.all(keysNear(place, 5, 400).map((near) => openLiar(bootstrap, near)))
    try {
      for (const liar of liars) liar.lie(oldEnvelope, liars)
      expect(await host.dht.putRecord(newest, { enough: 20 })).toMatchObject({ ok: true })
      const known = [...bootstrap, ...liars.flatMap(addrsOf)]
      for (const lie of [oldEnvelope, null]) {
        for (const liar of liars) liar.lie(lie, liars)
        await using buyer = (await openNode(known, { server: false, listen: [] })).host
        await buyer.joined(known.length, AbortSignal.timeout(5_000))
        expect((await buyer.dht.getSeller(key.peerId, patient))?.document.seq).toBe(now)
      }
    } finally {
      await Promise.all(liars.map((liar) => liar[Symbol.asyncDispose]()))
    }
  },
)

test('a provider whose addresses are gone does not take the other providers with it', async () => {
  const cid = CID.createV1(0x55, Digest.create(0x12, randomBytes(32)))
  const store = new BoundedStore({
    self: 'nobody',
    now: Date.now,
    peerName: (peer) => peerIdFromString(peer).toCID().toString(),
    admitRecord: () => {},
  })
  // What a node with the stock store does is why ours has this rule.
  expect(await providersSeen(cid)).toBe(0)
  expect(await providersSeen(cid, store)).toBe(1)
})

test('with 30 % of the nodes gone every seller is found, and in time', async () => {
  const selling = nodes.slice(killed + 1, killed + 1 + sellers)
  const sell = async ({ key, host }: Node) => {
    const record = sellerRecord(key, { seq: Date.now() + 61_000 })
    // All replicas, not just enough of them: those told in the background might not be told before the nodes go.
    const outcome = await host.dht.putRecord(record, { enough: 20 })
    expect(outcome.ok && outcome.holders).toBeGreaterThanOrEqual(4)
    expect(await host.dht.provide('market')).toBeGreaterThan(0)
  }
  for (let at = 0; at < sellers; at += 2) await Promise.all(selling.slice(at, at + 2).map(sell))
  const gone = nodes.splice(1, killed)
  await Promise.all(gone.map(({ host }) => host[Symbol.asyncDispose]()))

  const buyer = nodes.at(-1) as Node
  for (const { key } of selling) {
    const found = await buyer.host.dht.getSeller(key.peerId, patient)
    expect(found?.document.peer).toBe(key.peerId)
  }
  const { host: cold } = await openNode(nodes[0]?.host.addrs() ?? [], { server: false, listen: [] })
  const [market, marketMs] = await timed(() => cold.dht.sellersOf('market', patient))
  const peers = market.map(({ document }) => document.peer).toSorted()
  expect(peers).toEqual(selling.map(({ key }) => key.peerId).toSorted())
  expect(market[0]).toMatchObject({ url: 'http://127.0.0.1:8402/', addrs: ['/ip4/127.0.0.1/tcp/4001'] })
  expect(marketMs).toBeLessThan(patient.timeoutMs)
  await cold[Symbol.asyncDispose]()
})

test('nothing is found of who does not exist, and the answer comes within the deadline', async () => {
  const [found, ms] = await timed(
    () => nodes[2]?.host.dht.getSeller(freshKey().peerId, { timeoutMs: 2_000 }) ?? Promise.resolve(undefined),
  )
  expect(found).toBeNull()
  expect(ms).toBeLessThan(3_500)
  const [none] = await timed(() =>
    (nodes[2] as Node).host.dht.findSellers('no such model', { timeoutMs: 2_000 }),
  )
  expect(none).toEqual([])
})

test('a host whose bootstrap peers are all dead starts, answers nothing in time, and stops', async () => {
  const dead = `/ip4/127.0.0.1/tcp/1/p2p/${freshKey().peerId}`
  const { host } = await openNode([dead], { server: false, listen: [] })
  const [found, ms] = await timed(() => host.dht.getSeller(freshKey().peerId))
  expect(found).toBeNull()
  expect(ms).toBeLessThan(3_000)
  await host[Symbol.asyncDispose]()
})

test('without permission no private address is dialled or given', async () => {
  const { host } = await openNode(bootstrap, { server: false, listen: [], allowPrivate: false })
  expect(await host.joined(1, AbortSignal.timeout(300))).toBe(false)
  expect(await host.knownServers(10)).toEqual([])
  await host[Symbol.asyncDispose]()
})

function addrsOf({ node }: Liar): string[] {
  return node.getMultiaddrs().map(String)
}

// The record as a holder hands it out, in kad-dht's own envelope.
async function recordOf({ dht }: Liar, place: Uint8Array): Promise<Uint8Array> {
  const answer = await dht.rpc.handlers.GET_VALUE?.handle(undefined, { type: 'GET_VALUE', key: place })
  return (answer as { record: Uint8Array }).record
}

// Asks a holder that lists one provider it can reach and one whose addresses it has lost.
async function providersSeen(cid: CID, store?: BoundedStore): Promise<number> {
  await using holder = await openLiar([], freshKey(), store)
  await using seller = await openLiar(addrsOf(holder))
  await using asking = await openLiar(addrsOf(holder))
  await holder.dht.providers.addProvider(cid, seller.node.peerId)
  await holder.dht.providers.addProvider(cid, peerIdFromString(freshKey().peerId))
  await holder.node.peerStore.merge(seller.node.peerId, { multiaddrs: seller.node.getMultiaddrs() })
  await asking.node.dial(multiaddr(addrsOf(holder)[0]))
  const { handlers } = holder.dht.rpc
  const message = { type: 'GET_PROVIDERS', key: cid.multihash.bytes }
  const answer = await handlers.GET_PROVIDERS?.handle(asking.node.peerId, message).catch(() => null)
  return ((answer as { providers?: unknown[] } | null)?.providers ?? []).length
}
