/** HTTP over libp2p streams behaves like HTTP over TCP: answers, reuse, cancellation, truncation, back-pressure. */
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { OpenSeedError } from '../../src/base/errors.ts'
import { readBody } from '../../src/net/read-body.ts'
import type { SellerClient, SellerRequest } from '../../src/net/seller-client.ts'
import type { Host, PeerSocket } from '../../src/net/p2p/open-host.ts'
import { clientOver, openPeer, openServingPeer, type ServingPeer } from '../fixtures/p2p-hosts.ts'
import { patient } from '../fixtures/patient.ts'

type Answer = (request: IncomingMessage, response: ServerResponse) => void

let seller: ServingPeer
let buyer: Host
let client: SellerClient
let answer: Answer

beforeAll(async () => {
  seller = await openServingPeer((request, response) => answer(request, response))
  buyer = await openPeer()
  client = clientOver(buyer, seller.host)
})
afterAll(async () => {
  await client.close()
  await buyer[Symbol.asyncDispose]()
  await seller[Symbol.asyncDispose]()
})

const get = (over: Partial<SellerRequest> = {}): SellerRequest => ({
  method: 'GET',
  path: '/x',
  signal: new AbortController().signal,
  firstByteTimeoutMs: 5_000,
  idleTimeoutMs: 5_000,
  ...over,
})

async function textOf(request: SellerRequest): Promise<string> {
  const { body } = await client.request(request)
  return (await readBody(body, 64 * 1024 * 1024)).toString()
}

async function failureOf(work: Promise<unknown>): Promise<OpenSeedError> {
  const thrown: unknown = await work.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(thrown).toBeInstanceOf(Error)
  return thrown as OpenSeedError
}

const connect = () =>
  buyer.connect(
    { peer: seller.host.peerId, addrs: seller.host.addrs() },
    { signal: AbortSignal.timeout(5_000) },
  )

test('a request is answered, and the seller knows which peer asked', async () => {
  answer = (request, response) => {
    const { remotePeer, path } = request.socket as unknown as PeerSocket
    response.end(JSON.stringify([request.headers.host, remotePeer, path]))
  }
  expect(JSON.parse(await textOf(get()))).toEqual([`${seller.host.peerId}.openseed`, buyer.peerId, 'direct'])
  expect(client.path()).toBe('direct')
  expect(buyer.pathTo(seller.host.peerId)).toBe('direct')
})

test('requests one after another share a stream', async () => {
  answer = (_request, response) => response.end('ok')
  await textOf(get())
  const before = seller.streams()
  for (let at = 0; at < 20; at += 1) expect(await textOf(get())).toBe('ok')
  expect(seller.streams()).toBe(before)
})

test('a body of many megabytes arrives as it was sent, both ways', async () => {
  answer = (request, response) => request.pipe(response)
  const body = Buffer.alloc(20 * 1024 * 1024, 'abcdefgh')
  const reply = await client.request(get({ method: 'POST', body }))
  expect((await readBody(reply.body, body.length)).equals(body)).toBe(true)
})

test('a retired connection ends its request and takes no other', async () => {
  answer = (request, response) => {
    response.write('first ')
    if (request.url === '/slow') onSlow = () => response.end('last')
    else response.end()
  }
  let onSlow = () => {}
  const { body } = await client.request(get({ path: '/slow' }))
  const before = seller.streams()
  client.retire()
  await textOf(get())
  expect(seller.streams()).toBe(before + 1)
  onSlow()
  expect((await readBody(body, 100)).toString()).toBe('first last')
})

describe('a cancellation is seen by the other side', () => {
  test('when the buyer stops reading an answer', async () => {
    const begun = Promise.withResolvers<ServerResponse>()
    answer = (_request, response) => {
      response.write('part')
      begun.resolve(response)
    }
    const reply = await client.request(get())
    const closed = once(await begun.promise, 'close')
    reply.body.destroy()
    await closed
  })

  test('when the buyer calls the request off before there is an answer', async () => {
    const begun = Promise.withResolvers<ServerResponse>()
    answer = (_request, response) => begun.resolve(response)
    const controller = new AbortController()
    const failure = failureOf(client.request(get({ signal: controller.signal })))
    const closed = once(await begun.promise, 'close')
    controller.abort()
    await closed
    expect((await failure).code).toBe('request_aborted')
  })

  test('when the seller breaks off', async () => {
    const begun = Promise.withResolvers<ServerResponse>()
    answer = (_request, response) => {
      response.write('part')
      begun.resolve(response)
    }
    const reply = await client.request(get())
    const response = await begun.promise
    response.destroy()
    expect((await failureOf(readBody(reply.body, 100))).code).toBe('seller_stream_broken')
  })
})

