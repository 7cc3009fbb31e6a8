import { Readable } from 'node:stream'
import OpenAI from 'openai'
import { afterEach, expect, test } from 'vitest'
import { replyOf, startGateway } from '../../test/fixtures/buyer-gateway.ts'
import { deltaEvent, doneEvent } from '../../test/fixtures/buyer-seller-bytes.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Exchange } from './exchange-types.ts'
import type { Gateway } from './gateway.ts'
import { errorEvent } from '../wire/openai-error.ts'

const opened: Gateway[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((gateway) => gateway.close(0)))
})

/** The stock client against a gateway whose exchange counts how often it is asked. */
async function clientOf(exchange: Exchange) {
  const calls = { count: 0 }
  const gateway = await startGateway({
    exchange: (request, signal) => {
      calls.count += 1
      return exchange(request, signal)
    },
  })
  opened.push(gateway)
  const client = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: 'any', maxRetries: 2 })
  return { client, calls }
}

const chat = { model: 'm', messages: [{ role: 'user' as const, content: 'hi' }] }

const streamOf = (...events: string[]) => Readable.from(events.map((event) => Buffer.from(event)))

test('a stock client reads a plain answer', async () => {
  const completion = {
    id: 'c',
    object: 'chat.completion',
    choices: [{ index: 0, message: { content: 'hello' } }],
  }
  const { client } = await clientOf(() => Promise.resolve(replyOf(completion)))
  const { data, response } = await client.chat.completions.create(chat).withResponse()
  expect(data.choices[0]?.message.content).toBe('hello')
  expect(data).toHaveProperty('_request_id', response.headers.get('x-request-id'))
})

test('a stock client reads a streamed answer', async () => {
  const { client } = await clientOf(() =>
    Promise.resolve(
      replyOf(
        streamOf(deltaEvent({ content: 'hel' }), ': ping\n\n', deltaEvent({ content: 'lo' }), doneEvent),
      ),
    ),
  )
  let text = ''
  for await (const chunk of await client.chat.completions.create({ ...chat, stream: true })) {
    text += chunk.choices[0]?.delta.content ?? ''
  }
  expect(text).toBe('hello')
})

test('a stock client raises the error that ends a broken stream', async () => {
  const broken = new OpenSeedError('seller_stream_broken', { message: 'Gone.' })
  const { client } = await clientOf(() =>
    Promise.resolve(replyOf(streamOf(deltaEvent({ content: 'hel' }), errorEvent(broken)))),
  )
  const stream = await client.chat.completions.create({ ...chat, stream: true })
  const read = async () => {
    for await (const chunk of stream) expect(chunk.choices[0]?.delta.content).toBe('hel')
  }
  await expect(read()).rejects.toMatchObject({ code: 'seller_stream_broken' })
})

test('a stock client does not repeat what may have cost money', async () => {
  const error = new OpenSeedError('seller_timeout', { message: 'Silent.', details: { charged: null } })
  const { client, calls } = await clientOf(() => Promise.reject(error))
  await expect(client.chat.completions.create(chat)).rejects.toMatchObject({
    status: 504,
    code: 'seller_timeout',
  })
  expect(calls.count).toBe(1)
})

test('a stock client sees a refusal about money once, with the next step', async () => {
  const error = new OpenSeedError('budget_exceeded', {
    message: 'The day is spent.',
    hint: 'Raise it: openseed config',
  })
  const { client, calls } = await clientOf(() => Promise.reject(error))
  await expect(client.chat.completions.create(chat)).rejects.toMatchObject({
    status: 402,
    code: 'budget_exceeded',
    message: expect.stringContaining('openseed config') as string,
  })
  expect(calls.count).toBe(1)
})

test('a stock client that stops reading calls the exchange off', async () => {
  const aborted = Promise.withResolvers<unknown>()
  const { client } = await clientOf((_request, signal) => {
    signal.addEventListener('abort', () => aborted.resolve(signal.reason))
    const endless = new Readable({ read: () => {} })
    endless.push(deltaEvent({ content: 'a' }))
    return Promise.resolve(replyOf(endless))
  })
  const stream = await client.chat.completions.create({ ...chat, stream: true })
  for await (const chunk of stream) {
    expect(chunk.choices.length).toBe(1)
    break
  }
  expect(await aborted.promise).toMatchObject({ code: 'request_aborted' })
})

test('a stock client lists models', async () => {
  const { client } = await clientOf(() => Promise.reject(new Error('not asked')))
  const models = await client.models.list()
  expect(models.data.map(({ id }) => id)).toEqual(['llama3:8b', 'org/model'])
  expect((await client.models.retrieve('org/model')).id).toBe('org/model')
})
