import { once } from 'node:events'
import {
  createServer,
  type IncomingMessage,
  type RequestListener,
  type Server,
  type ServerResponse,
} from 'node:http'
import { createServer as createTcpServer, type AddressInfo, type Server as TcpServer } from 'node:net'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { OpenSeedError } from '../base/errors.ts'
import { readBody } from './read-body.ts'
import {
  normaliseSellerUrl,
  openSellerClient,
  type SellerClient,
  type SellerRequest,
} from './seller-client.ts'
import { patient } from '../../test/fixtures/patient.ts'

const opened: { close: () => unknown }[] = []
afterEach(async () => {
  for (const part of opened.splice(0).toReversed()) await part.close()
})

async function listen<T extends Server | TcpServer>(server: T): Promise<{ server: T; port: number }> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  opened.push({
    close: () => {
      if ('closeAllConnections' in server) server.closeAllConnections()
      server.close()
    },
  })
  return { server, port: (server.address() as AddressInfo).port }
}

async function clientFor(
  listener: RequestListener,
  path = '',
): Promise<{ client: SellerClient; server: Server }> {
  const { server, port } = await listen(createServer(listener))
  return { client: open(`http://127.0.0.1:${port}${path}`), server }
}

function open(url: string, connectTimeoutMs = 1000): SellerClient {
  const client = openSellerClient({ url, connectTimeoutMs })
  opened.push(client)
  return client
}

const get = (over: Partial<SellerRequest> = {}): SellerRequest => ({
  method: 'GET',
  path: '/x',
  signal: new AbortController().signal,
  firstByteTimeoutMs: 5000,
  idleTimeoutMs: 5000,
  ...over,
})

async function failureOf(work: Promise<unknown>): Promise<OpenSeedError> {
  const thrown: unknown = await work.then(
    () => undefined,
    (error: unknown) => error,
  )
  expect(thrown).toBeInstanceOf(OpenSeedError)
  return thrown as OpenSeedError
}

const text = async (client: SellerClient, request = get()) =>
  (await readBody((await client.request(request)).body, 1e6)).toString()

describe('an answered request', () => {
  test('carries method, path below the base, headers and body bytes as given', async () => {
    const { client } = await clientFor((req, res) => {
      const chunks: Buffer[] = []
      req.on('data', (chunk: Buffer) => chunks.push(chunk))
      req.on('end', () => {
        res.setHeader('x-two', ['a', 'b'])
        res.end(
          `${req.method} ${req.url} ${String(req.headers['x-one'])} ${Buffer.concat(chunks).toString('hex')}`,
        )
      })
    }, '/base/')
    const body = Buffer.from([0, 255, 10])
    const reply = await client.request(get({ method: 'POST', headers: { 'x-one': '1' }, body }))
    expect(reply.status).toBe(200)
    expect(reply.headers['x-two']).toBe('a, b')
    expect((await readBody(reply.body, 1000)).toString()).toBe('POST /base/x 1 00ff0a')
  })

  test('reuses connections when requests follow each other', async () => {
    const { client } = await clientFor((req, res) => res.end(String(req.socket.remotePort)))
    const ports = new Set<string>()
    for (let i = 0; i < 10; i++) ports.add(await text(client))
    // Two and not one: a connection rests for one turn of the event loop before it is used again.
    expect(ports.size).toBeLessThanOrEqual(2)
  })

  test('runs beside others: a slow one does not hold back the next', async () => {
    const held: ServerResponse[] = []
    const { client } = await clientFor((req, res) =>
      req.url === '/slow' ? held.push(res) : res.end('quick'),
    )
    const slow = text(client, get({ path: '/slow' }))
    expect(await text(client)).toBe('quick')
    held[0]?.end('slow')
    expect(await slow).toBe('slow')
  })

  test('is a redirect when the seller redirects: nothing follows it', async () => {
    const seen: (string | undefined)[] = []
    const { client } = await clientFor((req, res) => {
      seen.push(req.url)
      res.writeHead(307, { location: '/elsewhere' }).end()
    })
    const reply = await client.request(get())
    await readBody(reply.body, 1000)
    expect(reply.status).toBe(307)
    expect(seen).toEqual(['/x'])
  })

  test('is read no faster than its reader asks', async () => {
    let sent = 0
    const total = 64 * 1024 * 1024
    const { client } = await clientFor((_req, res) => {
      const block = Buffer.alloc(64 * 1024)
      const fill = () => {
        let room = true
        while (room && sent < total) {
          sent += block.length
          room = res.write(block)
        }
        if (room) res.end()
        else res.once('drain', fill)
      }
      fill()
    })
    // The idle deadline must not fire while it is the reader that waits.
    const reply = await client.request(get({ idleTimeoutMs: 500 }))
    const reader = reply.body[Symbol.asyncIterator]() as AsyncIterator<Buffer>
    await reader.next()
    let seen = -1
    let stillFor = 0
    await vi.waitUntil(() => {
      stillFor = seen === sent ? stillFor + 1 : 0
      seen = sent
      return stillFor === 30
    }, patient)
    expect(sent).toBeLessThan(total / 2)
    let received = 0
    for (let next = await reader.next(); !next.done; next = await reader.next()) received += next.value.length
    expect(received).toBeGreaterThan(total / 2)
  })

  test('is cut off when it is longer than the reader allows', async () => {
    const { client } = await clientFor((_req, res) => res.end('x'.repeat(100)))
    const reply = await client.request(get())
    expect((await failureOf(readBody(reply.body, 99))).code).toBe('seller_failed')
    expect(reply.body.destroyed).toBe(true)
  })
})

