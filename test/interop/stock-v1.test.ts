/** Our buyer pays a server of version 1 of x402, judged and settled by the official facilitator for it. */
import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ExactEvmSchemeV1 } from '@x402/evm/exact/v1/facilitator'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { checksummed } from '../../src/wire/hex.ts'
import { newWallet, openTestBuyer } from '../fixtures/buyer.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { openFacilitatorSigner } from '../fixtures/stock-server.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let url: string
const received: string[] = []

beforeAll(async () => {
  chain = parts.use(await openTestChain({ chainId: 84_532 }))
  const facilitator = new ExactEvmSchemeV1(await openFacilitatorSigner(chain))
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    await request.toArray()
    if (request.method !== 'POST') return send(response, 404, {})
    const requirements = {
      scheme: 'exact',
      network: 'base-sepolia',
      maxAmountRequired: '10000',
      resource: `${url}/v1/chat/completions`,
      description: 'inference',
      mimeType: 'application/json',
      payTo: checksummed(accounts.receiver.address),
      maxTimeoutSeconds: 60,
      asset: checksummed(chain.network.asset),
      extra: { name: 'USDC', version: '2' },
    }
    const refuse = (error: string) => send(response, 402, { x402Version: 1, error, accepts: [requirements] })
    const header = request.headers['x-payment']
    if (typeof header !== 'string') return refuse('X-PAYMENT header is required')
    received.push(header)
    const payment = JSON.parse(Buffer.from(header, 'base64').toString()) as never
    const verdict = await facilitator.verify(payment, requirements as never)
    if (!verdict.isValid) return refuse(verdict.invalidReason ?? 'invalid')
    const settled = await facilitator.settle(payment, requirements as never)
    response.setHeader('x-payment-response', Buffer.from(JSON.stringify(settled)).toString('base64'))
    send(response, 200, { choices: [{ message: { content: 'an old answer' } }] })
  }
  const server = createServer((request, response) => {
    answer(request, response).catch(() => response.destroy())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  parts.defer(async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
})
afterAll(() => parts.disposeAsync())

const send = (response: ServerResponse, status: number, body: object): void => {
  response.writeHead(status).end(JSON.stringify(body))
}
const earned = () => chain.escrow.tokenBalance(accounts.receiver.address)

test('nothing is signed for version 1 unless the user allowed it', async () => {
  await using buyer = await openTestBuyer(chain, [url], { keys: await newWallet(chain) })
  const reply = await buyer.chat({ model: 'old-model' })
  expect(reply.status).toBe(402)
  expect(reply.text).toContain('buy.allow_v1')
  expect(received).toEqual([])
})

test('it is paid by exact where it is allowed', async () => {
  const keys = await newWallet(chain)
  await using buyer = await openTestBuyer(chain, [url], { keys, allowV1: true })
  const before = await earned()
  const reply = await buyer.chat({ model: 'old-model' })
  expect([reply.status, reply.text]).toEqual([200, expect.stringContaining('an old answer')])
  expect((await earned()) - before).toBe(10_000n)
  expect(await buyer.store.read('listExact', { limit: 9 })).toMatchObject([
    { state: 'final', outcome: 'paid', charged: 10_000n, txHash: expect.stringMatching(/^0x/) },
  ])
})
