import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { chargeFor } from '../wire/price.ts'
import { SseSplitter } from '../wire/sse.ts'
import { StreamMeter, type MeterTerms } from './meter.ts'

const offer = { priceIn: 150_000n, priceCached: 75_000n, priceOut: 600_000n, fixedPrice: 0n }
// One token per word keeps the sums in these tests readable.
const countTokens = (text: string): number => text.split(/\s+/).filter((word) => word !== '').length
const request = { model: 'm', messages: [{ role: 'user', content: 'one two three' }] }

function termsWith(more: Partial<MeterTerms> = {}): MeterTerms {
  const bounds = { maxOutput: 100, n: 1, promptBound: 300 }
  return { offer, ceiling: 10_000n, bounds, wantsUsage: false, request, countTokens, ...more }
}

const chunk = (choices: unknown[], more: object = {}): string =>
  `data: ${JSON.stringify({ id: 'c1', object: 'chat.completion.chunk', created: 7, model: 'm', choices, ...more })}\n\n`
const delta = (content: string, index = 0): string =>
  chunk([{ index, delta: { content }, finish_reason: null }])
const finish = (index = 0): string => chunk([{ index, delta: {}, finish_reason: 'stop' }])
const usage = (prompt: unknown, completion: unknown): string =>
  chunk([], { usage: { prompt_tokens: prompt, completion_tokens: completion, total_tokens: 1 } })
const done = 'data: [DONE]\n\n'

function play(texts: string[], terms = termsWith()) {
  const meter = new StreamMeter(terms)
  const splitter = new SseSplitter()
  const forwarded: Buffer[] = []
  let stopped = false
  for (const event of splitter.push(Buffer.from(texts.join('')))) {
    const step = meter.push(event)
    if (step.forward !== null) forwarded.push(step.forward)
    stopped = step.stop
    if (stopped) break
  }
  return { meter, stopped, text: Buffer.concat(forwarded).toString() }
}

const usageOf = (inputTokens: number, outputTokens: number, cachedTokens = 0) => ({
  inputTokens,
  cachedTokens,
  outputTokens,
})

test('events pass as they are, the usage chunk stays with us and [DONE] waits for the receipt', () => {
  const body = [': ping\n\n', delta('Hi'), delta(' there'), finish()]
  const { meter, text } = play([...body, usage(9, 3), done])
  expect(text).toBe(body.join(''))
  expect(meter.done).toBe(true)
  expect(meter.usage()).toEqual(usageOf(9, 3))
})

test('a client that asked for usage gets the chunk unchanged, and null usage elsewhere stays', () => {
  const quiet = chunk([{ index: 0, delta: { content: 'Hi' }, finish_reason: null }], { usage: null })
  const { text } = play([quiet, finish(), usage(9, 1), done], termsWith({ wantsUsage: true }))
  expect(text).toBe(quiet + finish() + usage(9, 1))
})

test('a client that asked for usage gets our figures when the engine sends none', () => {
  const { meter, text } = play([delta('Hi'), finish(), done], termsWith({ wantsUsage: true }))
  expect(text).toContain('"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":1,"total_tokens":8')
  expect(meter.usage()).toEqual(usageOf(7, 1))
})

test('without usage each short piece is a token and each long one is counted', () => {
  const long = 'this piece holds seven words in all'
  expect(play([delta('a'), delta('b'), delta(long), finish(), done]).meter.usage()).toEqual(usageOf(7, 9))
})

test('cached tokens are taken from the engine', () => {
  const cached = chunk([], {
    usage: { prompt_tokens: 200, completion_tokens: 1, prompt_tokens_details: { cached_tokens: 150 } },
  })
  expect(play([delta('a'), finish(), cached, done]).meter.usage()).toEqual(usageOf(200, 1, 150))
})

test.each([
  ['negative', usage(-1, 2), usageOf(7, 2)],
  ['text', usage('9', '2'), usageOf(7, 2)],
  ['not whole', usage(9.5, 2), usageOf(7, 2)],
  ['fewer than the pieces sent', usage(9, 1), usageOf(9, 2)],
  ['more than the bytes sent could hold', usage(9, 90), usageOf(9, 2)],
  ['more than the limit', usage(9, 1e15), usageOf(9, 2)],
  ['a longer prompt than the request can be', usage(301, 2), usageOf(7, 2)],
  ['beyond all numbers', usage(1e300, 1e300), usageOf(7, 2)],
])('usage that is %s is replaced by our own count, for the client too', (_name, wrong, right) => {
  const { meter, text } = play(
    [delta('a'), delta('b'), finish(), wrong, done],
    termsWith({ wantsUsage: true }),
  )
  expect(meter.usage()).toEqual(right)
  expect(text).toContain(`"prompt_tokens":${right.inputTokens},"completion_tokens":${right.outputTokens}`)
})

