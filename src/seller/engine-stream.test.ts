/** Backend, event splitter and meter together, against an engine that misbehaves on request. */
import { expect, onTestFinished, test } from 'vitest'
import type { Script } from '../../test/fixtures/engine-script.ts'
import { startScriptedEngine } from '../../test/fixtures/scripted-engine.ts'
import { engineBody, parseChatRequest } from '../wire/chat.ts'
import { SseSplitter } from '../wire/sse.ts'
import { openBackend } from './backend.ts'
import { StreamMeter } from './meter.ts'
import { loadTokenCounter } from './tokens.ts'

const offer = { priceIn: 150_000n, priceCached: 75_000n, priceOut: 600_000n, fixedPrice: 0n }

async function sell(
  script: Script,
  more: { maxOutput?: number; ceiling?: bigint; wantsUsage?: boolean } = {},
) {
  const engine = await startScriptedEngine()
  const backend = openBackend({ baseUrl: engine.url })
  onTestFinished(async () => {
    await backend.close()
    await engine.close()
  })
  engine.next({ promptTokens: 10, ...script })
  const json = { model: 'test-model', messages: [{ role: 'user', content: 'hi' }], stream: true }
  const maxOutput = more.maxOutput ?? 100
  const meter = new StreamMeter({
    offer,
    ceiling: more.ceiling ?? 1000n,
    bounds: { maxOutput, n: 1, promptBound: 300 },
    wantsUsage: more.wantsUsage ?? false,
    request: json,
    countTokens: await loadTokenCounter(),
  })
  const signal = new AbortController().signal
  const reply = await backend.chat(engineBody(parseChatRequest(json), maxOutput), signal)
  const sent: Buffer[] = []
  const splitter = new SseSplitter()
  let broken: unknown = null
  try {
    reading: for await (const bytes of reply.body as AsyncIterable<Buffer>) {
      for (const event of splitter.push(bytes)) {
        const step = meter.push(event)
        if (step.forward !== null) sent.push(step.forward)
        if (step.stop) break reading
      }
    }
    for (const { forward } of [...splitter.end().map((event) => meter.push(event)), meter.end()]) {
      if (forward !== null) sent.push(forward)
    }
  } catch (error) {
    broken = error
  }
  return { meter, call: engine.calls[0]!, text: Buffer.concat(sent).toString(), broken }
}

const words = (text: string): number => text.match(/word\d+/g)?.length ?? 0

test.each<[string, Script]>([
  ['plain', { tokens: 20 }],
  ['CRLF', { tokens: 20, crlf: true }],
  ['comments between events', { tokens: 20, comments: true }],
  ['reasoning first', { tokens: 20, reasoning: 5 }],
  ['a tool call', { tokens: 20, toolCall: true }],
  ['running figures', { tokens: 20, usage: 'continuous' }],
  ['no usage', { tokens: 20, usage: 'omit' }],
  ['wrong usage', { tokens: 20, usage: { prompt_tokens: -5, completion_tokens: 'many' } }],
  ['no [DONE]', { tokens: 20, omitDone: true }],
])('a stream with %s is sold whole', async (name, script) => {
  const { meter, text, broken } = await sell(script)
  expect(broken).toBeNull()
  expect(meter.done).toBe(true)
  expect(words(text)).toBe(20)
  expect(meter.usage().outputTokens).toBe(20)
  expect(meter.usage().inputTokens).toBe(name === 'no usage' || name === 'wrong usage' ? 5 : 10)
  expect(text).not.toContain('"choices":[]')
  expect(text).not.toContain('[DONE]')
})

test('characters cut between chunks arrive whole', async () => {
  const { meter, text } = await sell({ tokens: 10, splitUtf8: true })
  expect(text.match(/日本\d🎉/g)).toHaveLength(10)
  expect(meter.usage()).toEqual({ inputTokens: 10, cachedTokens: 0, outputTokens: 10 })
})

test('an engine that ignores the limit is cut off there and its connection closed', async () => {
  const { meter, call, text } = await sell({ tokens: 1000, ignoreMaxTokens: true }, { maxOutput: 12 })
  expect(call.body['max_tokens']).toBe(12)
  expect(await call.aborted).toBeGreaterThan(0)
  expect(words(text)).toBe(12)
  expect(text.endsWith('"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\n')).toBe(true)
  expect(meter.usage().outputTokens).toBe(12)
})

test('generation stops when the cost reaches the ceiling', async () => {
  const { meter, call, text } = await sell(
    { tokens: 1000, ignoreMaxTokens: true },
    { ceiling: 12n, wantsUsage: true },
  )
  expect(await call.aborted).toBeGreaterThan(0)
  // 5 prompt tokens by our count cost 0.75; 19 output tokens make it 12.15.
  expect(words(text)).toBe(19)
  expect(meter.usage()).toEqual({ inputTokens: 5, cachedTokens: 0, outputTokens: 19 })
  expect(text).toContain('"finish_reason":"length"')
  expect(text).toContain('"completion_tokens":19')
})

test('a stream that dies is charged for what was sent', async () => {
  const { meter, text, broken } = await sell({ tokens: 20, die: 7 })
  expect(broken).toMatchObject({ code: 'engine_stream_broken' })
  expect(meter.done).toBe(false)
  expect(meter.usage().outputTokens).toBe(words(text))
})

test('an error event and an event of garbage end the stream with an error event', async () => {
  for (const script of [
    { tokens: 20, errorAfter: 4 },
    { tokens: 20, garbageAfter: 4 },
  ]) {
    const { meter, text } = await sell(script)
    expect(meter.failure?.code).toBe('engine_failed')
    expect(words(text)).toBe(4)
    expect(text).toMatch(/data: \{"error":\{"message":"[^\n]*"code":"engine_failed"\}\}\n\n$/)
  }
})

test('an engine that answers a stream request with plain JSON is a failure with its reason', async () => {
  const refused = await sell({ status: 200, errorBody: { error: { message: 'no memory', code: 503 } } })
  expect(refused.meter.failure?.code).toBe('rate_limit_exceeded')
  expect(refused.text).toContain('no memory')
  const plain = await sell({ status: 200, errorBody: { choices: [] } })
  expect(plain.meter.failure?.code).toBe('engine_failed')
  expect(plain.meter.usage().inputTokens).toBe(0)
})
