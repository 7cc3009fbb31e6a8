/** A thousand buyers' streams through one seller's host. */
import type { ServerResponse } from 'node:http'
import { expect, test } from 'vitest'
import { clientOver, openPeer, openServingPeer } from '../fixtures/p2p-hosts.ts'

const streams = 1_000
const events = 20

test('a thousand event streams at once all arrive whole, in bounded memory', async () => {
  const open = new Set<ServerResponse>()
  await using seller = await openServingPeer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.flushHeaders()
    open.add(response)
  })
  const buyers = await Promise.all(Array.from({ length: 4 }, () => openPeer()))
  const clients = buyers.map((buyer) => clientOver(buyer, seller.host))
  const before = process.memoryUsage().rss
  const replies = await Promise.all(
    Array.from({ length: streams }, (_, at) =>
      clients[at % clients.length]!.request({
        method: 'GET',
        path: `/${at}`,
        signal: AbortSignal.timeout(50_000),
        firstByteTimeoutMs: 30_000,
        idleTimeoutMs: 30_000,
      }),
    ),
  )
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
  for (const response of open) response.end()
  const whole = event.repeat(events)
  for (const text of await Promise.all(received)) expect(text).toBe(whole)
  expect(process.memoryUsage().rss - before).toBeLessThan(400 * 1024 * 1024)
  for (const client of clients) await client.close()
  for (const buyer of buyers) await buyer[Symbol.asyncDispose]()
})
