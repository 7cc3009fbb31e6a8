import { afterEach, describe, expect, test, vi } from 'vitest'
import {
  offerFor,
  sellerKey,
  sellerPayTo,
  startTermsServer,
  termsWith,
  testRules,
  type TermsServer,
} from '../../test/fixtures/buyer-market.ts'
import { silentLog } from '../base/log.ts'
import { openSellerClient } from '../net/seller-client.ts'
import { curve } from '../wire/curve.ts'
import type { AnnouncedSeller } from './announced.ts'
import type { Discovery } from './explain-none.ts'
import { openMarket } from './market.ts'
import { patient } from '../../test/fixtures/patient.ts'

const opened: { close: () => unknown }[] = []
afterEach(async () => {
  for (const part of opened.splice(0).toReversed()) await part.close()
})

async function server(...args: Parameters<typeof startTermsServer>): Promise<TermsServer> {
  const started = await startTermsServer(...args)
  opened.push({ close: () => started[Symbol.asyncDispose]() })
  return started
}

async function marketOf(discovery?: Discovery) {
  const market = await openMarket({
    ...testRules,
    urls: [],
    ...(discovery && { discovery }),
    clientFor: (url) => openSellerClient({ url, connectTimeoutMs: 5_000 }),
    saveTerms: async () => {},
    loadTerms: async () => [],
    now: () => 1_800_000_000_000,
    log: silentLog,
  })
  opened.push(market)
  return market
}

const model = (id: string, priceIn = 1n) => ({
  id,
  maxContext: 8192,
  maxOutput: 2048,
  priceIn,
  priceOut: 1n,
})

let nextPeer = 0
const announced = (url: string, over: Partial<AnnouncedSeller> = {}): AnnouncedSeller => ({
  peer: `peer ${(nextPeer += 1)}`,
  url,
  payTo: sellerPayTo,
  authorizer: curve.addressOf(sellerKey),
  models: [model('llama3:8b')],
  isFull: false,
  ...over,
})

const other = `0x${'0c'.repeat(20)}` as const

test('what is announced is bought under the terms of the seller itself', async () => {
  const seller = await server()
  const market = await marketOf()
  market.setSellers([announced(seller.url)])
  const [candidate] = await market.candidates('llama3:8b')
  expect(candidate).toMatchObject({ sellerUrl: seller.url, isFull: false })
  expect(candidate?.signedOffer.offer.priceIn).toBe(150_000n)
})

test('the whole market is listed, also before any terms are known', async () => {
  const market = await marketOf()
  market.setSellers([
    announced('http://127.0.0.1:1', { models: [model('a', 5n), model('b')] }),
    announced('http://127.0.0.1:2', { models: [model('a', 3n)] }),
  ])
  expect(market.listModels()).toEqual([
    { sellers: 2, ...model('a', 3n) },
    { sellers: 1, ...model('b') },
  ])
})

test.each([{ payTo: other }, { authorizer: other }])(
  'a seller whose terms differ from its record is refused (%#)',
  async (identity) => {
    const seller = await server()
    const market = await marketOf()
    market.setSellers([announced(seller.url, identity)])
    await expect(market.candidates('llama3:8b')).rejects.toMatchObject({
      code: 'no_seller',
      message: expect.stringContaining('not the announced one'),
    })
  },
)

test('a refused seller is looked at again when its record changes', async () => {
  const seller = await server()
  const market = await marketOf()
  market.setSellers([announced(seller.url, { payTo: other })])
  await expect(market.candidates('llama3:8b')).rejects.toMatchObject({ code: 'no_seller' })
  expect(market.listModels()).toEqual([])
  market.setSellers([announced(seller.url)])
  expect(await market.candidates('llama3:8b')).toHaveLength(1)
})

test('a seller that is no longer announced is not bought from, but what runs there goes on', async () => {
  const seller = await server()
  const market = await marketOf()
  market.setSellers([announced(seller.url)])
  await market.candidates('llama3:8b')
  market.setSellers([])
  await expect(market.candidates('llama3:8b')).rejects.toMatchObject({ code: 'no_seller' })
  expect(market.listModels()).toEqual([])
  expect(market.client(seller.url).url).toBe(seller.url)
})

test('a seller that announces no free slot is marked as full', async () => {
  const seller = await server()
  const market = await marketOf()
  market.setSellers([announced(seller.url, { isFull: true })])
  expect(await market.candidates('llama3:8b')).toMatchObject([{ isFull: true }])
})

