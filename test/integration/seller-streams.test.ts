/** Paid streams: the receipt and its proof, the ceiling, leaving clients, slow clients. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { curve } from '../../src/wire/curve.ts'
import { keccak256 } from '../../src/wire/keccak.ts'
import { chargeFor } from '../../src/wire/price.ts'
import { verifyReceipt, type Receipt } from '../../src/wire/receipt.ts'
import { parseSettlementResponse, paymentResponseComment } from '../../src/wire/x402.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { depositDirectly, openRawBuyer, type RawBuyer, type RawRequest } from '../fixtures/raw-buyer.ts'
import { startPaddedEngine } from '../fixtures/odd-engine.ts'
import { call, type RawReply } from '../fixtures/raw-http.ts'
import { gate, startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { closedRow } from '../fixtures/seller-rows.ts'
import { openTestSeller } from '../fixtures/seller.ts'

// Long before any limit of the seller's own would end it; how fast it is, the bench says.
const soonMs = 2000

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine
let seller: Awaited<ReturnType<typeof openTestSeller>>
let buyer: RawBuyer

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
  seller = parts.use(await openTestSeller(chain, engine.url))
  buyer = await openRawBuyer(chain, seller.url, 1)
  await depositDirectly(buyer, 1_000_000n)
})
afterAll(() => parts.disposeAsync())

const priceOf = (receipt: Receipt, { ceiling }: RawRequest) =>
  chargeFor(receipt, buyer.offer.offer, buyer.offer.details.min, ceiling)

/** The receipt is signed by the seller, names these very bytes, and its charge is the price of its tokens. */
function expectProof(reply: RawReply, request: RawRequest): Receipt {
  const { receipt } = reply.receipt!
  expect(verifyReceipt(chain.digests, curve, reply.receipt!, buyer.config.receiverAuthorizer)).toBe(true)
  expect(receipt.responseHash).toBe(reply.responseHash)
  expect(receipt.requestId).toBe(request.id)
  expect(receipt.offerHash).toBe(buyer.offer.hash)
  expect(receipt.charged).toBe(priceOf(receipt, request))
  expect(receipt.charged).toBeLessThanOrEqual(request.ceiling)
  expect(receipt.cumulative).toBe(seller.book.find(buyer.channelId)!.ledger.charged)
  return receipt
}

test('the receipt is the last line before [DONE] and proves what was delivered and charged', async () => {
  const { request, ...reply } = await buyer.chat({ stream: true, say: 'tokens=20 prompt=11 cached=3' })
  expect(reply.status).toBe(200)
  expect(reply.words).toHaveLength(20)
  const [comment, done] = reply.events.slice(-2)
  expect(comment?.comment).toMatch(new RegExp(`^${paymentResponseComment}`))
  expect(done?.data).toBe('[DONE]')
  const receipt = expectProof(reply, request)
  expect(receipt).toMatchObject({ inputTokens: 11, cachedTokens: 3, outputTokens: 20 })
  expect(receipt.charged).toBe(8n * 2n + 3n + 20n * 6n)
  const held = parseSettlementResponse(reply.headers['payment-response'])
  expect(held.extra?.['chargedAmount']).toBe(request.ceiling.toString())
  expect(reply.headers['x-openseed-ceiling']).toBe(request.ceiling.toString())
})

