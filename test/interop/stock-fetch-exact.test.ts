/** The stock x402 client, unmodified, pays our seller by exact: one transfer for each request. */
import { x402Client } from '@x402/core/client'
import { ExactEvmScheme } from '@x402/evm/exact/client'
import { decodePaymentResponseHeader, wrapFetchWithPayment } from '@x402/fetch'
import { privateKeyToAccount } from 'viem/accounts'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parsePaymentPayload, parseSettlementResponse } from '../../src/wire/x402.ts'
import { parseReceiptExtension } from '../../src/wire/extension.ts'
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

const url = () => `${seller.url}/v1/chat/completions`
const bodyOf = (stream: boolean, say: string) =>
  JSON.stringify({
    model: 'test-model',
    stream,
    max_tokens: 200,
    messages: [{ role: 'user', content: say }],
  })

/** Every request it sends is kept. */
function openStockClient() {
  const sent: { status: number; payment: string | null; body: string }[] = []
  const recording: typeof fetch = async (input, init) => {
    const request = new Request(input, init)
    const body = await request.clone().text()
    const payment = request.headers.get('payment-signature')
    const reply = await fetch(request)
    sent.push({ status: reply.status, payment, body })
    return reply
  }
  const scheme = new ExactEvmScheme(privateKeyToAccount(accounts.payer.key))
  const paid = wrapFetchWithPayment(recording, new x402Client().register('eip155:84532', scheme))
  const headers = { 'content-type': 'application/json' }
  const chat = (stream: boolean, say = 'tokens=20') =>
    paid(url(), { method: 'POST', headers, body: bodyOf(stream, say) })
  return { sent, chat }
}

const earned = () => chain.escrow.tokenBalance(accounts.receiver.address)

test('it pays for plain and streamed completions, each by the ceiling the 402 named', async () => {
  const { sent, chat } = openStockClient()
  const asked = await fetch(url(), { method: 'POST', body: bodyOf(false, 'hi') })
  // Servers and proxies in between take no longer ones.
  expect(asked.headers.get('payment-required')!.length).toBeLessThan(4096)
  for (const stream of [false, true, true, false]) {
    const before = await earned()
    const reply = await chat(stream)
    expect(reply.status).toBe(200)
    const header = reply.headers.get('payment-response')!
    const settled = decodePaymentResponseHeader(header)
    expect(settled).toMatchObject({ success: true, network: 'eip155:84532', payer: accountOf('payer') })
    // Final before the first byte of the answer is read.
    const receipt = await chain.rpc.send('eth_getTransactionReceipt', [settled.transaction])
    expect(receipt).toMatchObject({ status: '0x1' })
    const { accepted } = parsePaymentPayload(sent.at(-1)?.payment)
    expect(accepted).toMatchObject({ scheme: 'exact', extra: { name: 'USDC', version: '2' } })
    expect((await earned()) - before).toBe(BigInt(accepted.amount))
    const text = await reply.text()
    if (stream) expect(text).toMatch(/: x402-payment-response [\w+/=]+\n\ndata: \[DONE\]\n\n$/)
    else expect(JSON.parse(text).usage.completion_tokens).toBe(20)
    const last = stream ? /x402-payment-response ([\w+/=]+)/.exec(text)?.[1] : header
    const { receipt: signed } = parseReceiptExtension(parseSettlementResponse(last).extensions)
    expect(signed?.receipt).toMatchObject({ outputTokens: 20, charged: BigInt(accepted.amount) })
  }
  expect(sent.map(({ status }) => status)).toEqual([402, 200, 402, 200, 402, 200, 402, 200])
})

test('copies of one paid request run the engine once, together or later', async () => {
  const { sent, chat } = openStockClient()
  const mark = 'tokens=3 copied'
  expect((await chat(false, mark)).status).toBe(200)
  const callsOfMark = () => engine.calls.filter(({ body }) => JSON.stringify(body).includes('copied')).length
  expect(callsOfMark()).toBe(1)
  const before = await earned()
  const { payment, body } = sent.at(-1)!
  const again = (other = body) =>
    fetch(url(), {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'payment-signature': payment! },
      body: other,
    })
  const copies = await Promise.all(Array.from({ length: 5 }, () => again()))
  for (const { status } of copies) expect([200, 409]).toContain(status)
  expect((await again()).status).toBe(200)
  const forged = await again(bodyOf(false, 'tokens=3 another copied'))
  expect(forged.status).toBe(402)
  expect(callsOfMark()).toBe(1)
  expect(await earned()).toBe(before)
})

test('an engine that fails before its first token costs nothing, and the authorization stays unused', async () => {
  const { sent, chat } = openStockClient()
  const before = await earned()
  for (const stream of [false, true]) {
    const reply = await chat(stream, 'status=500')
    expect(reply.status).toBe(502)
    expect(reply.headers.get('payment-response')).toBeNull()
  }
  expect((await chat(true, 'die=0')).status).toBe(502)
  expect(await earned()).toBe(before)
  for (const { payment } of sent.filter(({ payment }) => payment !== null)) {
    const { authorization } = parsePaymentPayload(payment).payload as {
      authorization: { nonce: `0x${string}` }
    }
    expect(await chain.escrow.authorizationUsed(accounts.payer.address, authorization.nonce)).toBe(false)
  }
})

const accountOf = (name: 'payer') => privateKeyToAccount(accounts[name].key).address
