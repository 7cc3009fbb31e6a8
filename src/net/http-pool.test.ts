import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { openHttpPool, type HttpPool } from './http-pool.ts'

/** A pool of one connection to a server that answers as it likes, and how often it was connected to. */
async function against(
  answer: RequestListener,
  use: (pool: HttpPool, server: { port: number; sockets: Socket[] }) => Promise<void>,
): Promise<void> {
  const sockets: Socket[] = []
  const server = createServer(answer).listen(0, '127.0.0.1')
  server.on('connection', (socket) => sockets.push(socket))
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await using pool = openHttpPool(`http://127.0.0.1:${port}`, { connections: 1, maxHeaderBytes: 4_096 })
  try {
    await use(pool, { port, sockets })
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

const signal = AbortSignal.timeout(10_000)

async function read(pool: HttpPool, path = '/'): Promise<string> {
  let text = ''
  for await (const chunk of await pool.ask({ method: 'GET', path, signal })) text += String(chunk)
  return text
}

test('one connection serves one question after the other', async () => {
  await against(
    (request, response) => response.end(request.url),
    async (pool, { sockets }) => {
      expect(await read(pool, '/a')).toBe('/a')
      expect(await read(pool, '/b')).toBe('/b')
      expect(sockets).toHaveLength(1)
    },
  )
})

test('a connection that was closed while it was idle is made anew', async () => {
  await against(
    (_, response) => response.end('here'),
    async (pool, { sockets }) => {
      await read(pool)
      const closed = once(sockets[0]!, 'close')
      sockets[0]!.resetAndDestroy()
      await closed
      expect(await read(pool)).toBe('here')
      expect(sockets).toHaveLength(2)
    },
  )
})

test('the signal ends a question whose answer has begun', async () => {
  const stop = new AbortController()
  await against(
    (_, response) => void response.write('some'),
    async (pool) => {
      const answer = await pool.ask({ method: 'GET', path: '/', signal: stop.signal })
      const reading = answer.toArray()
      stop.abort()
      await expect(reading).rejects.toThrow()
    },
  )
})

test('a head without end is refused', async () => {
  await against(
    (_, response) => response.setHeader('x-long', 'x'.repeat(8_000)).end(),
    async (pool) => {
      await expect(read(pool)).rejects.toMatchObject({ code: 'HPE_HEADER_OVERFLOW' })
    },
  )
})

test('nothing is asked of a pool that is closed', async () => {
  await against(
    (_, response) => response.end(),
    async (pool, { sockets }) => {
      await pool.close()
      await expect(read(pool)).rejects.toThrow('closed')
      expect(sockets).toHaveLength(0)
    },
  )
})

test('connections can be given to it', async () => {
  await against(
    (request, response) => response.end(request.headers.host),
    async (_, { port }) => {
      await using pool = openHttpPool('http://peer.openseed', {
        connections: 1,
        maxHeaderBytes: 4_096,
        connect: async () => connect(port, '127.0.0.1'),
      })
      expect(await read(pool)).toBe('peer.openseed')
      expect(await read(pool)).toBe('peer.openseed')
      await using lost = openHttpPool('http://peer.openseed', {
        connections: 1,
        maxHeaderBytes: 4_096,
        connect: () => Promise.reject(new Error('nobody is there')),
      })
      await expect(read(lost)).rejects.toThrow('nobody is there')
    },
  )
})
