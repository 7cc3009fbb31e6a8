/** The ways to one seller: which is taken, what is remembered, and how a better one is found while another serves. */
import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Readable } from 'node:stream'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { openSellerClient, type SellerClient } from '../../src/net/seller-client.ts'
import { openSellerDialer, type DialTarget, type SellerDialer } from '../../src/net/seller-dialer.ts'
import type { Host } from '../../src/net/p2p/open-host.ts'
import { readBody } from '../../src/net/read-body.ts'
import { peerAddress } from '../../src/wire/seller-address.ts'
import { openPeer, openServingPeer, type ServingPeer } from '../fixtures/p2p-hosts.ts'
import { circuitsOf, openRelay, placesAt, stopRelay, type RelayHost } from '../fixtures/p2p-relay.ts'

let parts: AsyncDisposableStack
let seller: ServingPeer
let buyer: Host
let hostsOpened: number
let target: DialTarget | null
let onBetterPath: (peer: string) => void

beforeEach(async () => {
  parts = new AsyncDisposableStack()
  seller = parts.use(await openServingPeer((request, response) => response.end(`peer ${request.url}`)))
  buyer = parts.use(await openPeer())
  hostsOpened = 0
  onBetterPath = () => {}
  target = { url: null, addrs: seller.host.addrs() }
})
afterEach(() => parts.disposeAsync())

function openDialer({ lookAgainMs = 60_000, brief = false } = {}): SellerDialer {
  const dialer = openSellerDialer({
    host: async () => {
      hostsOpened += 1
      return {
        connect: (peer, options) => buyer.connect(peer, { ...options, brief }),
        pathTo: (peer) => buyer.pathTo(peer),
        onBetterPath: (listener) => buyer.onBetterPath(listener),
      }
    },
    targetOf: async () => target,
    allowPrivate: true,
    onBetterPath: (peer) => onBetterPath(peer),
    lookAgainMs,
  })
  return parts.use(dialer)
}

function openClient(dialer: SellerDialer): SellerClient {
  const client = openSellerClient({
    url: peerAddress(seller.host.peerId),
    connectTimeoutMs: 5_000,
    dial: (signal) => dialer.dial(seller.host.peerId, signal),
  })
  parts.defer(() => client.close())
  return client
}

async function ask(client: SellerClient): Promise<string> {
  const { body } = await client.request({
    method: 'GET',
    path: '/x',
    signal: AbortSignal.timeout(10_000),
    firstByteTimeoutMs: 5_000,
    idleTimeoutMs: 5_000,
  })
  return (await readBody(body, 1_000)).toString()
}

