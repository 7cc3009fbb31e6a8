/** The seller's own server behind a host: the same routes and limits, and an orderly end. */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentLog } from '../../src/base/log.ts'
import type { SellerClient, SellerRequest } from '../../src/net/seller-client.ts'
import type { Host } from '../../src/net/p2p/open-host.ts'
import { readBody } from '../../src/net/read-body.ts'
import { openSellerServer, type SellerServer } from '../../src/seller/http.ts'
import { clientOver, loopback, openPeer } from '../fixtures/p2p-hosts.ts'

let parts: AsyncDisposableStack
let server: SellerServer
let host: Host
let client: SellerClient
let begun: PromiseWithResolvers<ServerResponse>

beforeEach(async () => {
  parts = new AsyncDisposableStack()
  begun = Promise.withResolvers()
  server = parts.use(
    await openSellerServer({
      host: '127.0.0.1',
      port: 0,
      maxBodyBytes: 1_000,
      log: silentLog,
      routes: {
        async chat(_call, response) {
          response.writeHead(200, { 'content-type': 'text/event-stream' })
          response.write('begun ')
          begun.resolve(response)
          await once(response, 'close')
        },
        async probe() {},
        models: () => ({ data: [] }),
        offer: () => ({}),
        catalog: () => '{}',
        status: async () => ({}),
        record: async () => null,
        pairTower: async () => ({}),
        towerUpdates: async () => ({}),
      },
    }),
  )
  host = parts.use(await openPeer({ listen: [loopback], onConnection: (socket) => server.accept(socket) }))
  const buyer = parts.use(await openPeer())
  client = clientOver(buyer, host)
  parts.defer(() => client.close())
})
afterEach(() => parts.disposeAsync())

const ask = (over: Partial<SellerRequest>) =>
  client.request({
    method: 'GET',
    path: '/healthz',
    signal: AbortSignal.timeout(20_000),
    firstByteTimeoutMs: 10_000,
    idleTimeoutMs: 10_000,
    ...over,
  })
const chat = () =>
  ask({
    method: 'POST',
    path: '/v1/chat/completions',
    body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'hello' }] }),
  })

test('a peer gets what a connection to the port gets', async () => {
  const { status, body } = await ask({})
  expect(status).toBe(200)
  expect(JSON.parse((await readBody(body, 1_000)).toString())).toEqual({ status: 'ok' })
  const large = await ask({ method: 'POST', path: '/v1/chat/completions', body: 'x'.repeat(2_000) })
  expect(large.status).toBe(413)
})

test('a seller that stops lets a peer finish, and then takes none', async () => {
  const { body } = await chat()
  const response = await begun.promise
  const closed = server.close(10_000)
  response.end('ended')
  expect((await readBody(body, 1_000)).toString()).toBe('begun ended')
  await closed
  await expect(ask({})).rejects.toMatchObject({ code: 'seller_unreachable' })
})

test('a peer that does not finish in time is cut off', async () => {
  const { body } = await chat()
  const startedMs = performance.now()
  const broken = readBody(body, 1_000).catch((error: unknown) => error)
  await begun.promise
  await server.close(100)
  expect(await broken).toMatchObject({ code: 'seller_stream_broken' })
  expect(performance.now() - startedMs).toBeLessThan(8_000)
})

test('idle connections do not keep a seller from stopping', async () => {
  const { body } = await ask({})
  await readBody(body, 1_000)
  const startedMs = performance.now()
  await server.close(10_000)
  expect(performance.now() - startedMs).toBeLessThan(8_000)
})
