/** A thousand buyers' streams through one seller's host. */
import type { ServerResponse } from 'node:http'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { expect, test } from 'vitest'
import type { SellerReply } from '../../src/net/seller-client.ts'
import { clientOver, openPeer, openServingPeer } from '../fixtures/p2p-hosts.ts'

const streams = 1_000
const events = 20
// Of both sides together, with the HTTP server and client on top of them. Half of this was seen, and next to no buffers.
const mostBytesPerStream = 80 * 1024

setFlagsFromString('--expose-gc')
const collectGarbage = runInNewContext('gc') as () => void

/** What is in use once all that is not has been thrown away. */
function liveBytes(): number {
  collectGarbage()
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

test('a thousand event streams at once all arrive whole, in bounded memory', async () => {
  const open = new Set<ServerResponse>()
  await using seller = await openServingPeer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.flushHeaders()
    open.add(response)
  })
  const buyers = await Promise.all(Array.from({ length: 4 }, () => openPeer()))
  const clients = buyers.map((buyer) => clientOver(buyer, seller.host))
  const liveBefore = liveBytes()
  const before = process.memoryUsage().rss
  const replies: SellerReply[] = []
  // As many at once as are opened within a second or two, however busy the machine is.
  while (replies.length < streams) {
    const asked = Array.from({ length: 100 }, (_, at) =>
      clients[at % clients.length]!.request({
        method: 'GET',
        path: `/${replies.length + at}`,
        signal: AbortSignal.timeout(50_000),
        firstByteTimeoutMs: 30_000,
        idleTimeoutMs: 30_000,
      }),
    )
    replies.push(...(await Promise.all(asked)))
  }
  expect(open.size).toBe(streams)
  const received = replies.map(async ({ body }) => {
    let text = ''
    for await (const chunk of body) text += String(chunk)
    return text
  })
  const event = `data: ${'x'.repeat(100)}\n\n`
  for (let at = 0; at < events; at += 1) {
    for (const response of open) response.write(event)
    await new Promise((resolve) => setImmediate(resolve))
  }
  const live = liveBytes() - liveBefore
  expect(live / streams).toBeLessThan(mostBytesPerStream)
  for (const response of open) response.end()
  const whole = event.repeat(events)
  for (const text of await Promise.all(received)) expect(text).toBe(whole)
  expect(process.memoryUsage().rss - before).toBeLessThan(250 * 1024 * 1024)
  for (const client of clients) await client.close()
  for (const buyer of buyers) await buyer[Symbol.asyncDispose]()
})
