/** The buyer's way into the peer-to-peer network: as late as possible, by whatever it was told. */
import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { silentLog } from '../../src/base/log.ts'
import { openBuyerHost, type BuyerHost } from '../../src/node/buyer-host.ts'
import type { IndexSource } from '../../src/node/known-peers.ts'
import { nodeKeyOf } from '../../src/wire/node-key.ts'
import { startRegistry } from '../fixtures/registry.ts'

const dht = { listen: ['/ip4/127.0.0.1/tcp/0'], bootstrap: [] as string[], everyMs: 100 }
const nobody = '/ip4/127.0.0.1/tcp/1/p2p/12D3KooWGRUcLTcbDN5yqXoUgyPTgZpXFZWVVrWWcF9VAVkZ5iF5'

function openWith(bootstrap: readonly string[] = [], kept: string | null = null) {
  const key = nodeKeyOf(randomBytes(32))
  const registries: IndexSource[] = []
  const clock = { nowMs: Date.now() }
  const store = { text: kept }
  let opened = 0
  const host: BuyerHost = openBuyerHost({
    key() {
      opened += 1
      return key
    },
    listen: [],
    bootstrap,
    allowPrivate: true,
    punch: true,
    registries: () => registries,
    loadKnown: async () => store.text,
    saveKnown: async (text) => (store.text = text),
    now: () => clock.nowMs,
    log: silentLog,
  })
  return { host, registries, clock, store, opened: () => opened }
}

const signal = () => AbortSignal.timeout(10_000)

test('without any server known nothing is opened, and nobody waits', async () => {
  const { host, opened } = openWith()
  await using _ = host
  expect(await host.dht(signal())).toBeNull()
  expect(opened()).toBe(0)
})

test('servers are named by a registry, met, and kept for the next time', async () => {
  await using registry = await startRegistry({ dht })
  const { host, registries, store, opened } = openWith()
  {
    await using _ = host
    registries.push(registry.client)
    expect(await host.dht(signal())).not.toBeNull()
    await host.dht(signal())
    expect(opened()).toBe(1)
  }
  expect(store.text).toContain(registry.node.peerId)
  const later = openWith([], store.text)
  await using _ = later.host
  expect(await later.host.dht(signal())).not.toBeNull()
})

test('a host that was opened before any server was known joins when one is', async () => {
  await using registry = await startRegistry({ dht })
  const { host, registries } = openWith()
  await using _ = host
  const opened = await host.get()
  expect(await host.dht(signal())).toBeNull()
  expect(opened.peerCount()).toBe(0)
  registries.push(registry.client)
  expect(await host.dht(signal())).not.toBeNull()
})

test('when no server answers it says so within a few seconds', async () => {
  const { host } = openWith([nobody])
  await using _ = host
  const startedMs = performance.now()
  await expect(host.dht(signal())).rejects.toMatchObject({ code: 'dht_unreachable' })
  expect(performance.now() - startedMs).toBeLessThan(6_000)
})

test('after it was closed nothing is opened any more', async () => {
  const { host, opened } = openWith([nobody])
  await host[Symbol.asyncDispose]()
  await expect(host.get()).rejects.toMatchObject({ code: 'shutting_down' })
  expect(opened()).toBe(0)
})
