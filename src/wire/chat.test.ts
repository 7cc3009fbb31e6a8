import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { OpenSeedError } from '../base/errors.ts'
import { engineBody, parseChatRequest, parseJsonBody } from './chat.ts'

const codeOf = (run: () => unknown) => {
  try {
    run()
    return 'none'
  } catch (error) {
    return error instanceof OpenSeedError ? error.code : error
  }
}
const engineJson = (json: Record<string, unknown>, maxOutput = 100) =>
  JSON.parse(engineBody(parseChatRequest({ model: 'm', ...json }), maxOutput)) as Record<string, unknown>

describe('a body', () => {
  test('must be a JSON object in valid UTF-8', () => {
    expect(parseJsonBody(Buffer.from('{"a":"ü"}'))).toEqual({ a: 'ü' })
    for (const wrong of ['', '[]', 'null', '1', '"a"', '{', '{"a":1}x'])
      expect(() => parseJsonBody(Buffer.from(wrong))).toThrow(
        expect.objectContaining({ code: 'invalid_json' }),
      )
    expect(() => parseJsonBody(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]))).toThrow(
      expect.objectContaining({ code: 'invalid_json' }),
    )
  })

  test('that is refused is not quoted in the error', () => {
    expect(() => parseJsonBody(Buffer.from('{"secret prompt'))).not.toThrow('secret')
  })

  test('of arbitrary bytes is parsed or refused with a typed error', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          fc.json().map((text) => Buffer.from(text)),
        ),
        (bytes) => {
          expect(['none', 'invalid_json']).toContain(codeOf(() => parseJsonBody(bytes)))
        },
      ),
    )
  })
})

describe('a chat request', () => {
  test('names its model and may ask for a stream with usage', () => {
    expect(parseChatRequest({ model: 'm' })).toMatchObject({ model: 'm', stream: false, wantsUsage: false })
    expect(
      parseChatRequest({ model: 'm', stream: true, stream_options: { include_usage: true } }),
    ).toMatchObject({
      stream: true,
      wantsUsage: true,
    })
    expect(parseChatRequest({ model: 'm', stream: null, stream_options: null })).toMatchObject({
      stream: false,
    })
    expect(parseChatRequest({ model: 'm', stream_options: { include_usage: true } }).wantsUsage).toBe(false)
  })

  test('with fields of the wrong kind is refused by the name of the field', () => {
    for (const [json, param] of [
      [{}, 'model'],
      [{ model: '' }, 'model'],
      [{ model: 7 }, 'model'],
      [{ model: 'm', stream: 'yes' }, 'stream'],
      [{ model: 'm', stream_options: [] }, 'stream_options'],
      [{ model: 'm', stream_options: 'x' }, 'stream_options'],
      [{ model: 'm', stream_options: { include_usage: 1 } }, 'stream_options.include_usage'],
    ] as const)
      expect(() => parseChatRequest(json)).toThrow(
        expect.objectContaining({ code: 'invalid_request', details: { param } }),
      )
  })

  test('of any JSON object is parsed or refused with a typed error', () => {
    const json = fc.record(
      { model: fc.jsonValue(), stream: fc.jsonValue(), stream_options: fc.jsonValue() },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(json, (json) => {
        expect(['none', 'invalid_request']).toContain(codeOf(() => engineBody(parseChatRequest(json), 5)))
      }),
    )
  })
})

describe("the engine's body", () => {
  test('limits the output in the spelling of the client', () => {
    expect(engineJson({})).toEqual({ model: 'm', max_tokens: 100 })
    expect(engineJson({ max_tokens: 7 })).toEqual({ model: 'm', max_tokens: 100 })
    expect(engineJson({ max_completion_tokens: 7 })).toEqual({ model: 'm', max_completion_tokens: 100 })
    expect(engineJson({ max_tokens: 7, max_completion_tokens: 9 })).toMatchObject({
      max_tokens: 100,
      max_completion_tokens: 100,
    })
    expect(engineJson({ max_completion_tokens: null, max_tokens: null })).toMatchObject({ max_tokens: 100 })
  })

  test('always asks for usage in a stream and keeps the other stream options', () => {
    expect(engineJson({ stream: true, stream_options: { include_usage: false, x: 1 } })).toMatchObject({
      stream_options: { include_usage: true, x: 1 },
    })
    expect(engineJson({ stream: false })).not.toHaveProperty('stream_options')
  })

  test('forwards everything that it does not know and leaves the request as it was', () => {
    const json = { model: 'm', temperature: 0.5, future_field: { a: [1, null] }, max_tokens: 7 }
    expect(engineJson(json)).toEqual({ ...json, max_tokens: 100 })
    expect(json.max_tokens).toBe(7)
  })

  test('of a body that nests deep is written or refused, never a stack overflow', () => {
    const text = `{"model":"m","x":${'['.repeat(200_000)}${']'.repeat(200_000)},"max_tokens":5}`
    const chat = parseChatRequest(parseJsonBody(Buffer.from(text)))
    expect(['none', 'invalid_request']).toContain(codeOf(() => engineBody(chat, 5)))
  })
})
