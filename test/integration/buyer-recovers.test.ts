/** A buyer that is killed, or loses its store: no voucher is forgotten, nothing is paid twice, the next request works. */
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execa } from 'execa'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { parseBatchPayload } from '../../src/wire/batch-settlement.ts'
import { parsePaymentPayload, paymentSignatureHeader } from '../../src/wire/x402.ts'
import { newWallet, openTestBuyer, settled, type ChatReply, type TestBuyer } from '../fixtures/buyer.ts'
import type { BuyerChildTask } from '../fixtures/buyer-child.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { gate, startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { openSellerProxy, type SellerProxy } from '../fixtures/seller-proxy.ts'
import { openTestSeller } from '../fixtures/seller.ts'
import { patient } from '../fixtures/patient.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine
let seller: Awaited<ReturnType<typeof openTestSeller>>
let proxy: SellerProxy

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
  seller = parts.use(await openTestSeller(chain, engine.url))
  proxy = parts.use(await openSellerProxy(seller.url))
})
afterAll(() => parts.disposeAsync())

async function tempFolder() {
  const path = await mkdtemp(join(tmpdir(), 'openseed-buyer-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

const codeOf = (text: string) => (JSON.parse(text) as { error: { code: string } }).error.code
const deposits = () =>
  proxy.seen
    .map(({ headers }) => headers[paymentSignatureHeader])
    .filter((header) => header !== undefined)
    .map((header) => parseBatchPayload(parsePaymentPayload(header).payload))
    .flatMap((payload) => (payload.type === 'deposit' ? [payload.deposit] : []))

async function killAt(crashAt: string, task: BuyerChildTask): Promise<void> {
  const script = new URL('../fixtures/buyer-child.ts', import.meta.url).pathname
  const env = { OPENSEED_CRASH_AT: crashAt }
  const child = await execa(process.execPath, [script, JSON.stringify(task)], { reject: false, env })
  expect(child).toMatchObject({ signal: 'SIGKILL' })
}

/** All books agree, and the buyer deposited exactly once. */
async function expectWhole(buyer: TestBuyer): Promise<void> {
  await settled(buyer)
  const [channel] = buyer.book.all()
  const theirs = seller.book.find(channel!.id)!
  await vi.waitUntil(() => theirs.ledger.open.size === 0, patient)
  expect(channel!.ledger.charged).toBe(theirs.ledger.charged)
  expect(channel!.ledger.balance).toBe((await chain.escrow.channel(channel!.id)).balance)
  expect(new Set(deposits().map(({ authorization }) => authorization.salt)).size).toBe(1)
}

const points = [
  'buyer.opened',
  'buyer.deposit-stored',
  'buyer.deposit-sent',
  'buyer.sent',
  'buyer.final',
  'buyer.booked',
  'store.commit',
  'store.committed',
]

test.each(points.map((point, at) => ({ point, stream: at % 2 === 0 })))(
  'killed at $point of its first request (stream: $stream), it goes on as if nothing had been',
  async ({ point, stream }) => {
    await using folder = await tempFolder()
    const keys = await newWallet(chain)
    proxy.seen.length = 0
    const { network, url } = chain
    const options = { folder: folder.path, network, rpcUrls: [url], keys, sellers: [proxy.url] }
    await killAt(point, { options, chat: { stream } })
    await using buyer = await openTestBuyer(chain, [proxy.url], { folder: folder.path, keys })
    expect((await buyer.chat({ stream })).status).toBe(200)
    await expectWhole(buyer)
  },
)

test.each(['buyer.opened', 'buyer.sent', 'buyer.final', 'buyer.booked'])(
  'killed at %s of a later request, it learns what that cost and goes on',
  async (point) => {
    await using folder = await tempFolder()
    const keys = await newWallet(chain)
    proxy.seen.length = 0
    {
      await using first = await openTestBuyer(chain, [proxy.url], { folder: folder.path, keys })
      await first.chat()
      await settled(first)
    }
    const { network, url } = chain
    const options = { folder: folder.path, network, rpcUrls: [url], keys, sellers: [proxy.url] }
    await killAt(point, { options, chat: { stream: true } })
    await using buyer = await openTestBuyer(chain, [proxy.url], { folder: folder.path, keys })
    expect((await buyer.chat()).status).toBe(200)
    await expectWhole(buyer)
    const rows = await buyer.store.read('listRequests', { limit: 10 })
    expect(rows).toHaveLength(3)
    expect(rows.reduce((sum, { charged }) => sum + charged, 0n)).toBe(buyer.book.all()[0]!.ledger.charged)
  },
)

test('a deposit that the seller never saw is sent again in identical bytes', async () => {
  await using buyer = await openTestBuyer(chain, [proxy.url], { keys: await newWallet(chain) })
  proxy.seen.length = 0
  proxy.faults.push({ refuse: 503 })
  expect((await buyer.chat()).status).toBe(502)
  expect(buyer.book.all()[0]!.deposit).not.toBeNull()
  expect((await buyer.chat()).status).toBe(200)
  const [first, second, ...more] = deposits()
  expect(first).toEqual(second)
  expect(more).toEqual([])
  await expectWhole(buyer)
})

async function retryUntilPaid(buyer: TestBuyer): Promise<ChatReply> {
  let reply = await buyer.chat()
  await vi.waitUntil(
    async () => {
      reply = await buyer.chat()
      return reply.status === 200
    },
    { timeout: 20_000, interval: 100 },
  )
  return reply
}

test('with its store lost it signs nothing until nothing forgotten can run, then takes up the channel where it was', async () => {
  const keys = await newWallet(chain)
  const requestTtlSec = 2
  let before: bigint
  const door = gate()
  {
    await using first = await openTestBuyer(chain, [proxy.url], { keys, requestTtlSec })
    for (let at = 0; at < 3; at++) await first.chat()
    await settled(first)
    before = first.book.all()[0]!.ledger.balance
    // One request runs on at the seller when the store is lost.
    proxy.faults.push({ orphan: true })
    engine.next({ tokens: 7, pause: { after: 'headers', gate: door } })
    const called = engine.nextCall()
    void first.chat().catch(() => undefined)
    await called
  }
  proxy.seen.length = 0
  await using buyer = await openTestBuyer(chain, [proxy.url], { keys, requestTtlSec })
  const refused = await buyer.chat()
  expect(refused.status).toBe(402)
  expect(codeOf(refused.text)).toBe('money_outcome_unknown')
  expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
  expect(proxy.seen.some(({ path }) => path === '/v1/chat/completions')).toBe(false)
  await retryUntilPaid(buyer)
  expect(deposits()).toEqual([])
  expect(buyer.book.all()).toHaveLength(1)
  door.open()
  await settled(buyer)
  const [channel] = buyer.book.all()
  expect(channel!.ledger.balance).toBe(before)
  expect(channel!.ledger.charged).toBe(seller.book.find(channel!.id)!.ledger.charged)
})

test('with an old copy of its store it notices, and takes up the channel where it really is', async () => {
  await using folder = await tempFolder()
  await using copy = await tempFolder()
  const keys = await newWallet(chain)
  const requestTtlSec = 1
  const options = { keys, requestTtlSec, folder: folder.path }
  {
    await using first = await openTestBuyer(chain, [proxy.url], options)
    await first.chat()
    await settled(first)
  }
  await cp(folder.path, copy.path, { recursive: true })
  {
    await using second = await openTestBuyer(chain, [proxy.url], options)
    for (let at = 0; at < 12; at++) await second.chat({ maxTokens: 20, content: 'tokens=20' })
    await settled(second)
  }
  await using buyer = await openTestBuyer(chain, [proxy.url], { ...options, folder: copy.path })
  await retryUntilPaid(buyer)
  await retryUntilPaid(buyer)
  await settled(buyer)
  const [channel] = buyer.book.all()
  expect(channel!.state).toBe('open')
  expect(channel!.ledger.charged).toBe(seller.book.find(channel!.id)!.ledger.charged)
})

test('a write that the store refuses fails that request alone; the channel is read back and goes on', async () => {
  await using buyer = await openTestBuyer(chain, [proxy.url], { keys: await newWallet(chain) })
  await buyer.chat()
  await settled(buyer)
  const [channel] = buyer.book.all()
  const row = await buyer.store.read('loadChannel', { channelId: channel!.id })
  // Somebody else's change: what this process computed does not fit any more.
  await buyer.store.run('saveChannel', { channel: { ...row!, rev: row!.rev + 1 } })
  proxy.seen.length = 0
  const failed = await buyer.chat()
  expect(failed.status).toBe(503)
  expect(proxy.seen).toEqual([])
  expect((await buyer.chat()).status).toBe(200)
  await expectBooks(buyer)
})

async function expectBooks(buyer: TestBuyer): Promise<void> {
  await settled(buyer)
  const [channel] = buyer.book.all()
  expect(channel!.ledger.charged).toBe(seller.book.find(channel!.id)!.ledger.charged)
  expect(channel!.rev).toBe((await buyer.store.read('loadChannel', { channelId: channel!.id }))!.rev)
}

test('with an open channel it starts and pays at once, although no RPC answers', async () => {
  await using folder = await tempFolder()
  const keys = await newWallet(chain)
  {
    await using first = await openTestBuyer(chain, [proxy.url], { folder: folder.path, keys })
    await first.chat()
    await settled(first)
  }
  const rpcUrls = ['http://127.0.0.1:9']
  await using buyer = await openTestBuyer(chain, [proxy.url], { folder: folder.path, keys, rpcUrls })
  expect((await buyer.chat()).status).toBe(200)
  await expectBooks(buyer)
})

test('a new channel without an RPC, or with one of another chain, is an error that says so', async () => {
  const keys = await newWallet(chain)
  await using blind = await openTestBuyer(chain, [proxy.url], { keys, rpcUrls: ['http://127.0.0.1:9'] })
  expect(codeOf((await blind.chat()).text)).toBe('chain_unavailable')
  await using other = await openTestChain({ chainId: 84_532 })
  await using lost = await openTestBuyer(chain, [proxy.url], { keys, rpcUrls: [other.url] })
  expect(codeOf((await lost.chat()).text)).toBe('chain_mismatch')
})

test('a second buyer in the same home is refused, and told who is there', async () => {
  await using folder = await tempFolder()
  const options = { folder: folder.path, keys: await newWallet(chain) }
  await using _ = await openTestBuyer(chain, [proxy.url], options)
  await expect(openTestBuyer(chain, [proxy.url], options)).rejects.toMatchObject({
    code: 'home_locked',
    message: expect.stringContaining(String(process.pid)) as string,
  })
})

test('what is on the chain has the last word about what a channel holds', async () => {
  await using buyer = await openTestBuyer(chain, [proxy.url], { keys: await newWallet(chain) })
  await buyer.chat()
  await settled(buyer)
  const [channel] = buyer.book.all()
  // As if a refund had been executed that this buyer does not know of.
  channel!.ledger.balance += 1_000_000n
  await buyer.book.save(channel!)
  const replies = await Promise.all(Array.from({ length: 4 }, () => buyer.chat({ maxTokens: 8000 })))
  expect(replies.map(({ status }) => status)).toEqual([200, 200, 200, 200])
  await expectBooks(buyer)
  expect(channel!.ledger.balance).toBe((await chain.escrow.channel(channel!.id)).balance)
})
