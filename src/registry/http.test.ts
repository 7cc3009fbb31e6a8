import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { expect, test, vi } from 'vitest'
import { silentLog } from '../base/log.ts'
import { openRegistryServer, type RegistryServer, type RegistryServerOptions } from './http.ts'
import { RateLimit } from './rate-limit.ts'
import type { Reply, Route } from './routes.ts'
import { patient } from '../../test/fixtures/patient.ts'

const page: Reply = { status: 200, text: 'x'.repeat(1_048_576) }

function startServer(more: Partial<RegistryServerOptions> = {}): Promise<RegistryServer> {
  return openRegistryServer({
    host: '127.0.0.1',
    port: 0,
    routes: {
      fixed: new Map<string, Route>([
        ['GET /page', () => page],
        ['POST /body', async ({ readJson }) => ({ status: 200, text: String(await readJson(1_048_576)) })],
      ]),
      seller: () => page,
    },
    rateLimit: new RateLimit({ perSec: 1_000, burst: 100_000, now: Date.now }),
    trustForwarded: false,
    log: silentLog,
    ...more,
  })
}

/** Asks many times over and reads nothing. */
function askOnly({ port }: RegistryServer, times: number): Socket {
  const socket = connect(port, '127.0.0.1').pause()
  socket.on('error', () => undefined)
  socket.write('GET /page HTTP/1.1\r\nhost: x\r\n\r\n'.repeat(times))
  return socket
}

const statusOf = async ({ url }: RegistryServer, headers: Record<string, string> = {}) => {
  const reply = await fetch(`${url}/page`, { headers: { connection: 'close', ...headers } })
  await reply.arrayBuffer()
  return reply.status
}

test('who asks and does not read is not answered further, until it reads or goes', async () => {
  await using server = await startServer({ trustForwarded: true })
  const sockets = Array.from({ length: 10 }, () => askOnly(server, 10))
  const other = { 'x-forwarded-for': '192.0.2.7' }
  try {
    await vi.waitUntil(async () => (await statusOf(server)) === 429, patient)
    expect(await statusOf(server, other)).toBe(200)
  } finally {
    for (const socket of sockets) socket.destroy()
  }
  await vi.waitUntil(async () => (await statusOf(server)) === 200, patient)
})

test('a connection on which nothing moves is closed, also while an answer waits to be read', async () => {
  await using server = await startServer({ stillMs: 200 })
  const socket = askOnly(server, 20)
  let got = 0
  await once(socket, 'connect')
  // On a busy machine the questions themselves may lie still for so long.
  const status = () => statusOf(server).catch(() => null)
  await vi.waitUntil(async () => (await status()) === 429, patient)
  await vi.waitUntil(async () => (await status()) === 200, patient)
  socket.on('data', (chunk) => (got += chunk.length)).resume()
  await once(socket, 'close')
  expect(got).toBeLessThan(20 * page.text.length)
})

test('a client that never comes to the end of its question is given up in seconds', async () => {
  await using server = await startServer()
  const socket = connect(server.port, '127.0.0.1')
  socket.write('GET /page HTTP/1.1\r\n')
  const openedMs = performance.now()
  await once(socket.resume(), 'close')
  expect(performance.now() - openedMs).toBeLessThan(12_000)
}, 60_000)

test('a large body costs more than a request, before it is read, and whether or not it is any good', async () => {
  const now = () => 1_900_000_000_000
  await using server = await startServer({ rateLimit: new RateLimit({ perSec: 1, burst: 20, now }) })
  const post = (body: string) => fetch(`${server.url}/body`, { method: 'POST', body })
  const small = await post('1')
  expect([small.status, small.headers.get('ratelimit-remaining')]).toEqual([200, '19'])
  const bad = '['.repeat(1_000_000)
  const statuses = await Promise.all([1, 2, 3, 4].map(async () => (await post(bad)).status))
  expect(statuses.toSorted((a, b) => a - b)).toEqual([400, 429, 429, 429])
  const refused = await post('1')
  expect([refused.status, refused.headers.get('retry-after')]).toEqual([429, '13'])
})
