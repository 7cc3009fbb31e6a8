/** Registries that tell each other what sellers told them. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test, vi } from 'vitest'
import { nodeKeyOf } from '../../src/wire/node-key.ts'
import { signBatch } from '../../src/wire/delta-batch.ts'
import { encodeBinding } from '../../src/wire/peer-binding.ts'
import { encodeRecord } from '../../src/wire/record.ts'
import { announcedSeller, modelOf } from '../fixtures/announced-seller.ts'
import { startRegistry, type TestRegistry } from '../fixtures/registry.ts'
import { patient } from '../fixtures/patient.ts'

/** Two registries, each with the other as its peer. */
async function startPair(): Promise<AsyncDisposableStack & { one: TestRegistry; two: TestRegistry }> {
  const stack = new AsyncDisposableStack()
  const first = await startRegistry()
  const { port } = first.node
  const two = stack.use(await startRegistry({ peers: [first.url] }))
  // The first one's port is known only once it listens: it is started again with its peer.
  await first[Symbol.asyncDispose]()
  const one = stack.use(await startRegistry({ listen: { host: '127.0.0.1', port }, peers: [two.url] }))
  return Object.assign(stack, { one, two })
}

test('what one registry hears the other lists, with price changes and goodbyes', async () => {
  await using pair = await startPair()
  const { one, two } = pair
  const seller = announcedSeller(500)
  const other = announcedSeller(501)
  await one.client.register(seller.record(), seller.binding)
  await two.client.register(other.record(), other.binding)
  for (const { client } of [one, two])
    await vi.waitFor(async () => expect((await client.sellers())!.listings).toHaveLength(2), patient)

  const dearer = seller.record({ models: [modelOf('qwen3:8b', 7n)] })
  await one.client.register(dearer, seller.binding)
  const beat = seller.heartbeat()
  await one.client.heartbeat(beat)
  await vi.waitFor(
    async () =>
      expect(await two.client.seller(seller.peer)).toMatchObject({ record: dearer, heartbeat: beat }),
    patient,
  )
  await two.client.heartbeat(other.heartbeat({ leaving: true }))
  await vi.waitFor(async () => expect(await one.client.seller(other.peer)).toBeNull(), patient)
})

test('a registry that was killed has the list again from its peer', async () => {
  await using pair = await startPair()
  const { one, two } = pair
  const seller = announcedSeller(502)
  await one.client.register(seller.record(), seller.binding)
  await vi.waitFor(async () => expect(await two.client.seller(seller.peer)).not.toBeNull(), patient)
  const { port } = one.node
  await one.node[Symbol.asyncDispose]()
  await using again = await startRegistry({ listen: { host: '127.0.0.1', port }, peers: [two.url] })
  await vi.waitFor(async () => expect(await again.client.seller(seller.peer)).not.toBeNull(), patient)
})

test('a peer can neither forge a seller nor make one look more alive than its own signature does', async () => {
  let nowMs = 1_900_000_000_000
  await using registry = await startRegistry({ now: () => nowMs })
  const { client } = registry
  const liar = nodeKeyOf(randomBytes(32))
  const seller = announcedSeller(503, nowMs)
  const victim = announcedSeller(504, nowMs)
  const record = encodeRecord(seller.record())
  const forged = encodeRecord(victim.record()).replace('eu-west', 'on-moon')
  nowMs += 600_000
  const item = (text: string, { binding }: typeof seller) =>
    `{"lastSeenMs":${nowMs},"record":${text},"binding":${JSON.stringify(encodeBinding(binding))}}`
  const praised = announcedSeller(508, nowMs - 600_000)
  const praise = encodeRecord(praised.heartbeat()).replace(/"seq":\d+/, `"seq":${nowMs}`)
  const items = [
    item(record, seller),
    item(forged, victim),
    item(encodeRecord(praised.record()), praised).replace(/}$/, `,"heartbeat":${praise}}`),
  ]
  const batch = `{"version":"x-1","reset":false,"more":false,"items":[${items.join(',')}]}`
  await client.exchange(signBatch(liar, batch))
  expect(await client.seller(victim.peer)).toBeNull()
  for (const { peer } of [seller, praised]) {
    expect(registry.node.index.find(peer)?.state).toBe('stale')
    expect(await client.seller(peer)).toMatchObject({ state: 'stale', heartbeat: null })
  }
})