describe('an answer that is cut short is never taken for a whole one', () => {
  const cuts: [string, (response: ServerResponse) => void][] = [
    ['the seller resets the stream', ({ socket }) => socket?.destroy()],
    ['the seller ends the stream in the middle of a chunked body', ({ socket }) => socket?.end()],
  ]
  test.each(cuts)('%s', async (_name, cutOff) => {
    answer = (_request, response) => {
      response.write('part')
      setImmediate(() => cutOff(response))
    }
    const reply = await client.request(get())
    expect((await failureOf(readBody(reply.body, 100))).code).toBe('seller_stream_broken')
  })

  test('the body is shorter than its length', async () => {
    answer = (_request, response) => {
      response.writeHead(200, { 'content-length': 10 })
      response.write('short')
      setImmediate(() => response.socket?.end())
    }
    const reply = await client.request(get())
    expect((await failureOf(readBody(reply.body, 100))).code).toBe('seller_stream_broken')
  })

  test('the whole connection goes', async () => {
    answer = (_request, response) => response.write('part')
    await using other = await openPeer()
    await using its = clientOver(other, seller.host)
    const reply = await its.request(get())
    const failure = failureOf(readBody(reply.body, 100))
    await other[Symbol.asyncDispose]()
    expect((await failure).code).toBe('seller_stream_broken')
  })
})

describe('who reads slowly holds the other side back', () => {
  const block = Buffer.alloc(64 * 1024)
  const total = 64 * 1024 * 1024
  const bound = 4 * 1024 * 1024

  async function standsStill(count: () => number): Promise<number> {
    let seen = -1
    let stillFor = 0
    await vi.waitUntil(() => {
      stillFor = seen === count() ? stillFor + 1 : 0
      seen = count()
      return stillFor === 30
    }, patient)
    return seen
  }

  test('in the answer', async () => {
    let sent = 0
    answer = (_request, response) => {
      const fill = () => {
        while (sent < total) {
          sent += block.length
          if (!response.write(block)) {
            response.once('drain', fill)
            return
          }
        }
        response.end()
      }
      fill()
    }
    const { body } = await client.request(get({ idleTimeoutMs: 500 }))
    await once(body, 'readable')
    expect(await standsStill(() => sent)).toBeLessThan(bound)
    let received = 0
    for await (const chunk of body) received += (chunk as Buffer).length
    expect(received).toBe(total)
  })

  test('in the request', async () => {
    let request!: IncomingMessage
    const begun = Promise.withResolvers<void>()
    answer = (incoming) => {
      request = incoming
      begun.resolve()
    }
    const socket = await connect()
    socket.write(`POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: ${total}\r\n\r\n`)
    await begun.promise
    let sent = 0
    const fill = () => {
      while (sent < total) {
        sent += block.length
        if (!socket.write(block)) {
          socket.once('drain', fill)
          return
        }
      }
    }
    fill()
    expect(await standsStill(() => sent)).toBeLessThan(bound)
    let received = 0
    for await (const chunk of request) received += (chunk as Buffer).length
    expect(received).toBe(total)
    socket.destroy()
  })
})

test('a stream that is closed by one side after the other leaves nothing behind', async () => {
  answer = (_request, response) => response.writeHead(200, { connection: 'close' }).end('bye')
  for (let at = 0; at < 30; at += 1) expect(await textOf(get())).toBe('bye')
  const socket = await connect()
  const closed = once(socket, 'close')
  socket.end('GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
  socket.resume()
  await closed
  await nextTurn()
  expect(socket.errored).toBeNull()
})
