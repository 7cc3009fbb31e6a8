/** What a hostile peer can do to a host over its own connections: nothing that another peer would notice. */
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Host, PeerSocket } from '../../src/net/p2p/open-host.ts'
import { peerLimits } from '../../src/net/p2p/peer-limits.ts'
import { readBody } from '../../src/net/read-body.ts'
import { freshKey } from '../fixtures/dht-network.ts'
import { openAttacker, yamuxFrame } from '../fixtures/p2p-attacker.ts'
import { clientOver, openPeer, openServingPeer, type ServingPeer } from '../fixtures/p2p-hosts.ts'
import { patient } from '../fixtures/patient.ts'

let seller: ServingPeer
let buyer: Host
let answer: (request: IncomingMessage, response: ServerResponse) => void

beforeAll(async () => {
  seller = await openServingPeer((request, response) => answer(request, response))
  buyer = await openPeer()
})
beforeEach(() => {
  answer = (_request, response) => response.end('ok')
})
afterAll(async () => {
  await buyer[Symbol.asyncDispose]()
  await seller[Symbol.asyncDispose]()
})

const soon = () => ({ signal: AbortSignal.timeout(5_000) })
const target = () => ({ peer: seller.host.peerId, addrs: seller.host.addrs() })
const addr = () => seller.host.addrs()[0]!

async function textOf(socket: PeerSocket): Promise<string> {
  let text = ''
  socket.on('data', (chunk) => (text += String(chunk)))
  await new Promise((resolve) => socket.once('close', resolve))
  return text
}

/** An honest request by somebody new. */
async function expectServed(): Promise<void> {
  await using other = await openPeer()
  await using client = clientOver(other, seller.host)
  const { body } = await client.request({
    method: 'GET',
    path: '/',
    ...soon(),
    firstByteTimeoutMs: 2_000,
    idleTimeoutMs: 2_000,
  })
  expect((await readBody(body, 100)).toString()).toBe('ok')
}

describe('of HTTP', () => {
  const impatient = { headersTimeout: 300, requestTimeout: 300, connectionsCheckingInterval: 100 }

  test('a head that never ends is cut off in time', async () => {
    await using other = await openServingPeer(() => {}, {}, impatient)
    const socket = await buyer.connect({ peer: other.host.peerId, addrs: other.host.addrs() }, soon())
    socket.write('GET / HTTP/1.1\r\n')
    const drip = setInterval(() => socket.write('x: y\r\n'), 20)
    expect(await textOf(socket)).toMatch(/^HTTP\/1.1 408 /)
    clearInterval(drip)
  })

  test('a body that never ends is cut off in time', async () => {
    await using other = await openServingPeer((request) => request.resume(), {}, impatient)
    const socket = await buyer.connect({ peer: other.host.peerId, addrs: other.host.addrs() }, soon())
    socket.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n')
    const drip = setInterval(() => socket.write('x'), 20)
    expect(await textOf(socket)).toMatch(/^HTTP\/1.1 408 /)
    clearInterval(drip)
  })

  test('too large a head is refused', async () => {
    const socket = await buyer.connect(target(), soon())
    socket.write(`GET / HTTP/1.1\r\nhost: x\r\nx: ${'x'.repeat(100_000)}`)
    expect(await textOf(socket)).toMatch(/^HTTP\/1.1 431 /)
  })

  test('what is no HTTP is refused', async () => {
    const socket = await buyer.connect(target(), soon())
    socket.write(Buffer.alloc(1000, 0xff))
    expect(await textOf(socket)).toMatch(/^HTTP\/1.1 400 /)
  })
})

describe('of identity', () => {
  test('an address where another peer answers is never taken', async () => {
    const wrong = freshKey().peerId
    const named = seller.host.addrs().map((each) => each.replace(seller.host.peerId, wrong))
    const unnamed = seller.host.addrs().map((each) => each.replace(/\/p2p\/.*/, ''))
    for (const addrs of [seller.host.addrs(), named, unnamed]) {
      await expect(buyer.connect({ peer: wrong, addrs }, soon())).rejects.toMatchObject({
        code: 'seller_unreachable',
      })
      expect(buyer.pathTo(wrong)).toBeNull()
    }
  })

  test('an address in a private network is not dialled by who does not allow it', async () => {
    await using careful = await openPeer({ allowPrivate: false })
    const named = addr().replace('/ip4/127.0.0.1', '/dns4/localhost')
    const before = seller.streams()
    for (const addrs of [[addr()], [named], ['/ip4/10.0.0.1/tcp/1']]) {
      await expect(careful.connect({ peer: seller.host.peerId, addrs }, soon())).rejects.toMatchObject({
        code: 'seller_unreachable',
        message: expect.stringContaining('may be dialled'),
      })
    }
    expect(seller.streams()).toBe(before)
  })

  test('a peer that does not serve HTTP says so at once', async () => {
    await using silent = await openPeer({ listen: ['/ip4/127.0.0.1/tcp/0'] })
    const startedMs = performance.now()
    const asked = buyer.connect({ peer: silent.peerId, addrs: silent.addrs() }, soon())
    await expect(asked).rejects.toMatchObject({ code: 'seller_unreachable' })
    expect(performance.now() - startedMs).toBeLessThan(4_000)
  })
})