test('of a large market a few sellers are asked, and those of a model once somebody wants it', async () => {
  const rare = await server(termsWith({ offers: [offerFor('rare')] }))
  const cheap = Array.from({ length: 200 }, (_, n) =>
    announced(`http://127.0.0.1:${n + 1}`, { models: [model(`m${n}`)] }),
  )
  const market = await marketOf()
  market.setSellers([...cheap, announced(rare.url, { models: [model('rare', 999n)] })])
  expect(rare.asked).toBe(0)
  expect(await market.candidates('rare')).toMatchObject([{ sellerUrl: rare.url }])
})

describe('of a large market where the cheapest are not to be bought from', () => {
  const manyLike = (url: (n: number) => string, over: Partial<AnnouncedSeller> = {}) =>
    Array.from({ length: 100 }, (_, n) => announced(url(n), { models: [model('llama3:8b', 0n)], ...over }))

  test('because they are dead, a request still finds one that is well', async () => {
    const seller = await server()
    const market = await marketOf()
    const dead = manyLike((n) => `http://127.0.0.1:${n + 1}`)
    market.setSellers([...dead, announced(seller.url, { models: [model('llama3:8b', 999n)] })])
    expect((await market.candidates('llama3:8b')).map(({ sellerUrl }) => sellerUrl)).toEqual([seller.url])
  })

  test('because they are not whom they were announced to be, a request still finds one that is well', async () => {
    const seller = await server()
    const liar = await server()
    const market = await marketOf()
    const lies = manyLike((n) => `${liar.url}/${n}`, { payTo: other })
    market.setSellers([...lies, announced(seller.url, { models: [model('llama3:8b', 999n)] })])
    expect((await market.candidates('llama3:8b')).map(({ sellerUrl }) => sellerUrl)).toEqual([seller.url])
  })

  test('because they fail at requests, others are looked at too', async () => {
    const market = await marketOf()
    const bad = await server(termsWith({ offers: [offerFor('llama3:8b', { offer: { priceIn: 1n } })] }))
    const seller = await server()
    const failing = manyLike((n) => `${bad.url}/${n}`)
    market.setSellers([...failing, announced(seller.url, { models: [model('llama3:8b', 999n)] })])
    const look = () => market.candidates('llama3:8b')
    let known = await look()
    while (!known.some(({ sellerUrl }) => sellerUrl === seller.url)) {
      for (const { sellerUrl } of known) market.report(sellerUrl, { kind: 'failed' })
      await vi.waitUntil(async () => (await look()).length > known.length, patient)
      known = await look()
    }
  })
})

const silent = () => Promise.withResolvers<void>().promise

test('a request waits for the first news of its model, and no longer', async () => {
  const seller = await server()
  const market = await marketOf({ look: silent, failures: () => [] })
  const asked = market.candidates('llama3:8b')
  market.setSellers([announced(seller.url)])
  expect(await asked).toHaveLength(1)
})

test('a request for a model that nobody sells ends as soon as everybody was asked', async () => {
  const seller = await server()
  const looked = Promise.withResolvers<void>()
  const market = await marketOf({ look: () => looked.promise, failures: () => [] })
  market.setSellers([announced(seller.url)])
  await market.candidates('llama3:8b')
  const asked = market.candidates('other')
  looked.resolve()
  await expect(asked).rejects.toMatchObject({ code: 'model_not_found' })
})

test('a seller that is announced while a dead one is asked serves the request', async () => {
  const seller = await server()
  const gone = await server()
  gone.answer = () => {}
  const market = await marketOf({ look: silent, failures: () => [] })
  market.setSellers([announced(gone.url)])
  const asked = market.candidates('llama3:8b')
  market.setSellers([announced(gone.url), announced(seller.url)])
  expect(await asked).toMatchObject([{ sellerUrl: seller.url }])
})

test('every request tells what is looked for', async () => {
  const seller = await server()
  const looked: string[] = []
  const market = await marketOf({ look: async (model) => void looked.push(model), failures: () => [] })
  market.setSellers([announced(seller.url)])
  await market.candidates('llama3:8b')
  await market.candidates('llama3:8b')
  expect(looked).toEqual(['llama3:8b', 'llama3:8b'])
})

test('when nobody answers a request ends with what to do', async () => {
  const market = await marketOf({ look: silent, failures: () => [] })
  await expect(market.candidates('m')).rejects.toMatchObject({
    code: 'no_seller',
    hint: expect.stringContaining('--registry'),
  })
})