async function openWeb(): Promise<{ server: Server; url: string }> {
  const server = createServer((request, response) =>
    response.end(`web ${request.headers.host} ${request.url}`),
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  parts.defer(() => {
    server.closeAllConnections()
    server.close()
  })
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/shop` }
}

test('a URL that answers is taken, without any peer-to-peer host', async () => {
  const { url } = await openWeb()
  target = { url, addrs: seller.host.addrs() }
  const dialer = openDialer()
  const client = openClient(dialer)
  expect(await ask(client)).toBe(`web ${new URL(url).host} /shop/x`)
  expect(client.path()).toBe('url')
  expect(dialer.remembered(seller.host.peerId)).toBe('url')
  expect(hostsOpened).toBe(0)
})

test('a URL that refuses costs no head start, and the peer is remembered', async () => {
  const { server, url } = await openWeb()
  server.close()
  target = { url, addrs: seller.host.addrs() }
  const dialer = openDialer()
  const client = openClient(dialer)
  expect(await ask(client)).toBe('peer /x')
  expect(client.path()).toBe('direct')
  expect(dialer.remembered(seller.host.peerId)).toBe('direct')
})

test('what worked last is tried first', async () => {
  const dialer = openDialer()
  const client = openClient(dialer)
  expect(await ask(client)).toBe('peer /x')
  const { url } = await openWeb()
  target = { url, addrs: seller.host.addrs() }
  client.retire()
  expect(await ask(client)).toBe('peer /x')
  expect(dialer.remembered(seller.host.peerId)).toBe('direct')
})

test('what worked last and works no more gives way to what works', async () => {
  const dialer = openDialer()
  const client = openClient(dialer)
  expect(await ask(client)).toBe('peer /x')
  const { url } = await openWeb()
  target = { url, addrs: seller.host.addrs() }
  await seller.host[Symbol.asyncDispose]()
  expect(await ask(client)).toMatch(/^web /)
  expect(dialer.remembered(seller.host.peerId)).toBe('url')
})

test('nothing known of a peer is an error before anything was sent', async () => {
  target = null
  await expect(ask(openClient(openDialer()))).rejects.toMatchObject({
    code: 'seller_unreachable',
    details: { sent: false },
  })
})

describe('a seller that is reached through a relay', () => {
  let relay: RelayHost

  beforeEach(async () => {
    relay = await openRelay()
    parts.use(relay.host)
    seller.host.useRelays([relay.addr])
    await placesAt(seller.host, [relay])
    target = { url: null, addrs: circuitsOf(seller.host) }
  })

  test('answers through it', async () => {
    const client = openClient(openDialer())
    expect(await ask(client)).toBe('peer /x')
    expect(client.path()).toBe('relayed')
  })

  test('notices at once that nobody reads its answer any more', async () => {
    const { body, response } = await beginAnswer()
    const closed = once(response, 'close')
    body.destroy()
    await closed
  })

  test('leaves no answer that could be taken for a whole one when the relay goes', async () => {
    const { body } = await beginAnswer()
    const broken = readBody(body, 1_000).catch((error: unknown) => error)
    const startedMs = performance.now()
    await stopRelay(relay)
    expect(await broken).toMatchObject({ code: 'seller_stream_broken', details: { sent: true } })
    expect(performance.now() - startedMs).toBeLessThan(9_000)
  })

  /** An answer that has begun and goes on. */
  async function beginAnswer(): Promise<{ body: Readable; response: ServerResponse }> {
    const begun = Promise.withResolvers<ServerResponse>()
    seller.server.removeAllListeners('request')
    seller.server.on('request', (_request, response) => {
      response.write('part')
      begun.resolve(response)
    })
    const client = openClient(openDialer({ brief: true }))
    const { body } = await client.request({
      method: 'GET',
      path: '/x',
      signal: AbortSignal.timeout(20_000),
      firstByteTimeoutMs: 10_000,
      idleTimeoutMs: 10_000,
    })
    expect(client.path()).toBe('relayed')
    return { body, response: await begun.promise }
  }

  test('is taken by its URL as soon as that is found to work', async () => {
    const found = Promise.withResolvers<void>()
    // The host seeks no better path, so that the URL is the only one.
    const dialer = openDialer({ lookAgainMs: 50, brief: true })
    const client = openClient(dialer)
    expect(await ask(client)).toBe('peer /x')
    onBetterPath = () => {
      client.retire()
      found.resolve()
    }
    const { url } = await openWeb()
    target = { url, addrs: circuitsOf(seller.host) }
    await found.promise
    expect(await ask(client)).toMatch(/^web /)
    expect(client.path()).toBe('url')
  })

  test('is taken straight as soon as that is found to work, and what runs through the relay ends there', async () => {
    const running = Promise.withResolvers<() => void>()
    let requests = 0
    seller.server.removeAllListeners('request')
    seller.server.on('request', (_request, response) => {
      requests += 1
      if (requests > 1) {
        response.end('another')
        return
      }
      response.write('begun ')
      running.resolve(() => response.end('ended'))
    })
    const dialer = openDialer()
    const client = openClient(dialer)
    const begun = ask(client)
    const finish = await running.promise
    const found = Promise.withResolvers<string>()
    onBetterPath = found.resolve
    // As when a hole was punched: a direct connection comes up beside the relayed one.
    target = { url: null, addrs: seller.host.addrs() }
    client.retire()
    const second = ask(client)
    expect(await found.promise).toBe(seller.host.peerId)
    await second
    client.retire()
    expect(await ask(client)).toBe('another')
    expect(client.path()).toBe('direct')
    finish()
    expect(await begun).toBe('begun ended')
    expect(buyer.pathTo(seller.host.peerId)).toBe('direct')
  })
})
