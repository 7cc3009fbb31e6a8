/** Registries among the peers: where others begin, where sellers' own words are found by peer id, and who is relayed. */
import { randomBytes } from 'node:crypto'
import { expect, test, vi } from 'vitest'
import { openHost, type Host } from '../../src/net/p2p/open-host.ts'
import { nodeKeyOf, type NodeKey } from '../../src/wire/node-key.ts'
import { countersign } from '../../src/wire/peer-binding.ts'
import { announcedSeller, modelOf } from '../fixtures/announced-seller.ts'
import { startRegistry } from '../fixtures/registry.ts'
import { patient } from '../fixtures/patient.ts'

const listen = ['/ip4/127.0.0.1/tcp/0']
const dht = { listen, bootstrap: [] as string[], everyMs: 50 }

function openReader(bootstrap: readonly string[], key: NodeKey = nodeKeyOf(randomBytes(32))): Promise<Host> {
  return openHost({ key, listen: [], bootstrap, server: false, allowPrivate: true })
}

test('a record told to one registry is read from the DHT through another, as the seller signed it', async () => {
  await using first = await startRegistry({ dht })
  await using second = await startRegistry({ dht: { ...dht, bootstrap: first.node.dhtAddrs() } })
  const seller = announcedSeller(1)
  const record = seller.record({ models: [modelOf('m', 100n)] })
  const binding = countersign(seller.key, seller.binding)
  expect(await first.client.register(record, binding)).toMatchObject({ status: 'ok' })

  await using reader = await openReader(second.node.dhtAddrs())
  const once = { agree: 1, timeoutMs: 2_000 } as const
  const found = await vi.waitUntil(() => reader.dht.getSeller(seller.peer, once), patient)
  expect(found.document.signature).toBe(record.signature)
  const bound = await vi.waitUntil(() => reader.dht.getBinding(seller.peer, once), patient)
  expect(bound.document).toEqual(binding)
  const index = await vi.waitUntil(() => reader.dht.getIndex(first.node.peerId, once), patient)
  expect(index.document).toEqual(await first.client.index())
})

test('registries that exchange news meet in the DHT without being told where', async () => {
  await using first = await startRegistry({ dht })
  await using second = await startRegistry({ dht, peers: [first.url] })
  const { body } = await second.client.index()
  expect(body.addrs).toEqual(second.node.dhtAddrs())
  await using reader = await openReader(first.node.dhtAddrs())
  await vi.waitUntil(() => reader.dht.getIndex(second.node.peerId, { agree: 1, timeoutMs: 2_000 }), patient)
})

test('sellers that are listed are relayed, and nobody else', async () => {
  await using registry = await startRegistry({ dht })
  const seller = announcedSeller(2)
  await registry.client.register(seller.record(), seller.binding)
  await using known = await openReader([], seller.key)
  await using stranger = await openReader([])
  for (const host of [known, stranger]) host.useRelays(registry.node.dhtAddrs())
  await vi.waitUntil(() => known.addrs().some((addr) => addr.includes('/p2p-circuit')), patient)
  expect(stranger.addrs()).toEqual([])
})

test('a registry whose peer-to-peer port is taken says so', async () => {
  await using first = await startRegistry({ dht })
  const [taken] = first.node.dhtAddrs()
  const again = startRegistry({ dht: { ...dht, listen: [taken!.replace(/\/p2p\/.*/, '')] } })
  await expect(again).rejects.toMatchObject({
    code: 'port_in_use',
    message: expect.stringContaining('/tcp/'),
  })
})

test('a registry without a DHT address has none', async () => {
  await using registry = await startRegistry({ dht: null })
  expect(registry.node.dhtAddrs()).toEqual([])
  expect((await registry.client.index()).body.addrs).toEqual([])
})
