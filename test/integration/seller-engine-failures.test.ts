/** Engines and requests that fail: a clear code, the right charge, the row closed, the slot given back. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { keccak256 } from '../../src/wire/keccak.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { depositDirectly, nowSec, openRawBuyer, type RawBuyer, type Wish } from '../fixtures/raw-buyer.ts'
import { call, type RawReply } from '../fixtures/raw-http.ts'
import { closedRow } from '../fixtures/seller-rows.ts'
import { gate, startScriptedEngine, type Script, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { startMuteEngine } from '../fixtures/odd-engine.ts'
import { openTestSeller } from '../fixtures/seller.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine
/** One slot, and deadlines that a test can wait for. */
let seller: Awaited<ReturnType<typeof openTestSeller>>
let buyer: RawBuyer

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
  seller = parts.use(
    await openTestSeller(chain, engine.url, {
      maxConcurrency: 1,
      firstByteTimeoutMs: 1_000,
      idleTimeoutMs: 1_000,
      maxBodyBytes: 64 * 1024,
    }),
  )
  buyer = await openRawBuyer(chain, seller.url, 1)
  await depositDirectly(buyer, 1_000_000n)
  // The first request loads the tokenizer, which must not count against the deadlines.
  engine.next({ usage: 'omit' })
  await expectServed()
})
afterAll(() => parts.disposeAsync())

let chargedBefore: bigint
beforeEach(() => {
  chargedBefore = seller.book.find(buyer.channelId)!.ledger.charged
})

/** The only slot is free, and the ledger is in order. */
async function expectServed(): Promise<void> {
  const reply = await buyer.chat()
  expect({ status: reply.status, code: reply.code }).toEqual({ status: 200, code: null })
  const { ledger } = seller.book.find(buyer.channelId)!
  expect(ledger.open.size).toBe(0)
  expect(ledger.charged).toBe(reply.receipt!.receipt.cumulative)
}

async function expectUncharged(id: `0x${string}`): Promise<void> {
  expect(await closedRow(seller, buyer.channelId, id)).toMatchObject({ charged: 0n, state: 'closed' })
  expect(seller.book.find(buyer.channelId)!.ledger.charged).toBe(chargedBefore)
}

const streamed = [false, true]

describe.for(streamed)('before the first token, stream: %s', (stream) => {
  const nonsense = stream ? 'engine_stream_broken' : 'engine_failed'
  const failures: [string, Script, number, string][] = [
    ['answers 500', { status: 500 }, 502, 'engine_failed'],
    ['is busy', { status: 503, errorBody: 'loading model' }, 429, 'rate_limit_exceeded'],
    [
      'answers 200 with an error',
      { status: 200, errorBody: { error: { message: 'no', code: 500 } } },
      502,
      'engine_failed',
    ],
    ['answers 200 with text that is no JSON', { status: 200, errorBody: '<html>' }, 502, nonsense],
    ['hangs before its headers', { hang: 'headers' }, 504, 'engine_timeout'],
    ['dies before its headers', { die: 'headers' }, 502, 'engine_failed'],
  ]
  test.for(failures)('an engine that %s', async ([, script, status, code]) => {
    engine.next(script)
    const { request, ...reply } = await buyer.chat({ stream })
    expect({ status: reply.status, code: reply.code }).toEqual({ status, code })
    expect(reply.headers['payment-response']).toBeUndefined()
    await expectUncharged(request.id)
    await expectServed()
  })

  test('an engine that refuses the request: the client learns why', async () => {
    const errorBody = {
      error: { message: 'temperature is too hot', type: 'invalid_request_error', code: 400 },
    }
    engine.next({ status: 400, errorBody })
    const { request, ...reply } = await buyer.chat({ stream, more: { temperature: 9 } })
    expect(reply).toMatchObject({ status: 400, code: 'invalid_request' })
    expect(reply.text).toContain('temperature is too hot')
    await expectUncharged(request.id)
    await expectServed()
  })
})

