/** The stock x402 client, unmodified, pays our seller by batch-settlement. */
import { x402Client } from '@x402/core/client'
import { BatchSettlementEvmScheme } from '@x402/evm/batch-settlement/client'
import { toClientEvmSigner } from '@x402/evm'
import { wrapFetchWithPayment } from '@x402/fetch'
import { createPublicClient, http } from 'viem'
import { privateKeyToAccount } from 'viem/accounts'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { openTestSeller } from '../fixtures/seller.ts'

let chain: TestChain
let engine: ScriptedEngine
let seller: Awaited<ReturnType<typeof openTestSeller>>

beforeAll(async () => {
  chain = await openTestChain({ chainId: 84_532 })
  engine = await startScriptedEngine()
  seller = await openTestSeller(chain, engine.url)
})
afterAll(async () => {
  await seller?.[Symbol.asyncDispose]()
  await engine?.close()
  await chain?.[Symbol.asyncDispose]()
})

/** With `rpc` the client can read the chain, as it must to recover a channel it forgot. */
function openStockClient(salt: `0x${string}`, rpc = false) {
  const account = privateKeyToAccount(accounts.payer.key)
  const signer = rpc
    ? toClientEvmSigner(account, createPublicClient({ transport: http(chain.url) }))
    : account
  const scheme = new BatchSettlementEvmScheme(signer, { salt })
  const statuses: number[] = []
  const counting: typeof fetch = async (input, init) => {
    const reply = await fetch(input, init)
    statuses.push(reply.status)
    return reply
  }
  const paidFetch = wrapFetchWithPayment(counting, new x402Client().register('eip155:84532', scheme))
  const chat = (stream: boolean, tokens = 20) =>
    paidFetch(`${seller.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'test-model',
        stream,
        max_tokens: 200,
        messages: [{ role: 'user', content: `tokens=${tokens}` }],
      }),
    })
  return { scheme, statuses, chat }
}

const saltOf = (n: number) => `0x${n.toString(16).padStart(64, '0')}` as const

test('a stock client pays for plain and streamed completions without one corrective round trip, and gets the rest back', async () => {
  const { scheme, statuses, chat } = openStockClient(saltOf(1))
  for (const stream of [false, true, true, false, true, false]) {
    const reply = await chat(stream)
    expect(reply.status).toBe(200)
    const text = await reply.text()
    if (stream) expect(text).toContain('data: [DONE]')
    else expect(JSON.parse(text).usage.completion_tokens).toBe(20)
  }
  // Each call is one 402 and one 200; a correction would be a second 402.
  expect(statuses).toEqual([402, 200, 402, 200, 402, 200, 402, 200, 402, 200, 402, 200])
  const [entry] = [...seller.book.entries()]
  expect(entry?.ledger.charged).toBeGreaterThan(0n)

  const before = await chain.escrow.tokenBalance(accounts.payer.address)
  const settled = await scheme.refund(`${seller.url}/v1/chat/completions`)
  expect(settled.success).toBe(true)
  const charged = entry!.ledger.charged
  const deposited = BigInt(100_000)
  expect(await chain.escrow.tokenBalance(accounts.payer.address)).toBe(before + deposited - charged)
  expect((await chain.escrow.channel(entry!.id)).totalClaimed).toBe(charged)
})

test('a stock client that lost its state is corrected once and goes on', async () => {
  const first = openStockClient(saltOf(2), true)
  expect((await first.chat(false)).status).toBe(200)
  const second = openStockClient(saltOf(2), true)
  const reply = await second.chat(false)
  expect(reply.status).toBe(200)
})

test('five concurrent copies of one paid stock request run the engine once', async () => {
  const { chat } = openStockClient(saltOf(3))
  expect((await chat(false)).status).toBe(200)
  const sent: RequestInit[] = []
  const scheme = new BatchSettlementEvmScheme(privateKeyToAccount(accounts.payer.key), { salt: saltOf(4) })
  const recording: typeof fetch = async (input, init) => {
    const request = new Request(input, init)
    const headers = Object.fromEntries(request.headers)
    const body = await request.text()
    sent.push({ method: 'POST', headers, body })
    return fetch(request.url, { method: 'POST', headers, body })
  }
  const paid = wrapFetchWithPayment(recording, new x402Client().register('eip155:84532', scheme))
  const url = `${seller.url}/v1/chat/completions`
  const body = JSON.stringify({
    model: 'test-model',
    max_tokens: 50,
    messages: [{ role: 'user', content: 'tokens=5' }],
  })
  expect(
    (await paid(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })).status,
  ).toBe(200)
  const callsBefore = engine.calls.length
  const copies = await Promise.all(Array.from({ length: 5 }, () => fetch(url, sent.at(-1))))
  expect(copies.map((copy) => copy.status)).toEqual([402, 402, 402, 402, 402])
  expect(engine.calls.length).toBe(callsBefore)
})