describe('of streams', () => {
  test('a peer has only so many open at once, and gets new ones for those it closes', async () => {
    await using greedy = await openPeer()
    const open: PeerSocket[] = []
    for (let at = 0; at < 1_000; at += 100)
      open.push(...(await Promise.all(Array.from({ length: 100 }, () => greedy.connect(target(), soon())))))
    await expect(greedy.connect(target(), soon())).rejects.toMatchObject({ code: 'seller_unreachable' })
    await expectServed()
    for (const socket of open) socket.destroy()
    await vi.waitFor(async () => expect(await roundTrip(await connectOrNull(greedy))).toBe(true), patient)
  })

  test('only so many may hold what nobody reads; the next one is cut', async () => {
    answer = () => {}
    const held: PeerSocket[] = []
    let cut = 0
    await using flooding = await openPeer()
    for (let at = 0; at < peerLimits.unreadStreams + 8; at += 1) {
      const socket = await flooding.connect(target(), soon())
      socket.once('close', () => (cut += 1))
      socket.write('POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n')
      socket.write(Buffer.alloc(500_000))
      held.push(socket)
    }
    await vi.waitFor(() => expect(cut).toBeGreaterThanOrEqual(8), patient)
    answer = (_request, response) => response.end('ok')
    await expectServed()
    for (const socket of held) socket.destroy()
  })

  test('a hundred thousand garbage streams cost the peer its connection, and others nothing', async () => {
    await using attacker = await openAttacker()
    const before = process.memoryUsage().rss
    let sent = 0
    let cut = 0
    while (sent < 100_000) {
      // Null when there were too many from one address in a second.
      const connection = await attacker.connect(addr()).catch(() => null)
      if (connection === null) continue
      connection.addEventListener('close', () => (cut += 1))
      // Many to a write, and in one turn as many as the network takes: what is measured is the host, not the attacker.
      for (let stream = 10_001; attacker.sendRaw(connection, garbageStreams(stream, 100)); stream += 200) {
        sent += 100
        if (sent % 4_000 === 0) await nextTurn()
      }
    }
    expect(cut).toBeGreaterThan(5)
    await expectServed()
    expect(process.memoryUsage().rss - before).toBeLessThan(300 * 1024 * 1024)
  })

  test('a frame that promises four gigabytes ends the connection long before', async () => {
    await using attacker = await openAttacker()
    const connection = await attacker.connect(addr())
    const closed = once(connection, 'close')
    attacker.sendRaw(connection, yamuxFrame('window', 'open', 10_001, 0))
    attacker.sendRaw(connection, yamuxFrame('data', null, 10_001, 0xff_ff_ff_ff))
    let sent = 0
    const flood = setInterval(() => {
      for (let at = 0; at < 16 && connection.status === 'open'; at += 1, sent += 65_536)
        attacker.sendRaw(connection, Buffer.alloc(65_536))
    }, 1)
    await closed
    clearInterval(flood)
    expect(sent).toBeLessThan(64 * 1024 * 1024)
    await expectServed()
  })

  test('data beyond the window ends the connection', async () => {
    await using attacker = await openAttacker()
    const connection = await attacker.connect(addr())
    const closed = once(connection, 'close')
    attacker.sendRaw(connection, yamuxFrame('window', 'open', 10_001, 0))
    const frame = Buffer.concat([yamuxFrame('data', null, 10_001, 300_000), Buffer.alloc(300_000)])
    attacker.sendRaw(connection, frame)
    await closed
    await expectServed()
  })
})

test('a peer has only so many connections', async () => {
  await using attacker = await openAttacker()
  let open = 0
  for (let at = 0; at < peerLimits.connections + 3; at += 1) {
    const connection = await attacker.connect(addr()).catch(() => null)
    if (connection === null) continue
    open += 1
    connection.addEventListener('close', () => (open -= 1))
  }
  await vi.waitFor(() => expect(open).toBeLessThanOrEqual(peerLimits.connections), patient)
  expect(open).toBeGreaterThan(0)
})

function garbageStreams(first: number, count: number): Buffer {
  const garbage = Buffer.from('\x13/multistream/1.0.0\n\x05/rot\n')
  const streams = Array.from({ length: count }, (_, at) => first + 2 * at)
  return Buffer.concat(
    streams.flatMap((stream) => [
      yamuxFrame('window', 'open', stream, 0),
      yamuxFrame('data', null, stream, garbage.length),
      garbage,
    ]),
  )
}

async function connectOrNull(host: Host): Promise<PeerSocket | null> {
  return await host.connect(target(), soon()).catch(() => null)
}

/** True when the other side answers on it. */
async function roundTrip(socket: PeerSocket | null): Promise<boolean> {
  if (socket === null) return false
  socket.write('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
  return /^HTTP\/1.1 200/.test(await textOf(socket))
}
