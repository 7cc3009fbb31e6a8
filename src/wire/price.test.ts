import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { chargeFor, exactCost } from './price.ts'
import { parseUsage } from './usage.ts'

const prices = { priceIn: 150_000n, priceCached: 15_000n, priceOut: 600_000n, fixedPrice: 0n }

test('cached tokens have their own price and are not paid twice', () => {
  const usage = { inputTokens: 1000, cachedTokens: 400, outputTokens: 10 }
  expect(exactCost(usage, prices)).toBe(600n * 150_000n + 400n * 15_000n + 10n * 600_000n)
})

test('a charge is rounded up once, has a least amount and never passes the ceiling', () => {
  const usage = { inputTokens: 1, cachedTokens: 0, outputTokens: 0 }
  expect(chargeFor(usage, prices, 1n, 100n)).toBe(1n)
  expect(chargeFor(usage, prices, 30n, 100n)).toBe(30n)
  expect(chargeFor(usage, { ...prices, fixedPrice: 50n }, 1n, 100n)).toBe(51n)
  expect(chargeFor({ ...usage, outputTokens: 1_000_000 }, prices, 1n, 100n)).toBe(100n)
  expect(chargeFor({ ...usage, inputTokens: 20 }, prices, 1n, 100n)).toBe(3n)
})

test('nothing used costs nothing, whatever the fixed price', () => {
  const nothing = { inputTokens: 0, cachedTokens: 0, outputTokens: 0 }
  expect(chargeFor(nothing, { ...prices, fixedPrice: 50n }, 100n, 1000n)).toBe(0n)
})

test('a charge never passes the ceiling and never falls with more tokens', () => {
  const tokens = fc.nat(1_000_000)
  fc.assert(
    fc.property(
      tokens,
      tokens,
      fc.bigInt({ min: 1n, max: 10n ** 6n }),
      (inputTokens, outputTokens, ceiling) => {
        const usage = { inputTokens, cachedTokens: 0, outputTokens }
        const charge = chargeFor(usage, prices, 0n, ceiling)
        expect(charge <= ceiling).toBe(true)
        expect(chargeFor({ ...usage, outputTokens: outputTokens + 1 }, prices, 0n, ceiling) >= charge).toBe(
          true,
        )
      },
    ),
  )
})

test('usage is read from the OpenAI shape, cached tokens where given', () => {
  expect(parseUsage({ prompt_tokens: 10, completion_tokens: 3, total_tokens: 13 })).toEqual({
    inputTokens: 10,
    cachedTokens: 0,
    outputTokens: 3,
  })
  expect(
    parseUsage({ prompt_tokens: 10, completion_tokens: 3, prompt_tokens_details: { cached_tokens: 4 } }),
  ).toMatchObject({ cachedTokens: 4 })
  expect(parseUsage({ prompt_tokens: 10, completion_tokens: 3, prompt_tokens_details: null })).toMatchObject({
    cachedTokens: 0,
  })
})

test('usage that is absent or impossible is none', () => {
  for (const input of [
    null,
    undefined,
    [],
    'x',
    {},
    { prompt_tokens: 1 },
    { prompt_tokens: -1, completion_tokens: 0 },
    { prompt_tokens: 1.5, completion_tokens: 0 },
    { prompt_tokens: 1, completion_tokens: 2 ** 53 },
    { prompt_tokens: 1, completion_tokens: '2' },
    { prompt_tokens: 1, completion_tokens: 2, prompt_tokens_details: { cached_tokens: 2 } },
  ])
    expect(parseUsage(input)).toBeNull()
})

test('anything at all is usage or none, never an exception', () => {
  fc.assert(
    fc.property(fc.anything(), (input) => {
      const usage = parseUsage(input)
      expect(usage === null || usage.cachedTokens <= usage.inputTokens).toBe(true)
    }),
  )
})
