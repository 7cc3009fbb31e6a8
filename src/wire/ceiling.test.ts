import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { OpenSeedError } from '../base/errors.ts'
import { ceilingTerms, requestCeiling, roundUp, type CeilingTerms } from './ceiling.ts'
import { parseJsonBody } from './chat.ts'

const cheap: CeilingTerms = {
  priceIn: 150_000n,
  priceOut: 600_000n,
  fixedPrice: 0n,
  min: 1n,
  maxContext: 131_072,
  maxOutput: 8192,
  defOut: 2048,
  img: 4096,
  maxN: 4,
}
const dear: CeilingTerms = {
  priceIn: 3_000_000n,
  priceOut: 15_000_000n,
  fixedPrice: 50n,
  min: 100n,
  maxContext: 200_000,
  maxOutput: 16_384,
  defOut: 4096,
  img: 1600,
  maxN: 1,
}

const ceilingOf = (text: string, terms: CeilingTerms) => {
  const bytes = Buffer.from(text)
  return { bytes: bytes.length, ...requestCeiling(parseJsonBody(bytes), bytes.length, terms) }
}
const outcomeOf = (text: string) => {
  try {
    const { amount, promptBound } = ceilingOf(text, dear)
    return amount >= dear.min && promptBound >= 256 ? 'priced' : 'too cheap'
  } catch (error) {
    return error instanceof OpenSeedError ? error.code : error
  }
}
const chatOf = (content: unknown, more: object = {}) =>
  JSON.stringify({ model: 'm', messages: [{ role: 'user', content }], ...more })

describe('the worked examples', () => {
  test('a short chat without a limit pays for the default output', () => {
    const text = '{"model":"m","messages":[{"role":"user","content":"hi"}]}'
    expect(ceilingOf(text, cheap)).toEqual({
      bytes: 57,
      promptBound: 313,
      maxOutput: 2048,
      n: 1,
      amount: 1300n,
    })
  })

  test('max_tokens lowers the ceiling', () => {
    const text = '{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":16,"stream":true}'
    expect(ceilingOf(text, cheap)).toEqual({ bytes: 87, promptBound: 343, maxOutput: 16, n: 1, amount: 62n })
  })

  test('text counts in bytes and tools have a fixed share', () => {
    const text =
      '{"model":"m","messages":[{"role":"user","content":"Grüße 日本"}],"max_completion_tokens":500,"tools":[{"type":"function","function":{"name":"t","parameters":{"type":"object","properties":{}}}}]}'
    expect(ceilingOf(text, cheap)).toEqual({
      bytes: 198,
      promptBound: 966,
      maxOutput: 500,
      n: 1,
      amount: 450n,
    })
  })

  test('an image in a data URL costs an image, not its bytes', () => {
    const image = { type: 'image_url', image_url: { url: `data:image/png;base64,${'A'.repeat(1_000_000)}` } }
    const text = chatOf([{ type: 'text', text: 'what is this?' }, image], { max_tokens: 300 })
    expect(ceilingOf(text, dear)).toEqual({
      bytes: 1_000_176,
      promptBound: 2010,
      maxOutput: 300,
      n: 1,
      amount: 11_000n,
    })
  })

  test('context and output limits of the offer cap both sides', () => {
    const text = chatOf('x'.repeat(600_000), { max_completion_tokens: 100_000, n: 2 })
    expect(ceilingOf(text, cheap)).toEqual({
      bytes: 600_092,
      promptBound: 131_072,
      maxOutput: 8192,
      n: 2,
      amount: 30_000n,
    })
  })
})

test('an empty body has a ceiling, so that a GET can be answered with a price', () => {
  expect(requestCeiling(null, 0, cheap)).toEqual({ promptBound: 256, maxOutput: 2048, n: 1, amount: 1300n })
})

