/** What one peer may say in the DHT: long messages take their reader long, so nobody reads them. */
import { publicKeyToProtobuf } from '@libp2p/crypto/keys'
import { expect, test, vi } from 'vitest'
import { farFrom } from '../../src/net/p2p/distance.ts'
import { dhtKey } from '../../src/net/p2p/dht-records.ts'
import type { NodeKey } from '../../src/wire/node-key.ts'
import { peerIdBytes } from '../../src/wire/peer-id.ts'
import { encodeRecord } from '../../src/wire/record.ts'
import { openLiar, type Liar } from '../fixtures/dht-liar.ts'
import { freshKey, knows, openNode, patienceMs, sellerRecord } from '../fixtures/dht-network.ts'
import { patient } from '../fixtures/patient.ts'

const lookup = { timeoutMs: patienceMs }
const client = { server: false, listen: [], stays: false } as const
const key = freshKey()
const place = dhtKey('seller', key.peerId)
// A hundred thousand of them are 4 MiB.
const crowd = Array.from({ length: 2_000 }, () => ({ id: peerIdBytes(freshKey().peerId), multiaddrs: [] }))

/** A question to store a record. The liar's own node makes the envelope. */
async function toStore(liar: Liar, author: NodeKey) {
  const at = dhtKey('seller', author.peerId)
  await liar.put(at, Buffer.from(encodeRecord(sellerRecord(author))))
  return { type: 'PUT_VALUE', key: at, record: await liar.envelopeOf(at) }
}

test('an answer that names thousands is not read, one that names twenty is', async () => {
  await using liar = await openLiar([])
  const { record } = await toStore(liar, key)
  const addrs = liar.node.getMultiaddrs().map(String)
  for (const [closer, isRead] of [
    [crowd, false],
    [crowd.slice(0, 20), true],
  ] as const) {
    liar.say({ closer, record })
    await using buyer = (await openNode(addrs, client)).host
    await knows({ host: buyer }, 1)
    const found = await buyer.dht.getSeller(key.peerId, lookup)
    expect(found?.document.peer).toBe(isRead ? key.peerId : undefined)
  }
})

test('a question that goes on for long is not heard out', async () => {
  await using holder = (await openNode([])).host
  await using liar = await openLiar(holder.addrs())
  const message = await toStore(liar, key)
  expect(await liar.ask(holder.peerId, { ...message, closer: crowd })).toBeNull()
  expect(holder.dht.stored().records).toBe(0)
  expect(await liar.ask(holder.peerId, message)).not.toBeNull()
  expect(holder.dht.stored().records).toBe(1)
})

test('what stock nodes store, and this network does not, is garbage: who floods with it is cut off', async () => {
  await using holder = (await openNode([])).host
  await using liar = await openLiar(holder.addrs())
  const { peerId } = liar.node
  const publicKey = publicKeyToProtobuf(peerId.publicKey!)
  const pk = Buffer.concat([Buffer.from('/pk/'), peerId.toMultihash().bytes])
  expect(await liar.flood(holder.peerId, 300, pk, publicKey)).toBeLessThan(300)
  expect(holder.dht.stored().records).toBe(0)
})

test('who is refused for want of room is no flooder, and keeps its connection', async () => {
  await using holder = (await openNode([], { limits: { records: 1, peers: 100, providers: 100 } })).host
  await using liar = await openLiar(holder.addrs())
  const [near = key, far = key] = [freshKey(), freshKey()]
    .map((author) => ({ author, far: farFrom(holder.peerId)(dhtKey('seller', author.peerId)) }))
    .toSorted((a, b) => (a.far < b.far ? -1 : 1))
    .map(({ author }) => author)
  expect(await liar.ask(holder.peerId, await toStore(liar, near))).not.toBeNull()
  const farther = await toStore(liar, far)
  for (let at = 0; at < 60; at++) expect(await liar.ask(holder.peerId, farther)).toBeNull()
  expect(await liar.ask(holder.peerId, { type: 'GET_VALUE', key: place })).not.toBeNull()
  expect(liar.node.getConnections()).toHaveLength(1)
})

test('addresses that nobody can read keep no host from coming up, nor from those beside them', async () => {
  await using holder = (await openNode([])).host
  const { peerId } = freshKey()
  const unreadable = ['/ip4/8.8.8.8/bogus/1', '/ip4/8.8.8.8/tcp/99999', '/ip4/8.8.8.8/tcp', '', 'x']
  const named = [...unreadable.map((addr) => `${addr}/p2p/${peerId}`), '/ip4/127.0.0.1/tcp/1/p2p/nobody']
  await using buyer = (await openNode([...named, ...holder.addrs()], client)).host
  await knows({ host: buyer }, 1)
})

test('who has thirty addresses is named with a few, so that answers stay short', async () => {
  await using holder = (await openNode([])).host
  const far = Array.from({ length: 30 }, (_, at) => `/dns4/${'x'.repeat(50)}${at}.example.com/tcp/1`)
  await using talkative = await openLiar(holder.addrs(), freshKey(), far)
  await knows({ host: holder }, 1)
  await using asker = await openLiar(holder.addrs())
  const named = await vi.waitUntil(async () => {
    const answer = await asker.ask(holder.peerId, { type: 'GET_VALUE', key: place })
    return answer?.closer?.find(({ multiaddrs }) => multiaddrs.length > 0)
  }, patient)
  expect(talkative.node.getMultiaddrs().length).toBeGreaterThanOrEqual(30)
  expect(named?.multiaddrs).toHaveLength(4)
})
