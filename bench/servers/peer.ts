/** A host of the peer-to-peer network: `relay`, or `seller` with the relay's address, which also serves plain HTTP. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { openHost } from '../../src/net/p2p/open-host.ts'
import { nodeKeyOf } from '../../src/wire/node-key.ts'

const [role, relay] = process.argv.slice(2)
const unlimited = 2 ** 40
const startMs = 10_000
const answerBytes = 400
const blockBytes = 64 * 1024

const server = createServer({ keepAliveTimeout: 65_000 }, (request, response) => {
  answer(request, response).catch((error: Error) => response.destroy(error))
})
const host = await openHost({
  key: nodeKeyOf(Buffer.alloc(32, role === 'relay' ? 1 : 2)),
  listen: ['/ip4/127.0.0.1/tcp/0'],
  bootstrap: [],
  server: role === 'relay',
  allowPrivate: true,
  ...(role === 'relay'
    ? {
        relay: {
          mayReserve: () => true,
          limits: { bytes: unlimited, bytesPerSec: unlimited, circuitsPerPair: 64, circuitsPerBuyer: 64 },
        },
      }
    : { onConnection: (socket) => server.emit('connection', socket) }),
})
if (relay !== undefined) {
  host.useRelays([relay])
  const late = AbortSignal.timeout(startMs)
  while (!isHeld()) {
    late.throwIfAborted()
    await sleep(20)
  }
}

function isHeld(): boolean {
  return host.reachability().relays.length > 0
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://bench')
  const count = Number(searchParams.get('count'))
  request.resume()
  switch (pathname) {
    case '/peer':
      response.end(JSON.stringify({ peer: host.peerId, addrs: host.addrs() }))
      return
    case '/events':
      return sendEvents(response, count, Number(searchParams.get('everyMs')))
    case '/bytes':
      return sendBytes(response, count)
    default:
      await once(request, 'end')
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': answerBytes })
      response.end('x'.repeat(answerBytes))
  }
}

/** Each with the moment at which it was written, by the clock that all processes of a machine share. */
async function sendEvents(response: ServerResponse, count: number, everyMs: number): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  const padding = 'x'.repeat(80)
  for (let at = 0; at < count && !response.destroyed; at += 1) {
    await sleep(everyMs)
    response.write(`data: ${process.hrtime.bigint()} ${padding}\n\n`)
  }
  response.end()
}

async function sendBytes(response: ServerResponse, count: number): Promise<void> {
  const block = Buffer.alloc(blockBytes)
  response.writeHead(200)
  for (let sent = 0; sent < count && !response.destroyed; sent += block.length)
    if (!response.write(block)) await once(response, 'drain')
  response.end()
}

server.listen(0, '127.0.0.1')
await once(server, 'listening')
console.log(JSON.stringify({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }))
