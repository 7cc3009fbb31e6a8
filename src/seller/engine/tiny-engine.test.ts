import OpenAI from 'openai'
import { expect, onTestFinished, test } from 'vitest'
import { SseSplitter } from '../../wire/sse.ts'
import { openBackend, readEngineError, readReplyBody } from '../backend.ts'
import { StreamMeter } from '../meter.ts'
import { probeEngine } from './probe.ts'
import { startTinyEngine, tinyModel } from './tiny-engine.ts'

const never = new AbortController().signal
const messages = [{ role: 'user' as const, content: 'Tell me about open markets.' }]

async function tiny(tokensPerSec?: number) {
  const engine = await startTinyEngine({ port: 0, tokensPerSec })
  onTestFinished(() => engine.close())
  return engine
}

async function client(tokensPerSec?: number): Promise<OpenAI> {
  const { url } = await tiny(tokensPerSec)
  return new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 })
}

test('the same prompt gives the same sentences, another prompt other ones', async () => {
  const openai = await client()
  const say = async (content: string): Promise<string | null | undefined> => {
    const reply = await openai.chat.completions.create({
      model: tinyModel,
      messages: [{ role: 'user', content }],
    })
    return reply.choices[0]?.message.content
  }
  const first = await say('one')
  expect(await say('one')).toBe(first)
  expect(await say('two')).not.toBe(first)
  expect(first).toMatch(/^[A-Z].{100,}\.$/)
})

test('a stream says the same as a plain answer, and its usage is its words', async () => {
  const openai = await client()
  const plain = await openai.chat.completions.create({ model: tinyModel, messages })
  const stream = await openai.chat.completions.create({
    model: tinyModel,
    messages,
    stream: true,
    stream_options: { include_usage: true },
  })
  const chunks = await Array.fromAsync(stream)
  const text = chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')
  expect(text).toBe(plain.choices[0]?.message.content)
  expect(chunks.at(-1)?.usage).toEqual(plain.usage)
  expect(plain.usage).toMatchObject({ prompt_tokens: 5, completion_tokens: text.split(' ').length })
})

test('max_tokens is honoured for every choice', async () => {
  const openai = await client()
  const reply = await openai.chat.completions.create({ model: tinyModel, messages, max_tokens: 7, n: 2 })
  expect(reply.choices.map((choice) => choice.finish_reason)).toEqual(['length', 'length'])
  expect(reply.choices.map((choice) => choice.message.content?.split(' ').length)).toEqual([7, 7])
  expect(reply.usage?.completion_tokens).toBe(14)
})

test('it is found as an OpenAI-compatible engine that names itself', async () => {
  const { url } = await tiny()
  expect(await probeEngine(url, never)).toEqual({
    kind: 'openai',
    baseUrl: url,
    models: [{ id: 'openseed-tiny', maxContext: 8192, quantization: null }],
  })
})

test('its figures are believed by the meter as they are', async () => {
  const { url } = await tiny()
  await using backend = openBackend({ baseUrl: url })
  const request = { model: tinyModel, messages, stream: true, stream_options: { include_usage: true } }
  const bytes = await readReplyBody(await backend.chat(JSON.stringify(request), never))
  const offer = { priceIn: 1n, priceCached: 1n, priceOut: 1n, fixedPrice: 0n }
  const bounds = { maxOutput: 2048, n: 1, promptBound: 400 }
  const meter = new StreamMeter({
    offer,
    ceiling: 100n,
    bounds,
    wantsUsage: true,
    request,
    countTokens: () => 0,
  })
  const forwarded = new SseSplitter().push(bytes).map((event) => meter.push(event).forward ?? Buffer.alloc(0))
  expect(meter.done).toBe(true)
  expect(`${Buffer.concat(forwarded).toString()}data: [DONE]\n\n`).toBe(bytes.toString())
})

test('a paced answer stops when its reader leaves', async () => {
  const { url } = await tiny(1)
  const reader = new AbortController()
  await using backend = openBackend({ baseUrl: url })
  const request = { model: tinyModel, messages, stream: true }
  const reply = await backend.chat(JSON.stringify(request), reader.signal)
  reader.abort(new Error('left'))
  await expect(readReplyBody(reply)).rejects.toThrow('left')
})

test('another model, a body that is no JSON and a prompt beyond the context are refused', async () => {
  const { url } = await tiny()
  await using backend = openBackend({ baseUrl: url })
  const statusOf = async (body: string): Promise<number> =>
    (await readEngineError(await backend.chat(body, never))).status
  const long = [{ role: 'user', content: 'word '.repeat(9000) }]
  expect(await statusOf('{"model":"gpt"}')).toBe(404)
  expect(await statusOf('{oops')).toBe(400)
  expect(await statusOf(JSON.stringify({ model: tinyModel, messages: long }))).toBe(400)
})