test('a limit of null reads as absent, and max_completion_tokens goes before max_tokens', () => {
  expect(ceilingOf(chatOf('hi', { max_completion_tokens: null, max_tokens: 7 }), cheap).maxOutput).toBe(7)
  expect(ceilingOf(chatOf('hi', { max_completion_tokens: 9, max_tokens: 7 }), cheap).maxOutput).toBe(9)
  expect(ceilingOf(chatOf('hi', { max_tokens: null, n: null }), cheap)).toMatchObject({
    maxOutput: 2048,
    n: 1,
  })
})

test('limits that are no positive integers are refused and named', () => {
  for (const [param, values] of [
    ['max_tokens', [0, -1, 1.5, '16', 2 ** 31, true, {}]],
    ['max_completion_tokens', [0, 2 ** 31]],
    ['n', [0, 5, 1.5, '1']],
  ] as const)
    for (const value of values)
      expect(() => ceilingOf(chatOf('hi', { [param]: value }), cheap)).toThrow(
        expect.objectContaining({ code: 'invalid_request', details: { param } }),
      )
})

test('of a key given twice the last one counts', () => {
  expect(ceilingOf('{"model":"m","max_tokens":9,"max_tokens":5}', cheap).maxOutput).toBe(5)
})

test('an image may be a plain string, and a link is counted as text and image', () => {
  const link = chatOf([{ type: 'image_url', image_url: 'https://example.com/a.png' }])
  expect(ceilingOf(link, cheap).promptBound).toBe(link.length + 256 + 4096)
  const inline = chatOf([{ type: 'image_url', image_url: 'data:,abc' }])
  expect(ceilingOf(inline, cheap).promptBound).toBe(inline.length - 9 + 256 + 4096)
})

test('prices beyond any amount are refused', () => {
  expect(() => requestCeiling(null, 0, { ...cheap, fixedPrice: 2n ** 63n - 1n })).toThrow(
    expect.objectContaining({ code: 'invalid_request' }),
  )
})

test('the ladder never goes down, is its own fixed point and adds less than a tenth', () => {
  const amount = fc.bigInt({ min: 0n, max: 10n ** 18n })
  fc.assert(
    fc.property(amount, amount, (a, b) => {
      const [low, high] = a < b ? [a, b] : [b, a]
      expect(roundUp(low) <= roundUp(high)).toBe(true)
      expect(roundUp(roundUp(a))).toBe(roundUp(a))
      expect(roundUp(a) >= a && (roundUp(a) - a) * 10n < (a === 0n ? 1n : a)).toBe(true)
    }),
  )
})

test('any JSON object has a ceiling or is refused as an invalid request', () => {
  const messages = fc.array(
    fc.oneof(
      fc.jsonValue(),
      fc.record({
        content: fc.oneof(
          fc.jsonValue(),
          fc.array(fc.record({ type: fc.constantFrom('image_url', 'text'), image_url: fc.jsonValue() })),
        ),
      }),
    ),
  )
  const body = fc.record(
    {
      messages: fc.oneof(messages, fc.jsonValue()),
      max_tokens: fc.jsonValue(),
      n: fc.jsonValue(),
      tools: fc.jsonValue(),
    },
    { requiredKeys: [] },
  )
  fc.assert(
    fc.property(body, (json) => {
      expect(['priced', 'invalid_request']).toContain(outcomeOf(JSON.stringify(json)))
    }),
  )
})

test('the terms of the ceiling come from the signed offer and its details', () => {
  const { priceIn, priceOut, fixedPrice, maxContext, maxOutput, ...details } = cheap
  const zero = `0x${'0'.repeat(64)}` as const
  const signed = {
    offer: {
      modelHash: zero,
      payTo: `0x${'0'.repeat(40)}` as const,
      priceIn,
      priceCached: 0n,
      priceOut,
      fixedPrice,
      maxContext,
      maxOutput,
      validUntilSec: 0,
      detailsHash: zero,
    },
    details: { model: 'm', ...details },
    signature: '0x' as const,
    hash: zero,
  }
  expect(ceilingTerms(signed)).toEqual(cheap)
})