test('the usage chunk is hidden unless the client asked for it', async () => {
  const usageIn = (reply: RawReply) => reply.events.filter(({ data }) => /"usage":\{/.test(data ?? ''))
  expect(usageIn(await buyer.chat({ stream: true }))).toEqual([])
  const asked = await buyer.chat({ stream: true, more: { stream_options: { include_usage: true } } })
  expect(usageIn(asked)).toHaveLength(1)
  expectProof(asked, asked.request)
  expect(engine.calls.slice(-2).map(({ body }) => body['stream_options'])).toEqual([
    { include_usage: true },
    { include_usage: true },
  ])
})

test('events are cut anywhere, in CRLF, with bytes of several per character: the hash still fits', async () => {
  engine.next({ tokens: 12, crlf: true, splitUtf8: true, comments: true })
  const { request, ...reply } = await buyer.chat({ stream: true })
  expectProof(reply, request)
  expect(reply.words.join('')).toContain('日本11🎉')
})

test('an engine that ignores the limit is stopped there, and what was not sold is not charged', async () => {
  engine.next({ tokens: 5000, ignoreMaxTokens: true })
  const started = engine.nextCall()
  const { request, ...reply } = await buyer.chat({ stream: true, maxTokens: 30 })
  await (
    await started
  ).aborted
  const receipt = expectProof(reply, request)
  expect(reply.words).toHaveLength(30)
  expect(receipt.outputTokens).toBe(30)
  expect(reply.text).toContain('"finish_reason":"length"')
  expect(reply.events.at(-1)?.data).toBe('[DONE]')
})

test('prompt and output that use all that was signed are charged up to the ceiling and not beyond', async () => {
  const promptTokens = 256 + (await buyer.make({ stream: true, maxTokens: 100 })).body.length
  engine.next({ tokens: 5000, ignoreMaxTokens: true, promptTokens, usage: 'continuous' })
  const started = engine.nextCall()
  const { request, ...reply } = await buyer.chat({ stream: true, maxTokens: 100 })
  await (
    await started
  ).aborted
  const receipt = expectProof(reply, request)
  expect(receipt).toMatchObject({ inputTokens: promptTokens, outputTokens: 100 })
  // The ceiling is this sum, rounded up by less than a tenth.
  expect(receipt.charged * 11n).toBeGreaterThan(request.ceiling * 10n)
  expect(reply.text).toContain('"finish_reason":"length"')
  expect(reply.events.at(-1)?.data).toBe('[DONE]')
})

test.for([1, 7, 40])(
  'a client that leaves at chunk %i closes the engine call and pays what was produced',
  async (k) => {
    const door = gate()
    engine.next({ tokens: 60, usage: 'omit', pause: { after: k, gate: door } })
    const started = engine.nextCall()
    const stream = await buyer.stream()
    const engineCall = await started
    expect(await stream.words(k)).toBe(true)
    const leftAtMs = stream.leave()
    expect((await engineCall.aborted) - leftAtMs).toBeLessThan(soonMs)
    const row = await closedRow(seller, buyer.channelId, stream.request.id)
    const receipt = await receiptOf(stream.request)
    expect(receipt.outputTokens).toBe(k)
    expect(row.charged).toBe(priceOf(receipt, stream.request))
    const [final] = (await buyer.status([stream.request.id])).finals
    expect(final).toMatchObject({ state: 'final', receipt: { receipt: { charged: row.charged } } })
    buyer.charged = row.cumulative
  },
)

test('a client that leaves before the first chunk pays nothing', async () => {
  const door = gate()
  engine.next({ pause: { after: 'headers', gate: door } })
  const started = engine.nextCall()
  const request = await buyer.make({ stream: true })
  const away = new AbortController()
  const sent = buyer.send(request, away.signal)
  const engineCall = await started
  const leftAtMs = performance.now()
  away.abort()
  await expect(sent).rejects.toThrow()
  expect((await engineCall.aborted) - leftAtMs).toBeLessThan(soonMs)
  expect((await closedRow(seller, buyer.channelId, request.id)).charged).toBe(0n)
})

test('the next request after a lost outcome brings its final along', async () => {
  engine.next({ tokens: 50, pause: { after: 5, gate: gate() } })
  const lost = await buyer.stream()
  await lost.words(5)
  lost.leave()
  const row = await closedRow(seller, buyer.channelId, lost.request.id)
  const never = keccak256('a request that never arrived')
  const voucher = lost.request.ceiling + buyer.charged + 3000n
  const reply = await buyer.chat({ voucher, stream: true, signed: { unresolved: [lost.request.id, never] } })
  expect(reply.finals).toMatchObject([
    { state: 'final', id: lost.request.id, receipt: { receipt: { charged: row.charged } } },
    { state: 'final', id: never, receipt: { receipt: { charged: 0n } } },
  ])
})

test('a client that takes trailers finds the same settlement there', async () => {
  const reply = await buyer.chat({ stream: true, headers: { te: 'trailers' } })
  const comment = reply.events.at(-2)?.comment?.slice(paymentResponseComment.length)
  expect(reply.trailers['payment-response']).toBe(comment)
  const without = await buyer.chat({ stream: true })
  expect(without.trailers).toEqual({})
})

test('a slow reader stops the engine instead of filling the memory, and gets everything in the end', async () => {
  const events = 500
  await using padded = await startPaddedEngine(events)
  await using other = await openTestSeller(chain, padded.url)
  const reader = await openRawBuyer(chain, other.url, 3)
  await depositDirectly(reader, 100_000n)
  const request = await reader.make({ stream: true, maxTokens: 1000 })
  const socket = sendRaw(other.url, request)
  let [before, quiet] = [0, 0]
  while (quiet < 20) {
    quiet = padded.sent > 0 && padded.sent === before ? quiet + 1 : 0
    before = padded.sent
    // A whole request in the meantime: the seller has had its chance to read on.
    expect((await call(`${other.url}/v1/models`, { method: 'GET' })).status).toBe(200)
  }
  expect(padded.sent).toBeLessThan(events)
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk)).resume()
  await once(socket, 'end')
  expect(Buffer.concat(chunks).toString()).toContain('data: [DONE]')
  const row = await closedRow(other, reader.channelId, request.id)
  expect(row.charged).toBeGreaterThanOrEqual(BigInt(events * 6))
})

/** Sends a request over a socket that reads nothing until it is resumed. */
function sendRaw(url: string, request: RawRequest): Socket {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port) }).pause()
  const headers = {
    ...request.headers,
    host: hostname,
    'content-length': String(request.body.length),
    connection: 'close',
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`)
  socket.write(['POST /v1/chat/completions HTTP/1.1', ...lines, '', ''].join('\r\n'))
  socket.write(request.body)
  return socket
}

test('stock clients get no receipt, but the settlement they book', async () => {
  const stock = await openRawBuyer(chain, seller.url, 2)
  const reply = await stock.chat({ stream: true, request: null, deposit: 100_000n })
  expect(reply.status).toBe(200)
  expect(reply.receipt).toBeNull()
  expect(BigInt(String(reply.settlement?.extra?.['chargedAmount']))).toBeGreaterThan(0n)
})

async function receiptOf({ id }: RawRequest): Promise<Receipt> {
  const [final] = (await buyer.status([id])).finals
  if (final?.state !== 'final') throw new Error('still open')
  return final.receipt.receipt
}
