import { expect, test } from 'vitest'
import { meterReply } from './meter-reply.ts'

const terms = {
  bounds: { maxOutput: 10, n: 1, promptBound: 100 },
  request: { messages: [{ role: 'user', content: 'one two' }], tools: [] },
  countTokens: (text: string) => text.split(/\s+/).filter((word) => word !== '').length,
}

const reply = (content: string, usage?: object): Buffer =>
  Buffer.from(
    JSON.stringify({ id: 'c', choices: [{ index: 0, message: { content }, finish_reason: 'stop' }], usage }),
  )

function codeOf(text: string): string | undefined {
  const metered = meterReply(Buffer.from(text), terms)
  return metered.kind === 'failed' ? metered.error.code : undefined
}

test('the engine reply passes byte for byte when its usage is right', () => {
  const bytes = reply('hello there', { prompt_tokens: 8, completion_tokens: 3, total_tokens: 11 })
  expect(meterReply(bytes, terms)).toEqual({
    kind: 'metered',
    usage: { inputTokens: 8, cachedTokens: 0, outputTokens: 3 },
    body: bytes,
  })
})

test('missing or impossible usage is replaced in the body by our own count', () => {
  for (const usage of [
    undefined,
    { prompt_tokens: -1, completion_tokens: '3' },
    { prompt_tokens: 101, completion_tokens: 99 },
  ]) {
    const metered = meterReply(reply('hello there', usage), terms)
    expect(metered).toMatchObject({
      kind: 'metered',
      usage: { inputTokens: 6, cachedTokens: 0, outputTokens: 2 },
    })
    const body = metered.kind === 'metered' ? metered.body.toString() : ''
    expect(JSON.parse(body)).toMatchObject({
      usage: { prompt_tokens: 6, completion_tokens: 2, total_tokens: 8 },
    })
  }
})

test('an engine that ignored the limit is paid for the limit', () => {
  const long = Array.from({ length: 50 }, () => 'word').join(' ')
  const metered = meterReply(reply(long, { prompt_tokens: 8, completion_tokens: 50 }), terms)
  expect(metered).toMatchObject({ usage: { inputTokens: 8, outputTokens: 10 } })
})

test('tool calls are output', () => {
  const message = { content: null, tool_calls: [{ function: { name: 'look', arguments: '{"at": "sky"}' } }] }
  const bytes = Buffer.from(JSON.stringify({ choices: [{ index: 0, message }] }))
  expect(meterReply(bytes, terms)).toMatchObject({ usage: { outputTokens: 2 } })
})

test('an empty reply without usage costs nothing', () => {
  expect(meterReply(reply(''), terms)).toMatchObject({
    kind: 'metered',
    usage: { inputTokens: 0, outputTokens: 0 },
  })
})

test('an error inside a good status, cut JSON and a body without choices are failures', () => {
  expect(codeOf('{"error":{"message":"busy","code":429}}')).toBe('rate_limit_exceeded')
  expect(codeOf('{"error":"died"}')).toBe('engine_failed')
  expect(codeOf('{"choices":[')).toBe('engine_failed')
  expect(codeOf('{"ok":true}')).toBe('engine_failed')
  expect(codeOf('[]')).toBe('engine_failed')
})
