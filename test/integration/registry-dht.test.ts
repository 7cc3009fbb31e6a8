/** Registries as DHT servers: what a seller told one of them is found by its peer id, whichever registry is asked. */
import { randomBytes } from 'node:crypto'
import { expect, test, vi } from 'vitest'
import { openHost } from '../../src/net/p2p/open-host.ts'
import { nodeKeyOf } from '../../src/wire/node-key.ts'
import { announcedSeller, modelOf } from '../fixtures/announced-seller.ts'
import { startRegistry } from '../fixtures/registry.ts'

const dht = { listen: ['/ip4/127.0.0.1/tcp/0'], bootstrap: [] as string[], everyMs: 50 }

test('a record told to one registry is read from the DHT through another, as the seller signed it', async () => {
  await using first = await startRegistry({ dht })
  await using second = await startRegistry({ dht: { ...dht, bootstrap: first.node.dhtAddrs() } })
  const seller = announcedSeller(1)
  const record = seller.record({ models: [modelOf('m', 100n)] })
  expect(await first.client.register(record, seller.binding)).toMatchObject({ status: 'ok' })

  await using reader = await openHost({
    key: nodeKeyOf(randomBytes(32)),
    listen: [],
    bootstrap: second.node.dhtAddrs(),
    server: false,
    allowPrivate: true,
  })
  const found = await vi.waitUntil(() => reader.dht.getSeller(seller.peer, { agree: 1, timeoutMs: 2000 }), {
    timeout: 15_000,
    interval: 50,
  })
  expect(found.document.signature).toBe(record.signature)
})

test('a registry without a DHT address has none', async () => {
  await using registry = await startRegistry()
  expect(registry.node.dhtAddrs()).toEqual([])
})
