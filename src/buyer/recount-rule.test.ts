import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { SignedOffer } from '../wire/offer.ts'
import { chargeFor } from '../wire/price.ts'
import type { Receipt } from '../wire/receipt.ts'
import { acceptableCharge, isCountable, promptText, type CountedCharge } from './recount-rule.ts'

const hash = (digit: string) => `0x${digit.repeat(64)}` as const

const charges = fc
  .record({
    priceIn: fc.bigInt(0n, 5_000_000n),
    priceCached: fc.bigInt(0n, 5_000_000n),
    priceOut: fc.bigInt(1n, 20_000_000n),
    fixedPrice: fc.bigInt(0n, 100n),
    min: fc.bigInt(1n, 200n),
    ceiling: fc.bigInt(1n, 1_000_000n),
    countedOutput: fc.nat(20_000),
    countedInput: fc.option(fc.nat(20_000)),
    reportedOutput: fc.nat(40_000),
    reportedInput: fc.nat(40_000),
    cachedShare: fc.nat(100),
    hiddenTokens: fc.nat(64),
    toolCalls: fc.nat(4),
  })
  .map(({ min, ceiling, reportedInput, reportedOutput, cachedShare, hiddenTokens, ...c }): CountedCharge => {
    const { countedInput, countedOutput, toolCalls, ...prices } = c
    const signedOffer: SignedOffer = {
      offer: {
        ...prices,
        modelHash: hash('1'),
        payTo: '0x01',
        maxContext: 131_072,
        maxOutput: 8192,
        validUntilSec: 2e9,
        detailsHash: hash('2'),
      },
      details: { model: 'gpt-oss', min, defOut: 2048, img: 4096, maxN: 4 },
      signature: '0x',
      hash: hash('3'),
    }
    const usage = {
      inputTokens: reportedInput,
      cachedTokens: Math.floor((reportedInput * cachedShare) / 100),
      outputTokens: reportedOutput,
    }
    const receipt: Receipt = {
      channelId: hash('a'),
      requestId: hash('b'),
      offerHash: hash('3'),
      responseHash: hash('4'),
      charged: chargeFor(usage, signedOffer.offer, min, ceiling),
      cumulative: 1_000_000n,
      completedAtSec: 1_800_000_000,
      ...usage,
    }
    const bounds = { promptBound: 1e6, maxOutput: 1e6, n: 1, hiddenTokens }
    return {
      receipt,
      signedOffer,
      ceiling,
      bounds,
      toolCalls,
      countedOutput,
      countedInput,
      promptAllowance: 256,
    }
  })

const within = (tokens: number) => Math.floor((tokens * 102) / 100)

test('a charge for no more than we count, with two percent and what text does not show, is acceptable', () => {
  fc.assert(
    fc.property(charges, (charge) => {
      const { receipt, countedInput, countedOutput, bounds, toolCalls } = charge
      const mostOutput = within(countedOutput) + bounds.hiddenTokens + toolCalls * 24
      const mostInput = countedInput === null ? Infinity : within(countedInput) + 16 + 256
      fc.pre(receipt.outputTokens <= mostOutput && receipt.inputTokens <= mostInput)
      expect(acceptableCharge(charge)).toBe(receipt.charged)
    }),
    { numRuns: 200 },
  )
})

test('what is acceptable is never above what the receipt itself costs, nor above the ceiling', () => {
  fc.assert(
    fc.property(charges, (charge) => {
      const acceptable = acceptableCharge(charge)
      expect(acceptable <= charge.receipt.charged).toBe(true)
      expect(acceptable <= charge.ceiling).toBe(true)
    }),
    { numRuns: 200 },
  )
})

test('more reported than counted changes nothing: what is acceptable stays where the count puts it', () => {
  fc.assert(
    fc.property(charges, fc.integer({ min: 1, max: 50_000 }), (charge, more) => {
      const { countedOutput, bounds, toolCalls, receipt } = charge
      const outputTokens = within(countedOutput) + bounds.hiddenTokens + toolCalls * 24
      const honest = { ...charge, receipt: { ...receipt, outputTokens } }
      const inflated = { ...charge, receipt: { ...receipt, outputTokens: outputTokens + more } }
      expect(acceptableCharge(inflated)).toBe(acceptableCharge(honest))
    }),
    { numRuns: 200 },
  )
})

describe('what of a prompt is counted', () => {
  test('is its text and its tools', () => {
    const messages = [{ role: 'user', content: [{ type: 'text', text: 'hi' }] }]
    expect(promptText({ messages })).toEqual({ text: JSON.stringify(messages), allowance: 256 })
    const tools = [{ type: 'function' }]
    expect(promptText({ messages, tools })).toMatchObject({ allowance: 768 })
  })

  test('is nothing when a part is no text', () => {
    const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,AA' } }
    expect(promptText({ messages: [{ role: 'user', content: [image] }] })).toBeNull()
    expect(promptText({ messages: 'hi' })).toBeNull()
  })
})

test('only models with a tokenizer that we have are counted', () => {
  const known = ['gpt-oss:20b', 'openai/gpt-oss-120b', 'gpt-4o-mini', 'gpt-5', 'o3']
  expect(known.map(isCountable)).toEqual(known.map(() => true))
  const unknown = ['llama3:8b', 'qwen3', 'gpt-4', 'gpt-oss2', 'o30', 'test-model', 'gpt-oss/llama']
  expect(unknown.map(isCountable)).toEqual(unknown.map(() => false))
})