describe('in the middle of a stream', () => {
  const failures: [string, Script, string][] = [
    ['dies', { tokens: 20, die: 7 }, 'engine_stream_broken'],
    ['hangs', { tokens: 20, hang: 7 }, 'engine_timeout'],
    ['sends an error', { tokens: 20, errorAfter: 7 }, 'engine_failed'],
    ['sends garbage', { tokens: 20, garbageAfter: 7 }, 'engine_failed'],
  ]
  test.for(failures)(
    'an engine that %s: an error event, then the receipt of what was sent',
    async ([, script, code]) => {
      engine.next({ ...script, usage: 'omit' })
      const { request, ...reply } = await buyer.chat({ stream: true })
      expect(reply.status).toBe(200)
      expect(reply.words).toHaveLength(7)
      const [error, comment] = reply.events.slice(-2)
      expect(JSON.parse(error?.data ?? '')).toMatchObject({ error: { code } })
      expect(comment?.comment).toMatch(/^x402-payment-response /)
      expect(reply.text).not.toContain('[DONE]')
      const { receipt } = reply.receipt!
      expect(receipt).toMatchObject({ outputTokens: 7, responseHash: reply.responseHash })
      expect(receipt.charged).toBe(BigInt(receipt.inputTokens) * 2n + 7n * 6n)
      expect((await closedRow(seller, buyer.channelId, request.id)).charged).toBe(receipt.charged)
      await expectServed()
    },
  )

  test('an engine that dies after its first chunk without a token costs nothing', async () => {
    engine.next({ tokens: 20, die: 0 })
    const { request, ...reply } = await buyer.chat({ stream: true })
    expect(reply.receipt?.receipt.charged).toBe(0n)
    expect(reply.text).toContain('engine_stream_broken')
    await expectUncharged(request.id)
    await expectServed()
  })

  test('an engine that ends politely without [DONE] has ended', async () => {
    engine.next({ tokens: 4, omitDone: true })
    const { request, ...reply } = await buyer.chat({ stream: true })
    expect(reply.events.at(-1)?.data).toBe('[DONE]')
    expect((await closedRow(seller, buyer.channelId, request.id)).charged).toBe(
      reply.receipt!.receipt.charged,
    )
  })
})

describe('in the middle of a plain reply', () => {
  test.for([
    ['dies', { die: 1 }, 502, 'engine_stream_broken'],
    ['hangs', { hang: 1 }, 504, 'engine_timeout'],
    ['ends too early', { invalidJson: true }, 502, 'engine_failed'],
  ] as const)(
    'an engine that %s: nothing is delivered and nothing charged',
    async ([, script, status, code]) => {
      engine.next({ tokens: 50, ...script })
      const { request, ...reply } = await buyer.chat()
      expect({ status: reply.status, code: reply.code }).toEqual({ status, code })
      await expectUncharged(request.id)
      await expectServed()
    },
  )
})

test.for(streamed)('an engine that omits usage is counted by the seller, stream: %s', async (stream) => {
  engine.next({ tokens: 9, usage: 'omit' })
  const { receipt } = await buyer.chat({ stream })
  expect(receipt?.receipt.outputTokens).toBeGreaterThanOrEqual(9)
  expect(receipt?.receipt.inputTokens).toBeGreaterThan(0)
  await expectServed()
})

test.for(streamed)('an engine that reports nonsense is counted by the seller, stream: %s', async (stream) => {
  engine.next({ tokens: 9, usage: { prompt_tokens: -1, completion_tokens: '7', total_tokens: 1e18 } })
  const { receipt, request } = await buyer.chat({ stream })
  expect(receipt?.receipt.charged).toBeLessThanOrEqual(request.ceiling)
  expect(receipt?.receipt.outputTokens).toBeLessThan(50)
  await expectServed()
})

test.for([
  ['dies', 502, 'engine_stream_broken'],
  ['hangs', 504, 'engine_timeout'],
] as const)('an engine that %s between its headers and its first event', async ([how, status, code]) => {
  await using mute = await startMuteEngine(how)
  await using other = await openTestSeller(chain, mute.url, { firstByteTimeoutMs: 250 })
  const reader = await openRawBuyer(chain, other.url, 5)
  await depositDirectly(reader, 100_000n)
  const { request, ...reply } = await reader.chat({ stream: true })
  expect({ status: reply.status, code: reply.code }).toEqual({ status, code })
  expect(reply.headers['payment-response']).toBeUndefined()
  expect((await closedRow(other, reader.channelId, request.id)).charged).toBe(0n)
})

test('no engine at all', async () => {
  const gone = await startScriptedEngine()
  await using other = await openTestSeller(chain, gone.url)
  await gone.close()
  const [entry, reader] = [() => other.book.find(reader.channelId)!, await openRawBuyer(chain, other.url, 2)]
  await depositDirectly(reader, 100_000n)
  for (const stream of streamed) {
    const reply = await reader.chat({ stream })
    expect(reply).toMatchObject({ status: 502, code: 'engine_unavailable' })
    expect(reply.text).not.toContain(gone.url.slice(7))
  }
  expect(entry().ledger).toMatchObject({ charged: 0n })
  expect(entry().ledger.open.size).toBe(0)
})