test('reasoning, refusals and tool calls are output', () => {
  const pieces = [
    { reasoning_content: 'r' },
    { reasoning: 'r' },
    { refusal: 'no' },
    { tool_calls: [{ index: 0, id: 'x', function: { name: 'f', arguments: '' } }] },
    { tool_calls: [{ index: 0, function: { arguments: '{}' } }] },
    { role: 'assistant', content: '' },
    { content: null },
  ].map((piece) => chunk([{ index: 0, delta: piece, finish_reason: null }]))
  expect(play([...pieces, finish(), done]).meter.usage().outputTokens).toBe(5)
})

test('a client that leaves is charged for what was produced until then', () => {
  const { meter } = play([delta('a'), delta('b'), delta('c')])
  expect(meter.done).toBe(false)
  expect(meter.usage()).toEqual(usageOf(7, 3))
})

test('running figures of the engine are believed at any moment', () => {
  const running = chunk([{ index: 0, delta: { content: 'abcdef' }, finish_reason: null }], {
    usage: { prompt_tokens: 20, completion_tokens: 3 },
  })
  const { meter, text } = play([running])
  expect(meter.usage()).toEqual(usageOf(20, 3))
  expect(text).toBe(running)
})

test('the floor for the journal needs no counting', () => {
  let counted = 0
  const { meter } = play(
    [delta('a'), delta('a piece that is longer than one token')],
    termsWith({ countTokens: () => counted++ }),
  )
  expect(meter.leastUsage()).toEqual(usageOf(0, 2))
  expect(counted).toBe(0)
  expect(play([]).meter.leastUsage()).toEqual(usageOf(0, 0))
})

test('the markup of a tool call may cost more tokens than its text has bytes', () => {
  const call = chunk([
    { index: 0, delta: { tool_calls: [{ function: { name: 'f', arguments: '{}' } }] }, finish_reason: null },
  ])
  expect(play([call, finish(), usage(9, 40), done]).meter.usage()).toEqual(usageOf(9, 40))
})

test('nothing produced is nothing used', () => {
  expect(play([]).meter.usage()).toEqual(usageOf(0, 0))
  expect(play([chunk([{ index: 0, delta: { role: 'assistant' } }])]).meter.usage()).toEqual(usageOf(0, 0))
})

test('the stream ends with length where the cost reaches the ceiling', () => {
  // 7 prompt tokens cost 1.05, each output token 0.6: the fifth makes it 4.05.
  const words = Array.from({ length: 50 }, (_, i) => delta(` ${i}`))
  const terms = termsWith({ ceiling: 4n, wantsUsage: true })
  const { meter, stopped, text } = play(words, terms)
  expect(stopped).toBe(true)
  expect(meter.done).toBe(true)
  expect(meter.usage()).toEqual(usageOf(7, 5))
  expect(chargeFor(meter.usage(), offer, 1n, terms.ceiling)).toBe(4n)
  expect(text.startsWith(words.slice(0, 5).join(''))).toBe(true)
  expect(text).toContain(
    '"id":"c1","object":"chat.completion.chunk","created":7,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"length"}],"usage":null}',
  )
  expect(text).toContain('"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":5')
})

test('an engine that ignores the output limit is cut there, and only the choices still open are ended', () => {
  const bounds = { maxOutput: 2, n: 2, promptBound: 300 }
  const texts = [delta('a', 0), finish(0), delta('b', 1), delta('c', 1), delta('d', 1), delta('e', 1)]
  const { meter, stopped, text } = play(texts, termsWith({ bounds }))
  expect(stopped).toBe(true)
  expect(meter.usage().outputTokens).toBe(4)
  expect(text).not.toContain('"e"')
  expect(text.match(/"finish_reason":"length"/g)).toHaveLength(1)
  expect(text).toContain('{"index":1,"delta":{},"finish_reason":"length"}')
})

test('an answer exactly at its limit is not cut: the engine ends it and tells its usage', () => {
  const bounds = { maxOutput: 3, n: 1, promptBound: 7 }
  const { meter, stopped } = play(
    [delta('a'), delta('b'), delta('c'), finish(), usage(7, 3), done],
    termsWith({ bounds, ceiling: 3n }),
  )
  expect(stopped).toBe(false)
  expect(meter.usage()).toEqual(usageOf(7, 3))
})

