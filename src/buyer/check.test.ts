import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { SignedOffer } from '../wire/offer.ts'
import { chargeFor } from '../wire/price.ts'
import type { Receipt } from '../wire/receipt.ts'
import { checkCharge, hiddenTokens, type ObservedReply, type RequestBounds } from './check.ts'

const hash = (digit: string) => `0x${digit.repeat(64)}` as const

const prices = fc.record({
  priceIn: fc.bigInt(0n, 5_000_000n),
  priceCached: fc.bigInt(0n, 5_000_000n),
  priceOut: fc.bigInt(1n, 20_000_000n),
  fixedPrice: fc.bigInt(0n, 100n),
  min: fc.bigInt(1n, 200n),
})

type Prices = typeof prices extends fc.Arbitrary<infer T> ? T : never

function offerWith({ min, ...offer }: Prices): SignedOffer {
  return {
    offer: {
      ...offer,
      modelHash: hash('1'),
      payTo: '0x01',
      maxContext: 131_072,
      maxOutput: 8192,
      validUntilSec: 2e9,
      detailsHash: hash('2'),
    },
    details: { model: 'm', min, defOut: 2048, img: 4096, maxN: 4 },
    signature: '0x',
    hash: hash('3'),
  }
}

const samplePrices = { priceIn: 150_000n, priceCached: 75_000n, priceOut: 600_000n, fixedPrice: 0n, min: 1n }
const sampleOffer = offerWith(samplePrices)
const sampleBounds: RequestBounds = { promptBound: 313, maxOutput: 100, n: 1, hiddenTokens: 16 }
const sampleSeen: ObservedReply = {
  outputBytes: 120,
  contentChunks: 30,
  toolCalls: 0,
  usage: null,
  texts: null,
  responseHash: hash('4'),
  complete: true,
}

function receiptOf(over: Partial<Receipt> = {}, offer = sampleOffer, ceiling = 10_000n): Receipt {
  const usage = { inputTokens: 50, cachedTokens: 0, outputTokens: 31, ...over }
  return {
    channelId: hash('a'),
    requestId: hash('b'),
    offerHash: offer.hash,
    responseHash: hash('4'),
    charged: chargeFor(usage, offer.offer, offer.details.min, ceiling),
    cumulative: 1_000_000n,
    completedAtSec: 1_800_000_000,
    ...usage,
    ...over,
  }
}

interface Case {
  receipt?: Receipt
  ceiling?: bigint
  request?: Partial<RequestBounds>
  observed?: Partial<ObservedReply>
}

const verdictOf = ({ receipt = receiptOf(), ceiling = 10_000n, request, observed }: Case) =>
  checkCharge({
    receipt,
    signedOffer: sampleOffer,
    ceiling,
    request: { ...sampleBounds, ...request },
    observed: { ...sampleSeen, ...observed },
  })

/** What an honest seller reports: every token has bytes, but for what the engine legally hides. */
const honestCharge = fc
  .record({
    prices,
    ceiling: fc.bigInt(1n, 100_000n),
    promptBound: fc.integer({ min: 1, max: 100_000 }),
    inputShare: fc.double({ min: 0, max: 1, noNaN: true }),
    cachedShare: fc.double({ min: 0, max: 1, noNaN: true }),
    pieces: fc.array(fc.record({ tokens: fc.integer({ min: 1, max: 6 }), extraBytes: fc.nat(12) }), {
      maxLength: 40,
    }),
    toolCalls: fc.nat(5),
    n: fc.integer({ min: 1, max: 4 }),
    hiddenPerChoice: fc.nat(16),
  })
  .map((c) => {
    const offer = offerWith(c.prices)
    const inputTokens = Math.floor(c.promptBound * c.inputShare)
    const cachedTokens = Math.floor(inputTokens * c.cachedShare)
    const visible = c.pieces.reduce((sum, { tokens }) => sum + tokens, 0)
    const outputTokens = visible + c.toolCalls * 24 + c.n * c.hiddenPerChoice
    const outputBytes = c.pieces.reduce((sum, { tokens, extraBytes }) => sum + tokens + extraBytes, 0)
    return {
      receipt: receiptOf({ inputTokens, cachedTokens, outputTokens }, offer, c.ceiling),
      signedOffer: offer,
      ceiling: c.ceiling,
      request: {
        promptBound: c.promptBound,
        maxOutput: 1000,
        n: c.n,
        hiddenTokens: hiddenTokens({}, c.n, 1000),
      },
      observed: { ...sampleSeen, outputBytes, contentChunks: c.pieces.length, toolCalls: c.toolCalls },
    }
  })

