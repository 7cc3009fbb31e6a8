/** mppx, an x402 client by other authors, unmodified, pays our seller by exact. */
import { evm, Mppx } from 'mppx/client'
import { privateKeyToAccount } from 'viem/accounts'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parsePaymentRequired, parseSettlementResponse } from '../../src/wire/x402.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { openTestSeller } from '../fixtures/seller.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine
let seller: Awaited<ReturnType<typeof openTestSeller>>

beforeAll(async () => {
  chain = parts.use(await openTestChain({ chainId: 84_532 }))
  engine = parts.use(await startScriptedEngine())
  seller = parts.use(await openTestSeller(chain, engine.url))
})
afterAll(() => parts.disposeAsync())

const request = (stream: boolean) => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify({
    model: 'test-model',
    stream,
    max_tokens: 100,
    messages: [{ role: 'user', content: 'tokens=12' }],
  }),
})

test.for([false, true])('it pays for a completion, streamed: %s', async (stream) => {
  const account = privateKeyToAccount(accounts.payer.key)
  const { fetch: paidFetch } = Mppx.create({ methods: [evm({ account })], polyfill: false })
  const url = `${seller.url}/v1/chat/completions`
  const asked = parsePaymentRequired((await fetch(url, request(stream))).headers.get('payment-required'))
  const before = await chain.escrow.tokenBalance(accounts.receiver.address)

  const reply = await paidFetch(url, request(stream))
  expect(reply.status).toBe(200)
  expect(parseSettlementResponse(reply.headers.get('payment-response'))).toMatchObject({ success: true })
  const text = await reply.text()
  if (stream) expect(text).toContain('data: [DONE]')
  else expect(JSON.parse(text).usage.completion_tokens).toBe(12)
  const [, exact] = asked.accepts
  expect((await chain.escrow.tokenBalance(accounts.receiver.address)) - before).toBe(BigInt(exact!.amount))
})
