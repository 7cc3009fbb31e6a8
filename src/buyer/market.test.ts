import { afterEach, describe, expect, test, vi } from 'vitest'
import {
  answerTerms,
  offerFor,
  startTermsServer,
  termsWith,
  testRules,
  type TermsServer,
} from '../../test/fixtures/buyer-market.ts'
import { silentLog } from '../base/log.ts'
import { openSellerClient } from '../net/seller-client.ts'
import { encodeSellerTerms } from '../wire/terms.ts'
import { openMarket, type Market, type MarketOptions } from './market.ts'
import { patient } from '../../test/fixtures/patient.ts'

const startMs = 1_800_000_000_000
const opened: { close: () => unknown }[] = []
afterEach(async () => {
  for (const part of opened.splice(0).toReversed()) await part.close()
})

async function server(...args: Parameters<typeof startTermsServer>): Promise<TermsServer> {
  const started = await startTermsServer(...args)
  opened.push({ close: () => started[Symbol.asyncDispose]() })
  return started
}

async function marketOf(urls: string[], over: Partial<MarketOptions> = {}) {
  const clock = { nowMs: startMs }
  const saved = new Map<string, string>()
  const market: Market = await openMarket({
    ...testRules,
    urls,
    clientFor: (url) => openSellerClient({ url, connectTimeoutMs: 5_000 }),
    saveTerms: async (url, terms) => saved.set(url, terms),
    loadTerms: async () => [],
    now: () => clock.nowMs,
    log: silentLog,
    ...over,
  })
  opened.push(market)
  return { market, clock, saved }
}

const sellersOf = async (market: Market, model = 'llama3:8b') =>
  (await market.candidates(model)).map(({ sellerUrl }) => sellerUrl)

const storedTerms =
  (url: string, atMs = startMs, terms = termsWith()) =>
  async () => [{ url, terms: JSON.stringify(encodeSellerTerms(terms)), atMs }]

const offerUntil = (validUntilSec: number) =>
  answerTerms(termsWith({ offers: [offerFor('llama3:8b', { offer: { validUntilSec } })] }))

const deadUrl = async () => {
  const gone = await startTermsServer()
  await gone[Symbol.asyncDispose]()
  return gone.url
}

describe('a market', () => {
  test('asks a seller once for its terms, verifies, keeps and stores them', async () => {
    const seller = await server()
    const { market, saved } = await marketOf([`${seller.url}/`])
    expect(await sellersOf(market)).toEqual([seller.url])
    expect(await sellersOf(market)).toEqual([seller.url])
    expect(seller.asked).toBe(1)
    await vi.waitUntil(() => saved.has(seller.url), patient)
    expect(JSON.parse(saved.get(seller.url)!)).toEqual(encodeSellerTerms(termsWith()))
    expect(market.terms(seller.url)).toEqual(termsWith())
  })

  test('starts warm: stored terms answer before the seller does', async () => {
    const seller = await server()
    seller.answer = () => {}
    const { market } = await marketOf([seller.url], { loadTerms: storedTerms(seller.url) })
    expect(await sellersOf(market)).toEqual([seller.url])
    expect(seller.asked).toBe(0)
  })

  test('starts although what was stored is unreadable, and although nobody can be reached', async () => {
    const url = await deadUrl()
    const { market } = await marketOf([url], { loadTerms: async () => [{ url, terms: '{', atMs: 0 }] })
    expect(market.listModels()).toEqual([])
    await expect(market.candidates('m')).rejects.toMatchObject({ code: 'seller_unreachable' })
  })

  test('renews old terms in the background, while the old ones still answer', async () => {
    const seller = await server()
    const { market, clock } = await marketOf([seller.url])
    await sellersOf(market)
    clock.nowMs += 60_001
    seller.answer = answerTerms(termsWith({ offers: [offerFor('llama3:8b'), offerFor('new')] }))
    expect(await sellersOf(market)).toEqual([seller.url])
    await vi.waitUntil(() => market.listModels().length === 2, patient)
    expect(seller.asked).toBe(2)
  })

  test('renews terms before an offer runs out, and waits for them once it did', async () => {
    const seller = await server()
    seller.answer = offerUntil(startMs / 1000 + 30)
    const { market, clock } = await marketOf([seller.url])
    await sellersOf(market)
    clock.nowMs += 31_000
    seller.answer = offerUntil(startMs / 1000 + 3600)
    expect(await sellersOf(market)).toEqual([seller.url])
  })

  test('does not wait for ever for terms that come byte by byte', async () => {
    const slow = await server()
    const drips: NodeJS.Timeout[] = []
    slow.answer = (_req, res) => void drips.push(setInterval(() => res.write(' '), 50))
    const { market } = await marketOf([slow.url])
    await expect(market.candidates('m')).rejects.toMatchObject({
      code: 'seller_unreachable',
      message: expect.stringContaining(slow.url),
    })
    for (const drip of drips) clearInterval(drip)
  })

  test('does not wait for a slow seller when another has the model', async () => {
    const slow = await server()
    slow.answer = () => {}
    const quick = await server()
    const { market } = await marketOf([slow.url, quick.url])
    expect(await sellersOf(market)).toEqual([quick.url])
  })

  test('lists each model once, at its lowest price', async () => {
    const dear = await server(
      termsWith({ offers: [offerFor('a', { offer: { priceOut: 900_000n } }), offerFor('b')] }),
    )
    const cheap = await server(termsWith({ offers: [offerFor('a', { offer: { maxContext: 4096 } })] }))
    const { market } = await marketOf([dear.url, cheap.url])
    await vi.waitUntil(() => market.listModels()[0]?.sellers === 2, patient)
    const common = { maxOutput: 8192, priceIn: 150_000n, priceOut: 600_000n }
    expect(market.listModels()).toEqual([
      { id: 'a', sellers: 2, maxContext: 4096, ...common },
      { id: 'b', sellers: 1, maxContext: 131_072, ...common },
    ])
  })

  test('asks a seller that cooled down only when nobody else is left', async () => {
    const seller = await server()
    seller.answer = (_req, res) => res.writeHead(503).end()
    const { market, clock } = await marketOf([seller.url])
    await expect(market.candidates('m')).rejects.toMatchObject({ code: 'seller_unreachable' })
    expect(market.health().get(seller.url)).toEqual({
      failures: 1,
      coolUntilMs: startMs + 1000,
      isSilent: true,
    })
    const { asked } = seller
    market.listModels()
    expect(seller.asked).toBe(asked)
    seller.answer = answerTerms(termsWith())
    clock.nowMs += 10
    expect(await sellersOf(market)).toEqual([seller.url])
  })

  test('asks a seller that failed a request for its terms before another request has to', async () => {
    const seller = await server()
    const { market, clock } = await marketOf([seller.url])
    await sellersOf(market)
    market.report(seller.url, { kind: 'failed' })
    const silent = { failures: 1, coolUntilMs: startMs + 1000, isSilent: true }
    expect(market.health().get(seller.url)).toEqual(silent)
    await market.candidates('llama3:8b')
    expect(seller.asked).toBe(1)
    clock.nowMs += 1001
    await market.candidates('llama3:8b')
    await vi.waitUntil(() => market.health().get(seller.url)?.isSilent !== true, patient)
    expect(seller.asked).toBe(2)
    expect(market.health().get(seller.url)?.failures).toBe(1)
  })
})