describe('requests that never reach the engine', () => {
  const big = Buffer.from(JSON.stringify({ model: 'test-model', pad: 'x'.repeat(64 * 1024) }))
  const badUtf8 = Buffer.concat([
    Buffer.from('{"model":"test-model","messages":[{"role":"user","content":"'),
    Buffer.from([0xff, 0xfe]),
    Buffer.from('"}]}'),
  ])
  const broken: [string, Wish, number, string][] = [
    ['an unknown model', { body: { model: 'no-such-model', messages: [] } }, 404, 'model_not_found'],
    ['a body over the limit', { body: big }, 413, 'body_too_large'],
    ['a body that is no JSON', { body: Buffer.from('{"model":') }, 400, 'invalid_json'],
    ['a body that is no object', { body: Buffer.from('[1]') }, 400, 'invalid_json'],
    ['a body that is not UTF-8', { body: badUtf8 }, 400, 'invalid_json'],
    ['no body', { body: Buffer.alloc(0) }, 400, 'invalid_json'],
    ['no model', { body: { messages: [] } }, 400, 'invalid_request'],
    ['an impossible limit', { maxTokens: 0 }, 400, 'invalid_request'],
    ['a limit that is no number', { more: { max_tokens: 'many' } }, 400, 'invalid_request'],
    ['too many choices', { more: { n: 5 } }, 400, 'invalid_request'],
    ['a stream that is no boolean', { more: { stream: 'yes' } }, 400, 'invalid_request'],
    ['a compressed body', { headers: { 'content-encoding': 'gzip' } }, 400, 'invalid_request'],
  ]
  test.for(broken)('%s', async ([, wish, status, code]) => {
    const calls = engine.calls.length
    const reply = await buyer.send(await buyer.make({ voucher: buyer.charged + 5000n, ...wish }))
    expect({ status: reply.status, code: reply.code }).toEqual({ status, code })
    expect(engine.calls.length).toBe(calls)
    await expectServed()
  })

  test('a body over the limit that does not say its length', async () => {
    const request = await buyer.make()
    const { headers } = request
    const reply = await call(`${seller.url}/v1/chat/completions`, { headers, body: big, chunked: true })
    expect(reply).toMatchObject({ status: 413, code: 'body_too_large' })
    await expectServed()
  })

  test('other routes and methods', async () => {
    const get = await call(`${seller.url}/v1/nothing`, { method: 'GET' })
    expect(get).toMatchObject({ status: 404, code: 'not_found' })
    expect(await call(`${seller.url}/v1/chat/completions`, { method: 'DELETE' })).toMatchObject({
      status: 404,
    })
  })
})

test('unknown fields reach the engine as they are, and the limit is the one that was paid for', async () => {
  const more = { temperature: 0.5, custom: { deep: [1, 'two', null] }, max_tokens: 50, seed: 7 }
  const called = engine.nextCall()
  expect((await buyer.chat({ more })).status).toBe(200)
  expect((await called).body).toMatchObject(more)
  const spelled = engine.nextCall()
  const completion = { max_tokens: null, max_completion_tokens: 33 }
  expect((await buyer.chat({ more: completion })).status).toBe(200)
  expect((await spelled).body).toMatchObject({ max_completion_tokens: 33 })
})

test('nothing of the payment reaches the engine', async () => {
  const called = engine.nextCall()
  await buyer.chat({ headers: { authorization: 'Bearer secret', cookie: 'a=b' } })
  expect(Object.keys((await called).headers)).not.toEqual(
    expect.arrayContaining([expect.stringMatching(/payment|authorization|cookie/)]),
  )
})

test('a full seller says so before any payment, and serves again as soon as a slot is free', async () => {
  const door = gate()
  engine.next({ pause: { after: 'headers', gate: door } })
  const started = engine.nextCall()
  const request = await buyer.make()
  const running = buyer.send(request)
  await started
  const fresh = await openRawBuyer(chain, seller.url, 3)
  const refused: RawReply[] = [
    await fresh.chat({ deposit: 100_000n }),
    await buyer.chat({ voucher: buyer.charged + 2n * request.ceiling }),
    await call(`${seller.url}/v1/chat/completions`, { body: request.body }),
  ]
  for (const reply of refused) {
    expect(reply).toMatchObject({ status: 429, code: 'rate_limit_exceeded' })
    expect(Number(reply.headers['retry-after'])).toBeGreaterThan(0)
  }
  expect((await chain.escrow.channel(fresh.channelId)).balance).toBe(0n)
  expect(seller.book.find(buyer.channelId)!.ledger.open.size).toBe(1)
  door.open()
  buyer.book(await running)
  await expectServed()
})

test('a stock client that signed while another request ran is made to wait for its end, and then corrected', async () => {
  await using roomy = await openTestSeller(chain, engine.url)
  const stock = await openRawBuyer(chain, roomy.url, 4)
  await depositDirectly(stock, 100_000n)
  const door = gate()
  engine.next({ pause: { after: 'headers', gate: door } })
  const started = engine.nextCall()
  const first = stock.chat({ request: null })
  await started
  // Signed for what the first will have cost: until that is known it has to wait.
  const second = await stock.make({ request: null, say: 'second' })
  const waiting = stock.send(second)
  door.open()
  const charged = BigInt(String((await first).settlement?.extra?.['chargedAmount']))
  const reply = await waiting
  expect(charged).toBeGreaterThan(0n)
  expect(reply).toMatchObject({ status: 402 })
  const right = await stock.send(
    await stock.make({ request: null, say: 'third', voucher: charged + second.ceiling }),
  )
  expect(right.status).toBe(200)
})

test('a client whose clock is ahead is told so by the seller’s refusal', async () => {
  const reply = await buyer.chat({ admitBySec: nowSec() + 3600 })
  expect(reply).toMatchObject({ status: 402, reason: 'request_admit_by_too_far' })
  expect(keccak256(reply.bytes)).toBe(reply.responseHash)
})
