/** Paying a seller that nobody can dial: over a relay, through everything that can happen to one, exact to the unit. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { settled } from '../fixtures/buyer.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import {
  expectExact,
  knows,
  listening,
  openPeerBuyer,
  openPeerSeller,
  startRelay,
} from '../fixtures/p2p-market.ts'
import { freshSellerKey } from '../fixtures/seller-process.ts'
import { gate, startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { patient } from '../fixtures/patient.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
})
afterAll(() => parts.disposeAsync())

const errorOf = (text: string) => (JSON.parse(text) as { error: { code: string; message: string } }).error

test('plain and streamed requests are paid over a relay', async () => {
  await using relay = await startRelay(chain)
  await using seller = await openPeerSeller(chain, engine.url, [relay.url])
  await using buyer = await openPeerBuyer(chain, [relay.url])
  await knows(buyer, seller)
  const plain = await buyer.chat()
  expect(plain.status).toBe(200)
  expect(plain.headers.get('x-openseed-seller')).toBe(seller.address)
  expect(plain.headers.get('x-openseed-path')).toBe('relayed')
  const streamed = await buyer.chat({ stream: true, content: 'tokens=40' })
  expect(streamed.text).toMatch(/data: \[DONE\]\n\n$/)
  expect(
    (await Promise.all(Array.from({ length: 5 }, () => buyer.chat()))).map(({ status }) => status),
  ).toEqual(Array(5).fill(200))
  await expectExact(buyer, seller, chain)
})

test('the first request may come before the buyer has met anybody', async () => {
  await using relay = await startRelay(chain)
  await using seller = await openPeerSeller(chain, engine.url, [relay.url])
  await vi.waitUntil(
    async () => (await relay.client.sellers())?.listings.some(({ record }) => record.body.addrs.length > 0),
    patient,
  )
  await using buyer = await openPeerBuyer(chain, [relay.url])
  const reply = await buyer.chat()
  expect(reply.headers.get('x-openseed-seller')).toBe(seller.address)
  expect(reply.headers.get('x-openseed-path')).toBe('relayed')
  await expectExact(buyer, seller, chain)
})

test('a seller that can be dialled is met directly', async () => {
  await using relay = await startRelay(chain)
  await using seller = await openPeerSeller(chain, engine.url, [relay.url], { listen: listening })
  await using buyer = await openPeerBuyer(chain, [relay.url])
  await knows(buyer, seller)
  const reply = await buyer.chat()
  expect(reply.headers.get('x-openseed-seller')).toBe(seller.address)
  expect(reply.headers.get('x-openseed-path')).toBe('direct')
  await expectExact(buyer, seller, chain)
})

test('a relay that dies in the middle of a stream breaks it, and what it cost is known once the relay is back', async () => {
  const relay = await startRelay(chain)
  await using seller = await openPeerSeller(chain, engine.url, [relay.url])
  await using buyer = await openPeerBuyer(chain, [relay.url])
  await knows(buyer, seller)
  const door = gate()
  engine.next({ tokens: 30, pause: { after: 10, gate: door } })
  const called = engine.nextCall()
  const answer = buyer.chat({ stream: true })
  const call = await called
  await vi.waitUntil(() => call.sent === 10, patient)
  await relay[Symbol.asyncDispose]()
  door.open()
  const { text, headers } = await answer
  expect(headers.get('x-openseed-path')).toBe('relayed')
  expect(text).toContain('seller_stream_broken')
  const refused = await buyer.chat()
  if (refused.status !== 200)
    expect(errorOf(refused.text).code).toMatch(/seller_unreachable|money_outcome_unknown/)
  await using back = await relay.again()
  await vi.waitUntil(() => back.node.index.counts.live === 1, patient)
  await vi.waitUntil(async () => (await buyer.chat()).status === 200, { timeout: 20_000, interval: 200 })
  await expectExact(buyer, seller, chain)
})

test('a seller that restarts is paid on the same channel', async () => {
  await using relay = await startRelay(chain)
  const key = await freshSellerKey(chain)
  const first = await openPeerSeller(chain, engine.url, [relay.url], { seller: { key } })
  await using buyer = await openPeerBuyer(chain, [relay.url])
  await knows(buyer, first)
  expect((await buyer.chat()).status).toBe(200)
  await settled(buyer)
  await first.abandon()
  const { folder } = first
  await using second = await openPeerSeller(chain, engine.url, [relay.url], { seller: { folder, key } })
  expect(second.address).toBe(first.address)
  await vi.waitUntil(async () => (await buyer.chat()).status === 200, { timeout: 20_000, interval: 200 })
  await expectExact(buyer, second, chain)
})

test('when the relayed seller is gone, another one serves before the first byte', async () => {
  await using relay = await startRelay(chain)
  await using steady = await openPeerSeller(chain, engine.url, [relay.url], { factor: 3n, listen: listening })
  const dying = await openPeerSeller(chain, engine.url, [relay.url])
  await using buyer = await openPeerBuyer(chain, [relay.url])
  await knows(buyer, steady, dying)
  expect((await buyer.chat()).headers.get('x-openseed-seller')).toBe(dying.address)
  await dying.abandon()
  const startedMs = performance.now()
  const reply = await buyer.chat({ stream: true })
  expect(performance.now() - startedMs).toBeLessThan(20_000)
  expect(reply.headers.get('x-openseed-seller')).toBe(steady.address)
  expect(reply.text).toMatch(/data: \[DONE\]\n\n$/)
})

test('a seller that its user names by peer id is found through the registries', async () => {
  await using relay = await startRelay(chain)
  await using seller = await openPeerSeller(chain, engine.url, [relay.url])
  await vi.waitUntil(() => relay.node.index.counts.live === 1, patient)
  await using buyer = await openPeerBuyer(chain, [relay.url], { told: [seller.address] })
  await vi.waitUntil(async () => (await buyer.chat()).status === 200, { timeout: 15_000, interval: 200 })
  await expectExact(buyer, seller, chain)
})