test('cheap answers are not cut by rounding: everything up to the signed limit is delivered', () => {
  // At 0.1 per token the rounded cost is the ceiling of 2 from the eleventh token on.
  const cheap = { priceIn: 0n, priceCached: 0n, priceOut: 100_000n, fixedPrice: 0n }
  const bounds = { maxOutput: 16, n: 1, promptBound: 300 }
  const words = Array.from({ length: 16 }, () => delta('a'))
  const { meter, stopped } = play(
    [...words, finish(), done],
    termsWith({ offer: cheap, bounds, ceiling: 2n }),
  )
  expect(stopped).toBe(false)
  expect(meter.usage().outputTokens).toBe(16)
})

test('free output is never cut for its cost', () => {
  const free = { priceIn: 0n, priceCached: 0n, priceOut: 0n, fixedPrice: 0n }
  expect(play([delta('a'), delta('b')], termsWith({ offer: free, ceiling: 0n })).stopped).toBe(false)
})

test('the prompt is not counted while the engine tells it', () => {
  let counted = 0
  play([delta('a'), finish(), usage(9, 1), done], termsWith({ countTokens: () => counted++ }))
  expect(counted).toBe(0)
})

test('an error event ends the stream in one shape, without [DONE]', () => {
  const { meter, stopped, text } = play([
    delta('a'),
    'data: {"error":{"message":"out of memory","code":500}}\n\n',
    done,
  ])
  expect(stopped).toBe(true)
  expect(meter.done).toBe(false)
  expect(meter.failure?.code).toBe('engine_failed')
  expect(text.slice(delta('a').length)).toBe(
    'data: {"error":{"message":"The engine answered 500: out of memory","type":"server_error","param":null,"code":"engine_failed"}}\n\n',
  )
  expect(meter.usage()).toEqual(usageOf(7, 1))
})

test('an event that is not JSON is a failure, an empty one a keep-alive', () => {
  expect(play(['data:\n\n', 'data: {oops\n\n']).meter.failure?.code).toBe('engine_failed')
  expect(play(['data: 7\n\n']).meter.failure?.code).toBe('engine_failed')
})

test('a stream that ends without [DONE] is whole when every choice ended, else broken', () => {
  const whole = play([delta('a'), finish()]).meter
  expect(whole.end()).toEqual({ forward: null, stop: false })
  expect(whole.done).toBe(true)
  const broken = play([delta('a')]).meter
  expect(broken.end().forward?.toString()).toContain('engine_stream_broken')
  expect(broken.usage()).toEqual(usageOf(7, 1))
})

test('whatever an engine sends, the figures stay within what a buyer believes', () => {
  const anyUsage = fc.record({
    prompt_tokens: fc.anything(),
    completion_tokens: fc.oneof(fc.integer(), fc.anything()),
  })
  const anyEvent = fc.oneof(
    fc.string({ maxLength: 60 }).map((text) => ({ choices: [{ index: 0, delta: { content: text } }] })),
    fc.array(fc.anything(), { maxLength: 3 }).map((choices) => ({ choices })),
    anyUsage.map((value) => ({ choices: [], usage: value })),
    fc.anything(),
  )
  fc.assert(
    fc.property(
      fc.array(anyEvent, { maxLength: 30 }),
      fc.bigInt(0n, 200n),
      fc.boolean(),
      (events, ceiling, wantsUsage) => {
        const bounds = { maxOutput: 20, n: 1, promptBound: 50 }
        const terms = termsWith({ bounds, ceiling, wantsUsage })
        const { meter } = play(
          events.map((event) => `data: ${JSON.stringify(event)}\n\n`),
          terms,
        )
        meter.end()
        const figures = meter.usage()
        for (const figure of Object.values(figures))
          expect(Number.isSafeInteger(figure) && figure >= 0).toBe(true)
        const least = meter.leastUsage()
        expect(least.inputTokens).toBeLessThanOrEqual(figures.inputTokens)
        expect(least.outputTokens).toBeLessThanOrEqual(figures.outputTokens)
        expect(figures.inputTokens).toBeLessThanOrEqual(50)
        expect(figures.cachedTokens).toBeLessThanOrEqual(figures.inputTokens)
        expect(figures.outputTokens).toBeLessThanOrEqual(20)
        expect(chargeFor(figures, offer, 1n, ceiling)).toBeLessThanOrEqual(ceiling)
      },
    ),
  )
})