test('a batch whose signature is another one is refused', async () => {
  await using registry = await startRegistry()
  const batch = signBatch(nodeKeyOf(randomBytes(32)), '{"version":"x-1","items":[]}')
  const { peer } = signBatch(nodeKeyOf(randomBytes(32)), '')
  await expect(registry.client.exchange({ ...batch, peer })).rejects.toMatchObject({
    code: 'registry_failed',
  })
})

test('a peer that cannot be reached does not trouble a registry, and is taken up when it returns', async () => {
  const gone = await startRegistry()
  const { port } = gone.node
  await gone[Symbol.asyncDispose]()
  await using registry = await startRegistry({ peers: [`http://127.0.0.1:${port}`] })
  const seller = announcedSeller(505)
  await registry.client.register(seller.record(), seller.binding)
  await using back = await startRegistry({ listen: { host: '127.0.0.1', port } })
  await vi.waitFor(async () => expect(await back.client.seller(seller.peer)).not.toBeNull(), patient)
})

async function servePeer(listener: RequestListener) {
  const server = createServer((request, response) => {
    request.resume().on('end', () => listener(request, response))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.dispose]() {
      server.closeAllConnections()
      server.close()
    },
  }
}

test('a peer that always has more to tell, or forgets all the time, is not asked without end', async () => {
  const key = nodeKeyOf(randomBytes(32))
  for (const lie of ['"reset":false,"more":true', '"reset":true,"more":false']) {
    let exchanges = 0
    const batch = JSON.stringify(signBatch(key, `{"version":"x-1",${lie},"items":[]}`))
    using liar = await servePeer((request, response) => {
      if (request.method === 'POST') exchanges += 1
      response.end(batch)
    })
    await using registry = await startRegistry({ peers: [liar.url], exchangeEveryMs: 3_600_000 })
    await vi.waitUntil(async () => {
      const before = exchanges
      for (let asked = 0; asked < 50; asked += 1) await registry.client.stats()
      return before > 100 && exchanges === before
    }, patient)
  }
})

test('a peer that allows no more for now is asked again when it said, and is not held for gone', async () => {
  const key = nodeKeyOf(randomBytes(32))
  const batch = JSON.stringify(signBatch(key, '{"version":"x-1","reset":false,"more":false,"items":[]}'))
  let exchanges = 0
  using busy = await servePeer((request, response) => {
    if (request.method === 'POST') exchanges += 1
    if (exchanges < 3) response.writeHead(429, { 'retry-after': '0' })
    response.end(batch)
  })
  await using registry = await startRegistry({ peers: [busy.url], exchangeEveryMs: 3_600_000 })
  const status = async () => {
    const stats = (await (await fetch(`${registry.url}/v1/stats`)).json()) as { peers: unknown[] }
    return stats.peers[0]
  }
  await vi.waitFor(
    async () => expect(await status()).toMatchObject({ peer: key.peerId, failures: 0 }),
    patient,
  )
})

test('a peer that answers ten megabytes, garbage, or nothing keeps no news of others away', async () => {
  const lies: RequestListener[] = [
    (_request, response) => response.end('x'.repeat(10_000_000)),
    (_request, response) => response.end('[7]'),
    () => undefined,
  ]
  await using honest = await startRegistry()
  using stack = new DisposableStack()
  const liars = await Promise.all(lies.map(async (lie) => stack.use(await servePeer(lie)).url))
  await using registry = await startRegistry({ peers: [...liars, honest.url] })
  for (const number of [506, 507]) {
    const seller = announcedSeller(number)
    await honest.client.register(seller.record(), seller.binding)
    await vi.waitFor(async () => expect(await registry.client.seller(seller.peer)).not.toBeNull(), patient)
  }
})