describe('a charge', () => {
  test('of an honest seller is accepted, and one unit more is not', () => {
    fc.assert(
      fc.property(honestCharge, (charge) => {
        expect(checkCharge(charge)).toEqual({ ok: true })
        const raised = { ...charge.receipt, charged: charge.receipt.charged + 1n }
        expect(checkCharge({ ...charge, receipt: raised }).ok).toBe(false)
      }),
      { numRuns: 300 },
    )
  })

  test('of zero is accepted from a seller that never served the request', () => {
    const receipt = receiptOf({
      inputTokens: 0,
      outputTokens: 0,
      offerHash: hash('0'),
      responseHash: hash('0'),
    })
    expect(receipt.charged).toBe(0n)
    expect(verdictOf({ receipt, observed: { outputBytes: 0, contentChunks: 0, complete: false } })).toEqual({
      ok: true,
    })
  })

  test('below the price is accepted', () => {
    expect(verdictOf({ receipt: receiptOf({ charged: 1n }) })).toEqual({ ok: true })
  })

  test.each<[string, Case]>([
    ['over_ceiling', { ceiling: 10n }],
    ['other_offer', { receipt: receiptOf({ offerHash: hash('9') }) }],
    ['over_price', { receipt: receiptOf({ charged: receiptOf().charged + 1n }) }],
    ['input_implausible', { receipt: receiptOf({ inputTokens: 314 }) }],
    ['cached_implausible', { receipt: { ...receiptOf(), cachedTokens: 51 } }],
    ['output_over_limit', { receipt: receiptOf({ outputTokens: 101 }) }],
    [
      'output_implausible',
      {
        receipt: receiptOf({ outputTokens: 20 + 5 + 16 + 1 }),
        observed: { outputBytes: 20, contentChunks: 5 },
      },
    ],
    ['other_response', { observed: { responseHash: hash('5') } }],
  ])('is refused as %s', (reason, broken) => {
    expect(verdictOf(broken)).toEqual({ ok: false, reason })
  })

  test('for a reply that did not arrive whole is held only to what was signed', () => {
    const observed = { outputBytes: 3, contentChunks: 1, responseHash: hash('5'), complete: false }
    expect(verdictOf({ observed })).toEqual({ ok: true })
    expect(verdictOf({ observed, receipt: receiptOf({ outputTokens: 101 }) })).toMatchObject({ ok: false })
  })

  test('for several choices is bounded by all of them', () => {
    const receipt = receiptOf({ outputTokens: 200 })
    expect(verdictOf({ receipt, request: { n: 2 }, observed: { outputBytes: 500 } })).toEqual({ ok: true })
  })
})

describe('tokens that leave no trace', () => {
  test('are few per choice', () => {
    expect(hiddenTokens({}, 3, 100)).toBe(48)
  })

  test('include the longest stop string, which is cut from the text', () => {
    expect(hiddenTokens({ stop: 'ü' }, 1, 100)).toBe(18)
    expect(hiddenTokens({ stop: ['a', 'bcd', null] }, 2, 100)).toBe(38)
  })

  test('are unbounded when the request asks to go on past the end', () => {
    expect(hiddenTokens({ ignore_eos: true }, 2, 100)).toBe(200)
    expect(hiddenTokens({ min_tokens: 5 }, 1, 100)).toBe(100)
    expect(hiddenTokens({ ignore_eos: false, min_tokens: 0 }, 1, 100)).toBe(16)
  })
})
