import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { chatBody, headOf, replyOf, send, startGateway } from '../../test/fixtures/buyer-gateway.ts'
import { deltaEvent, doneEvent } from '../../test/fixtures/buyer-seller-bytes.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { ExchangeOutcome, ExchangeReply } from './exchange-types.ts'
import type { Gateway } from './gateway.ts'
import { patient } from '../../test/fixtures/patient.ts'

const opened: Gateway[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((gateway) => gateway.close(0)))
})

/** A client that reads a stream which the test writes. */
async function streaming(over: Partial<ExchangeReply> = {}) {
  const body = new PassThrough()
  const signal = Promise.withResolvers<AbortSignal>()
  const gateway = await startGateway({
    exchange: (_request, given) => {
      signal.resolve(given)
      return Promise.resolve(replyOf(body, over))
    },
  })
  opened.push(gateway)
  const sent = send(`${gateway.url}/v1/chat/completions`, { method: 'POST' }, chatBody({ stream: true }))
  const reply = await headOf(sent)
  return { body, gateway, sent, reply, signal: await signal.promise }
}

async function textOf(reply: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of reply) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

async function passed(body: PassThrough, text: string): Promise<void> {
  const seen = once(body, 'data')
  body.write(text)
  await seen
}

const first = deltaEvent({ content: 'a' })

describe('a stream', () => {
  test('shows its head before the first byte and each byte when it comes', async () => {
    const { body, reply } = await streaming()
    expect(reply.statusCode).toBe(200)
    expect(reply.headers).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
      'x-openseed-seller': 'http://seller:8403',
      'x-openseed-ceiling': '1300',
      'x-should-retry': 'false',
    })
    expect(reply.headers).not.toHaveProperty('x-openseed-cost')
    body.write(first)
    expect(String((await once(reply, 'data'))[0])).toBe(first)
    body.end(doneEvent)
    expect(await textOf(reply)).toBe(doneEvent)
  })

  test('that breaks ends with an error event and no end mark', async () => {
    const { body, reply } = await streaming()
    const arrived = textOf(reply)
    await passed(body, first)
    body.destroy(new OpenSeedError('seller_timeout', { message: 'Silent.' }))
    expect(await arrived).toBe(
      `${first}data: {"error":{"message":"Silent.","type":"server_error","param":null,"code":"seller_timeout"}}\n\n`,
    )
  })

  test('that breaks inside an event closes that event first', async () => {
    const { body, reply } = await streaming()
    const arrived = textOf(reply)
    await passed(body, 'data: {"half')
    body.destroy(new Error('reset'))
    expect(await arrived).toMatch(/^data: \{"half\n\ndata: \{"error":/)
  })

  test('of anything but events is cut off when it breaks', async () => {
    const { body, reply } = await streaming({ headers: { 'content-type': 'application/json' } })
    body.destroy(new Error('reset'))
    await expect(textOf(reply)).rejects.toThrow('aborted')
  })

  test('whose client leaves is called off at once, and its seller is closed', async () => {
    const { body, sent, signal } = await streaming()
    const called = once(signal, 'abort')
    const closed = once(body, 'close')
    sent.destroy()
    await Promise.all([called, closed])
    expect(signal.reason).toMatchObject({ code: 'request_aborted' })
  })

  test('whose client finished is not called off', async () => {
    const { body, gateway, reply, signal } = await streaming()
    body.end(doneEvent)
    await textOf(reply)
    await gateway.close(1000)
    expect(signal.aborted).toBe(false)
  })

  test('is read no faster than its client reads', async () => {
    const { body, reply } = await streaming()
    const block = Buffer.alloc(64 * 1024, '\n')
    let written = 0
    // Only the client's reading can empty what the pipe and the sockets hold.
    const fill = () => {
      while (body.write(block)) written += block.length
      written += block.length
    }
    fill()
    body.on('drain', fill)
    let seen = -1
    let stillFor = 0
    await vi.waitUntil(() => {
      stillFor = seen === written ? stillFor + 1 : 0
      seen = written
      return stillFor === 5
    }, patient)
    expect(written).toBeLessThan(64 * 1024 * 1024)
    const stalledAt = written
    reply.resume()
    await vi.waitUntil(() => written > stalledAt, patient)
    body.removeListener('drain', fill)
    reply.destroy()
  })

  test('keeps the server open until its outcome is known', async () => {
    const done = Promise.withResolvers<ExchangeOutcome>()
    const { body, gateway, reply } = await streaming({ done: done.promise })
    body.end(doneEvent)
    await textOf(reply)
    let isClosed = false
    const closed = gateway.close(60_000).then(() => (isClosed = true))
    await expect(fetch(gateway.url)).rejects.toThrow('fetch failed')
    expect(isClosed).toBe(false)
    done.resolve({ charged: 5n, receipt: null, reason: null })
    await closed
  })
})

test('a client that leaves while the seller is asked calls it off', async () => {
  const asked = Promise.withResolvers<AbortSignal>()
  const gateway = await startGateway({
    exchange: async (_request, signal) => {
      asked.resolve(signal)
      await once(signal, 'abort')
      throw signal.reason
    },
  })
  opened.push(gateway)
  const sent = send(`${gateway.url}/v1/chat/completions`, { method: 'POST' }, chatBody())
  const signal = await asked.promise
  const called = once(signal, 'abort')
  sent.destroy()
  await called
  expect(signal.reason).toMatchObject({ code: 'request_aborted' })
})