describe('a seller that is not what it was', () => {
  const otherPayTo = `0x${'0c'.repeat(20)}` as const
  const moved = termsWith({
    payTo: otherPayTo,
    offers: [offerFor('llama3:8b', { offer: { payTo: otherPayTo } })],
  })

  test('is refused when it wants to be paid elsewhere, until it is itself again', async () => {
    const seller = await server()
    const { market, clock, saved } = await marketOf([seller.url])
    await sellersOf(market)
    seller.answer = answerTerms(moved)
    clock.nowMs += 60_001
    market.listModels()
    await vi.waitUntil(() => market.terms(seller.url) === null, patient)
    await expect(market.candidates('llama3:8b')).rejects.toMatchObject({
      code: 'no_seller',
      message: expect.stringContaining('payTo changed'),
    })
    expect(saved.get(seller.url)).toBe(JSON.stringify(encodeSellerTerms(termsWith())))
    seller.answer = answerTerms(termsWith())
    clock.nowMs += 60_001
    expect(await sellersOf(market)).toEqual([seller.url])
  })

  test('may have moved between two sessions', async () => {
    const seller = await server(moved)
    const { market, clock } = await marketOf([seller.url], { loadTerms: storedTerms(seller.url) })
    clock.nowMs += 60_001
    market.listModels()
    await vi.waitUntil(() => market.terms(seller.url)?.payTo === otherPayTo, patient)
    expect(await sellersOf(market)).toEqual([seller.url])
  })

  test('on another chain is refused by name', async () => {
    const seller = await server(termsWith({ network: 'eip155:8453' }))
    const { market } = await marketOf([seller.url])
    await expect(market.candidates('llama3:8b')).rejects.toMatchObject({
      code: 'no_seller',
      message: `${seller.url} is refused: its network is eip155:8453, ours is eip155:31337.`,
    })
  })
})

describe('why a model cannot be had', () => {
  test('nobody offers it, and near names are given', async () => {
    const seller = await server()
    const { market } = await marketOf([seller.url])
    await expect(market.candidates('llama3')).rejects.toMatchObject({
      code: 'model_not_found',
      hint: 'Did you mean "llama3:8b"?',
      details: { param: 'model', near: ['llama3:8b'] },
    })
  })

  test('no seller was told', async () => {
    const { market } = await marketOf([])
    await expect(market.candidates('m')).rejects.toMatchObject({
      code: 'no_seller',
      hint: expect.stringContaining('--seller'),
    })
  })

  test('the offers ran out and the seller is gone', async () => {
    const url = await deadUrl()
    const terms = termsWith({ offers: [offerFor('m', { offer: { validUntilSec: startMs / 1000 - 1 } })] })
    const { market } = await marketOf([url], { loadTerms: storedTerms(url, startMs, terms) })
    await expect(market.candidates('m')).rejects.toMatchObject({
      code: 'no_seller',
      message: expect.stringContaining('ECONNREFUSED'),
    })
  })

  test.each(['not json', '{}', 'x'.repeat(2_000_000)])(
    'the seller answers something else (%#)',
    async (text) => {
      const seller = await server()
      seller.answer = (_req, res) => res.end(text)
      const { market } = await marketOf([seller.url])
      await expect(market.candidates('m')).rejects.toMatchObject({ code: 'seller_unreachable' })
    },
  )
})

test('a client is given for sellers that were told, and for no other', async () => {
  const seller = await server()
  const { market } = await marketOf([seller.url])
  expect(market.client(seller.url).url).toBe(seller.url)
  expect(() => market.client('http://other')).toThrow(expect.objectContaining({ code: 'no_seller' }))
})
