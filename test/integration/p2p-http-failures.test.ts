/** What a buyer sees when the way to a seller breaks: soon, in plain words, and whether the request had left. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import type { OpenSeedError } from '../../src/base/errors.ts'
import { readBody } from '../../src/net/read-body.ts'
import type { SellerClient, SellerRequest } from '../../src/net/seller-client.ts'
import { freshKey } from '../fixtures/dht-network.ts'
import { clientOver, loopback, openCable, openPeer, openServingPeer } from '../fixtures/p2p-hosts.ts'

// Half of what the requests themselves would wait. How fast it is, is measured where whole machines are cut off.
const silentMs = 15_000
// Sooner than any silence is noticed.
const atOnceMs = 3_500

const get = (over: Partial<SellerRequest> = {}): SellerRequest => ({
  method: 'GET',
  path: '/x',
  signal: new AbortController().signal,
  firstByteTimeoutMs: 30_000,
  idleTimeoutMs: 30_000,
  ...over,
})

async function textOf(client: SellerClient): Promise<string> {
  return (await readBody((await client.request(get())).body, 1_000_000)).toString()
}

async function failureOf(work: Promise<unknown>): Promise<OpenSeedError & { tookMs: number }> {
  const startedMs = performance.now()
  const thrown: unknown = await work.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(thrown).toBeInstanceOf(Error)
  return Object.assign(thrown as OpenSeedError, { tookMs: performance.now() - startedMs })
}

const isOpen = (request: IncomingMessage, response: ServerResponse) => {
  if (request.url === '/endless') response.write('part')
  else response.end('ok')
}

// Each waits for a silence of seconds; so they wait together.
describe.concurrent('silence is noticed long before a request is given up', () => {
  test('in the middle of an answer', async () => {
    await using seller = await openServingPeer((_request, response) => response.write('part'))
    await using cable = await openCable(seller.host.addrs()[0]!)
    await using buyer = await openPeer()
    await using client = clientOver(buyer, { peerId: seller.host.peerId, addrs: () => [cable.addr] })
    const { body } = await client.request(get())
    await once(body, 'readable')
    cable.pull()
    const failure = await failureOf(readBody(body, 100))
    expect(failure).toMatchObject({ code: 'seller_stream_broken', details: { sent: true } })
    expect(failure.message).toMatch(/broke off its answer: the seller's connection went silent\.$/)
    expect(failure.tookMs).toBeLessThan(silentMs)
    expect(buyer.pathTo(seller.host.peerId)).toBeNull()
  })

  test('by the seller too, which is then free for others', async () => {
    const begun = Promise.withResolvers<ServerResponse>()
    await using seller = await openServingPeer((_request, response) => {
      response.write('part')
      begun.resolve(response)
    })
    await using cable = await openCable(seller.host.addrs()[0]!)
    await using buyer = await openPeer()
    await using client = clientOver(buyer, { peerId: seller.host.peerId, addrs: () => [cable.addr] })
    const { body } = await client.request(get())
    const broken = failureOf(readBody(body, 100))
    const response = await begun.promise
    const startedMs = performance.now()
    cable.pull()
    await once(response, 'close')
    expect(performance.now() - startedMs).toBeLessThan(silentMs)
    await broken
  })

  test('before the next request, which finds another way', async () => {
    await using seller = await openServingPeer(isOpen)
    await using cable = await openCable(seller.host.addrs()[0]!)
    await using buyer = await openPeer()
    let addr = cable.addr
    await using client = clientOver(buyer, { peerId: seller.host.peerId, addrs: () => [addr] })
    const running = await client.request(get({ path: '/endless' }))
    running.body.on('error', () => {})
    cable.pull()
    addr = seller.host.addrs()[0]!
    const startedMs = performance.now()
    expect(await textOf(client)).toBe('ok')
    expect(performance.now() - startedMs).toBeLessThan(atOnceMs)
  })

  test('before an answer', async () => {
    const begun = Promise.withResolvers<void>()
    await using seller = await openServingPeer(() => begun.resolve())
    await using cable = await openCable(seller.host.addrs()[0]!)
    await using buyer = await openPeer()
    await using client = clientOver(buyer, { peerId: seller.host.peerId, addrs: () => [cable.addr] })
    const pending = failureOf(client.request(get()))
    await begun.promise
    cable.pull()
    expect(await pending).toMatchObject({
      code: 'seller_unreachable',
      message: expect.stringMatching(/did not answer: the seller's connection went silent\.$/),
      details: { sent: true },
    })
  })

  test('of one that never says a word', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    await using buyer = await openPeer()
    await using client = clientOver(buyer, {
      peerId: freshKey().peerId,
      addrs: () => [`/ip4/127.0.0.1/tcp/${port}`],
    })
    const failure = await failureOf(client.request(get()))
    expect(failure).toMatchObject({ code: 'seller_unreachable', details: { sent: false } })
    expect(failure.tookMs).toBeLessThan(silentMs)
    server.close()
  })
})

describe('an error says whether the request had left', () => {
  test('no: nobody answers at the address', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    server.close()
    await using buyer = await openPeer()
    await using client = clientOver(buyer, {
      peerId: freshKey().peerId,
      addrs: () => [`/ip4/127.0.0.1/tcp/${port}`],
    })
    const failure = await failureOf(client.request(get()))
    expect(failure).toMatchObject({ code: 'seller_unreachable', details: { sent: false } })
    expect(failure.tookMs).toBeLessThan(atOnceMs)
  })

  test('yes: the connection was cut after it was sent', async () => {
    const begun = Promise.withResolvers<void>()
    await using seller = await openServingPeer(() => begun.resolve())
    await using cable = await openCable(seller.host.addrs()[0]!)
    await using buyer = await openPeer()
    await using client = clientOver(buyer, { peerId: seller.host.peerId, addrs: () => [cable.addr] })
    const pending = failureOf(client.request(get()))
    await begun.promise
    cable.cut()
    expect(await pending).toMatchObject({ code: 'seller_unreachable', details: { sent: true } })
  })

  test('no: the connection was cut while it lay idle, and there is no other', async () => {
    await using seller = await openServingPeer(isOpen)
    const cable = await openCable(seller.host.addrs()[0]!)
    await using buyer = await openPeer()
    await using client = clientOver(buyer, { peerId: seller.host.peerId, addrs: () => [cable.addr] })
    expect(await textOf(client)).toBe('ok')
    await cable[Symbol.asyncDispose]()
    expect(await failureOf(client.request(get()))).toMatchObject({
      code: 'seller_unreachable',
      details: { sent: false },
    })
  })
})

test('a seller that was started anew with its key is reached again', async () => {
  const key = freshKey()
  await using buyer = await openPeer()
  let addrs: string[] = []
  await using client = clientOver(buyer, { peerId: key.peerId, addrs: () => addrs })
  for (let start = 0; start < 3; start += 1) {
    await using seller = await openServingPeer(isOpen, { key, listen: [loopback] })
    addrs = seller.host.addrs()
    const startedMs = performance.now()
    expect(await textOf(client)).toBe('ok')
    expect(performance.now() - startedMs).toBeLessThan(atOnceMs)
  }
})

test('of several addresses the one that answers is found without waiting for the others', async () => {
  // Takes connections, says nothing.
  const dumb = createServer().listen(0, '127.0.0.1')
  await once(dumb, 'listening')
  const { port } = dumb.address() as AddressInfo
  await using seller = await openServingPeer(isOpen)
  await using buyer = await openPeer()
  const addrs = () => [`/ip4/127.0.0.1/tcp/${port}`, '/ip4/127.0.0.1/tcp/1', ...seller.host.addrs()]
  await using client = clientOver(buyer, { peerId: seller.host.peerId, addrs })
  const startedMs = performance.now()
  expect(await textOf(client)).toBe('ok')
  expect(performance.now() - startedMs).toBeLessThan(atOnceMs)
  dumb.close()
})

test('many requests at once share one dial', async () => {
  await using seller = await openServingPeer(isOpen)
  await using buyer = await openPeer()
  await using client = clientOver(buyer, seller.host)
  const answers = await Promise.all(Array.from({ length: 100 }, () => textOf(client)))
  expect(new Set(answers)).toEqual(new Set(['ok']))
  expect(seller.streams()).toBeLessThanOrEqual(100)
})