describe('a failure is typed and says whether the request was sent', () => {
  test('nobody listens', async () => {
    const { server, port } = await listen(createTcpServer())
    server.close()
    const error = await failureOf(open(`http://127.0.0.1:${port}`).request(get()))
    expect(error.code).toBe('seller_unreachable')
    expect(error.message).toContain('ECONNREFUSED')
    expect(error.details).toMatchObject({ sent: false })
  })

  test('the connection is never completed', async () => {
    const { port } = await listen(createTcpServer())
    const error = await failureOf(open(`https://127.0.0.1:${port}`, 30).request(get()))
    expect(error.code).toBe('seller_unreachable')
    expect(error.details).toMatchObject({ sent: false })
  })

  test('no first byte comes', async () => {
    const { client } = await clientFor(() => {})
    const error = await failureOf(client.request(get({ firstByteTimeoutMs: 30 })))
    expect(error.code).toBe('seller_timeout')
    expect(error.details).toMatchObject({ sent: true })
  })

  test('the body comes steadily and never ends', async () => {
    let drip: NodeJS.Timeout | undefined
    const { client } = await clientFor((_req, res) => (drip = setInterval(() => res.write(' '), 5)))
    const reply = await client.request(get({ idleTimeoutMs: 1000 }))
    expect((await failureOf(readBody(reply.body, 1e6, 50))).code).toBe('seller_timeout')
    clearInterval(drip)
  })

  test('the body falls silent', async () => {
    const { client } = await clientFor((_req, res) => res.write('part'))
    const reply = await client.request(get({ idleTimeoutMs: 30 }))
    expect((await failureOf(readBody(reply.body, 1000))).code).toBe('seller_timeout')
  })

  test('the connection is dropped before an answer', async () => {
    const { client } = await clientFor((req) => req.socket.destroy())
    const error = await failureOf(client.request(get()))
    expect(error.code).toBe('seller_unreachable')
    expect(error.details).toMatchObject({ sent: true })
  })

  test.each(['transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n', 'content-length: 10\r\n\r\nhello'])(
    'the body is truncated (%j)',
    async (rest) => {
      const { port } = await listen(createTcpServer((socket) => socket.end(`HTTP/1.1 200 OK\r\n${rest}`)))
      const reply = await open(`http://127.0.0.1:${port}`).request(get())
      expect((await failureOf(readBody(reply.body, 1000))).code).toBe('seller_stream_broken')
    },
  )

  test('the response headers are over 32 KiB', async () => {
    const { client } = await clientFor((_req, res) =>
      res.writeHead(200, { 'x-big': 'x'.repeat(33 * 1024) }).end(),
    )
    expect((await failureOf(client.request(get()))).code).toBe('seller_failed')
  })

  test('the other side does not speak HTTP', async () => {
    const { port } = await listen(createTcpServer((socket) => socket.end('220 mail ready\r\n')))
    expect((await failureOf(open(`http://127.0.0.1:${port}`).request(get()))).code).toBe('seller_failed')
  })

  test('the client is closed meanwhile', async () => {
    const { client } = await clientFor(() => {})
    const pending = failureOf(client.request(get()))
    await client.close()
    expect((await pending).code).toBe('seller_unreachable')
  })
})

describe('an abort', () => {
  const gone = new OpenSeedError('request_aborted', { message: 'gone' })

  test('before the first byte closes the socket at once', async () => {
    const arrived = Promise.withResolvers<IncomingMessage>()
    const { client } = await clientFor((req) => arrived.resolve(req))
    const controller = new AbortController()
    const failure = failureOf(client.request(get({ signal: controller.signal })))
    const closed = once((await arrived.promise).socket, 'close')
    controller.abort(gone)
    expect(await failure).toBe(gone)
    await closed
  })

  test('in the body closes the socket and fails the reader', async () => {
    const arrived = Promise.withResolvers<IncomingMessage>()
    const { client } = await clientFor((req, res) => {
      res.write('part')
      arrived.resolve(req)
    })
    const controller = new AbortController()
    const reply = await client.request(get({ signal: controller.signal }))
    const closed = once((await arrived.promise).socket, 'close')
    controller.abort(gone)
    expect(await failureOf(readBody(reply.body, 1000))).toBe(gone)
    await closed
  })

  test('by destroying the body closes the socket', async () => {
    const arrived = Promise.withResolvers<IncomingMessage>()
    const { client } = await clientFor((req, res) => {
      res.write('part')
      arrived.resolve(req)
    })
    const reply = await client.request(get())
    const closed = once((await arrived.promise).socket, 'close')
    reply.body.destroy()
    await expect(closed).resolves.toBeDefined()
  })

  test('before the request was made sends nothing', async () => {
    let asked = 0
    const { client } = await clientFor((_req, res) => {
      asked += 1
      res.end()
    })
    expect(await failureOf(client.request(get({ signal: AbortSignal.abort(gone) })))).toBe(gone)
    await text(client)
    expect(asked).toBe(1)
  })

  test('while connecting rejects at once and sends nothing later', async () => {
    const { port } = await listen(createTcpServer())
    const controller = new AbortController()
    const failure = failureOf(open(`https://127.0.0.1:${port}`).request(get({ signal: controller.signal })))
    controller.abort('whatever')
    expect((await failure).code).toBe('request_aborted')
  })
})

test('a seller is named by one spelling of its URL', () => {
  expect(normaliseSellerUrl('HTTP://Example.com:80/a/?q#f')).toBe('http://example.com/a')
  expect(normaliseSellerUrl('https://example.com/')).toBe('https://example.com')
})

test.each(['', 'example.com', 'ftp://example.com', 'http://me:secret@example.com', 'javascript:1'])(
  '%j is refused as a seller',
  (input) => {
    expect(() => normaliseSellerUrl(input)).toThrow(expect.objectContaining({ code: 'config_invalid' }))
  },
)
