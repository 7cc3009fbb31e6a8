import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { ask, chatBody, headOf, replyOf, send, startGateway } from '../../test/fixtures/buyer-gateway.ts'
import { deltaEvent, doneEvent, receiptEvent } from '../../test/fixtures/buyer-seller-bytes.ts'
import { openSellerClient } from '../net/seller-client.ts'
import { keccak256 } from '../wire/keccak.ts'
import type { Exchange } from './exchange-types.ts'
import { relay, type RelayFacts } from './relay.ts'

const opened: (() => unknown)[] = []
afterEach(async () => {
  for (const close of opened.splice(0).toReversed()) await close()
})

/** Gateway, relay and seller connection put together, without payment, before a seller that the test plays. */
async function pathTo(seller: (req: IncomingMessage, res: ServerResponse) => void) {
  const server = createServer(seller).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = openSellerClient({
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connectTimeoutMs: 1000,
  })
  const facts = Promise.withResolvers<RelayFacts>()
  const exchange: Exchange = async ({ path, body }, signal) => {
    const head = {
      method: 'POST',
      path,
      body,
      signal,
      firstByteTimeoutMs: 5000,
      idleTimeoutMs: 5000,
    } as const
    const { status, headers, body: answer } = await client.request(head)
    const relayed = relay(answer)
    facts.resolve(relayed.facts)
    const done = relayed.facts.then(() => ({ charged: null, receipt: null, reason: null }))
    return replyOf(relayed.body, { status, headers, done })
  }
  const gateway = await startGateway({ exchange })
  opened.push(
    () => server.close(),
    () => server.closeAllConnections(),
    () => client.close(),
    () => gateway.close(0),
  )
  return { url: `${gateway.url}/v1/chat/completions`, facts: facts.promise }
}

const content = deltaEvent({ content: 'a' })
const head = { 'content-type': 'text/event-stream' }

test('a stream goes through whole, the receipt stays', async () => {
  const { url, facts } = await pathTo((_req, res) => {
    res.writeHead(200, head)
    res.write(content)
    res.end(receiptEvent() + doneEvent)
  })
  const { text } = await ask(url, { method: 'POST' }, chatBody({ stream: true }))
  expect(text).toBe(content + doneEvent)
  expect(await facts).toMatchObject({ ended: 'done', receiptSeen: true, responseHash: keccak256(content) })
})

test('a client that leaves closes the connection to the seller', async () => {
  const arrived = Promise.withResolvers<IncomingMessage>()
  const { url, facts } = await pathTo((req, res) => {
    res.writeHead(200, head).write(content)
    arrived.resolve(req)
  })
  const sent = send(url, { method: 'POST' }, chatBody({ stream: true }))
  await once(await headOf(sent), 'data')
  const closed = once((await arrived.promise).socket, 'close')
  sent.destroy()
  await closed
  expect(await facts).toMatchObject({ ended: null, receiptSeen: false })
})

test('a client that leaves before the first byte closes the connection to the seller', async () => {
  const arrived = Promise.withResolvers<IncomingMessage>()
  const { url } = await pathTo((req) => arrived.resolve(req))
  const sent = send(url, { method: 'POST' }, chatBody({ stream: true }))
  const closed = once((await arrived.promise).socket, 'close')
  sent.destroy()
  await expect(closed).resolves.toBeDefined()
})

test('a seller that dies in the middle leaves the client an error event after what it sent', async () => {
  const { url, facts } = await pathTo((_req, res) => {
    res.writeHead(200, head)
    res.write(content, () => res.destroy())
  })
  const { status, text } = await ask(url, { method: 'POST' }, chatBody({ stream: true }))
  expect(status).toBe(200)
  expect(text.startsWith(content)).toBe(true)
  expect(text).toContain('"code":"seller_stream_broken"')
  expect(text).not.toContain('[DONE]')
  expect(await facts).toMatchObject({ ended: null, failure: { code: 'seller_stream_broken' } })
})
