/** Garbage, oversize and slow input on both sides: whoever pays is served meanwhile, and no money moves by it. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { Agent, request as openRequest } from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { paymentSignatureHeader } from '../../src/wire/x402.ts'
import { newWallet, openTestBuyer, settled, type TestBuyer } from '../fixtures/buyer.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { openTestSeller } from '../fixtures/seller.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine
let seller: Awaited<ReturnType<typeof openTestSeller>>
let buyer: TestBuyer

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
  seller = parts.use(await openTestSeller(chain, engine.url))
  buyer = parts.use(await openTestBuyer(chain, [seller.url], { keys: await newWallet(chain) }))
  expect((await buyer.chat()).status).toBe(200)
  await settled(buyer)
})
afterAll(() => parts.disposeAsync())

const oneReply = 48n
const charges = async () =>
  (await buyer.store.read('listRequests', { limit: 10_000 })).map(({ charged }) => charged)

/** Requests of honest people while it lasts: all are served, and cost what they cost without it. */
async function serveMeanwhile(attack: Promise<unknown>): Promise<void> {
  const before = await charges()
  const over = attack.then(() => true)
  const soon = () => new Promise<boolean>((resolve) => setImmediate(resolve, false))
  do expect((await buyer.chat()).status).toBe(200)
  while (!(await Promise.race([over, soon()])))
  await settled(buyer)
  const { id, ledger } = buyer.book.all()[0]!
  const after = await charges()
  expect(after.slice(before.length)).toEqual(Array(after.length - before.length).fill(oneReply))
  expect(seller.book.find(id)!.ledger.charged).toBe(ledger.charged)
  expect([...seller.book.entries()]).toHaveLength(1)
}

type Garbage = (at: number) => { headers: Record<string, string>; body: string }

/** A thousand requests over sixteen connections, as fast as they are refused: the statuses that came. */
async function flood(url: string, garbage: Garbage): Promise<Set<number>> {
  const agent = new Agent({ keepAlive: true, maxSockets: 16 })
  const send = async (at: number): Promise<number> => {
    const { headers, body } = garbage(at)
    const request = openRequest(`${url}/v1/chat/completions`, { method: 'POST', agent, headers })
    // What is refused unread may be cut off while it is still being sent.
    request.on('error', () => undefined)
    request.end(body)
    const [response] = await once(request, 'response')
    response.resume()
    await once(response, 'end')
    return response.statusCode as number
  }
  const statuses = await Promise.all(Array.from({ length: 1000 }, (_, at) => send(at).catch(() => 0)))
  agent.destroy()
  return new Set(statuses)
}

const chatOf = (content: string) =>
  JSON.stringify({ model: 'test-model', messages: [{ role: 'user', content }] })

const hostile: Garbage[] = [
  () => ({ headers: { [paymentSignatureHeader]: randomBytes(3000).toString('base64') }, body: chatOf('x') }),
  () => ({
    headers: {
      [paymentSignatureHeader]: Buffer.from('{"x402Version":2,"accepted":{},"payload":[]}').toString(
        'base64',
      ),
    },
    body: chatOf('x'),
  }),
  () => ({ headers: { [paymentSignatureHeader]: 'x'.repeat(100_000) }, body: chatOf('x') }),
  () => ({ headers: {}, body: randomBytes(200).toString('latin1') }),
]
const garbage: Garbage = (at) => hostile[at % hostile.length]!(at)

test.each(['seller', 'buyer'] as const)(
  'a thousand garbage and oversize headers at the %s move no money and keep nobody waiting',
  async (role) => {
    const calls = engine.calls.length
    const rows = (await buyer.store.read('listRequests', { limit: 10_000 })).length
    const isMalformed = role === 'seller' ? garbage : (at: number) => hostile[2 + (at % 2)]!(at)
    const attack = flood(role === 'seller' ? seller.url : buyer.url, isMalformed)
    await serveMeanwhile(attack)
    for (const status of await attack) expect([0, 400, 402, 431]).toContain(status)
    const paid = (await buyer.store.read('listRequests', { limit: 10_000 })).length - rows
    expect(engine.calls.length - calls).toBe(paid)
  },
)

async function hold(port: number, text: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  socket.write(text)
  return socket
}

const head = 'POST /v1/chat/completions HTTP/1.1\r\nhost: here\r\ncontent-type: application/json\r\n'

test.each(['seller', 'buyer'] as const)(
  'three hundred connections to the %s that never finish their request keep nobody waiting',
  async (role) => {
    const port = Number(new URL(role === 'seller' ? seller.url : buyer.url).port)
    const sockets = await Promise.all(
      Array.from({ length: 300 }, (_, at) =>
        hold(port, at % 2 === 0 ? head : `${head}content-length: 1000\r\n\r\n{"model":`),
      ),
    )
    await serveMeanwhile(buyer.chat({ stream: true }))
    for (const socket of sockets) socket.destroy()
  },
)
