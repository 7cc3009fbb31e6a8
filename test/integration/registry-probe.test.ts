/** What a registry finds out by itself about the sellers it lists. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test, vi } from 'vitest'
import { openHost } from '../../src/net/p2p/open-host.ts'
import { nodeKeyOf } from '../../src/wire/node-key.ts'
import { announcedSeller } from '../fixtures/announced-seller.ts'
import { startRegistry } from '../fixtures/registry.ts'
import { patient } from '../fixtures/patient.ts'

const loopback = '/ip4/127.0.0.1/tcp/0'

async function openHealth(): Promise<AsyncDisposable & { server: Server; url: string }> {
  const server = createServer((_, response) => response.end('{"status":"ok"}')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    server,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

test('sellers that answer and sellers that do not are told apart, by the word of this registry alone', async () => {
  await using health = await openHealth()
  const gone = await openHealth()
  await gone[Symbol.asyncDispose]()
  await using registry = await startRegistry({ probe: true, probeEveryMs: 60 })
  await using other = await startRegistry({ peers: [registry.url] })
  const good = announcedSeller(800)
  const bad = announcedSeller(801)
  await registry.client.register(good.record({ url: health.url }), good.binding)
  await registry.client.register(bad.record({ url: gone.url }), bad.binding)
  const measured = async (peer: string) => (await registry.client.seller(peer))!.measured
  await vi.waitFor(async () => expect((await measured(good.peer)).rttMs).toBeDefined(), patient)
  await vi.waitFor(async () => expect((await measured(bad.peer)).atMs).toBeDefined(), patient)
  expect(await measured(good.peer)).toMatchObject({ by: registry.node.peerId, via: 'url', success: 1 })
  expect(await measured(bad.peer)).toMatchObject({ success: 0 })
  expect(await measured(bad.peer)).not.toHaveProperty('rttMs')
  await vi.waitFor(async () => expect(await other.client.seller(good.peer)).not.toBeNull(), patient)
  const elsewhere = (await other.client.seller(good.peer))!.measured
  expect(elsewhere).toMatchObject({ by: other.node.peerId })
  expect(elsewhere).not.toHaveProperty('success')
})

test('a seller without a URL is asked from peer to peer', async () => {
  await using health = await openHealth()
  const seller = announcedSeller(802)
  await using host = await openHost({
    key: seller.key,
    listen: [loopback],
    bootstrap: [],
    server: false,
    allowPrivate: true,
    onConnection: (socket) => health.server.emit('connection', socket),
  })
  await using registry = await startRegistry({
    probe: true,
    probeEveryMs: 60,
    dht: { listen: [loopback], bootstrap: [] },
  })
  await registry.client.register(seller.record({ url: null, addrs: host.addrs() }), seller.binding)
  await vi.waitFor(
    async () =>
      expect((await registry.client.seller(seller.peer))!.measured).toMatchObject({ via: 'p2p', success: 1 }),
    patient,
  )
  // Ten thousand that stay would be more than a registry can hold.
  await vi.waitFor(() => expect(host.pathTo(registry.node.peerId)).toBeNull(), patient)
})

test('a registry that is told not to ask does not', async () => {
  let asked = 0
  await using health = await openHealth()
  health.server.on('request', () => (asked += 1))
  await using registry = await startRegistry({ key: nodeKeyOf(randomBytes(32)) })
  const seller = announcedSeller(803)
  await registry.client.register(seller.record({ url: health.url }), seller.binding)
  await registry.client.heartbeat(seller.heartbeat())
  expect((await registry.client.seller(seller.peer))!.measured).not.toHaveProperty('atMs')
  expect(asked).toBe(0)
})
