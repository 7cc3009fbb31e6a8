/** Registries that are gone, slow, forgetful or dishonest: what a buyer and a seller do then. */
import { once } from 'node:events'
import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import type { AnnounceOptions } from '../../src/node/announcing.ts'
import type { SellerNodeOptions } from '../../src/node/seller-node.ts'
import { newWallet, openTestBuyer, type TestBuyer } from '../fixtures/buyer.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { startRegistry } from '../fixtures/registry.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey } from '../fixtures/seller-process.ts'
import { openTestSeller } from '../fixtures/seller.ts'
import { patient } from '../fixtures/patient.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
})
afterAll(() => parts.disposeAsync())

interface Changes {
  seller?: Partial<SellerNodeOptions>
  announce?: Partial<AnnounceOptions>
}

async function openSeller(registries: readonly string[], { seller, announce }: Changes = {}) {
  return openTestSeller(chain, engine.url, {
    key: await freshSellerKey(chain),
    announce: {
      registries,
      publicUrl: null,
      region: null,
      hardware: null,
      payToKey: accounts.receiver.key,
      ...announce,
    },
    ...seller,
  })
}

const openBuyer = async (registries: string[], options: Parameters<typeof openTestBuyer>[2] = {}) =>
  openTestBuyer(chain, [], { keys: await newWallet(chain), registries, allowPrivate: true, ...options })

const openRegistry = (more: Parameters<typeof startRegistry>[0] = {}) =>
  startRegistry({ network: chain.network, ...more })

async function serve(listener: RequestListener) {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

async function goneUrl(): Promise<string> {
  await using gone = await serve(() => {})
  return gone.url
}

const knows = (buyer: TestBuyer, count: number) =>
  vi.waitUntil(() => (buyer.market.listModels()[0]?.sellers ?? 0) === count, patient)
const errorOf = (text: string) =>
  (JSON.parse(text) as { error: { code: string; message: string; hint?: string } }).error

describe('with nothing known, a buyer says so soon', () => {
  test('when the registry hangs', async () => {
    await using silent = await serve(() => {})
    await using buyer = await openBuyer([silent.url])
    const reply = await buyer.chat()
    expect(reply.status).toBe(503)
    expect(errorOf(reply.text).code).toBe('no_seller')
    // The registry has two seconds; after them the answer would tell of it.
    expect(reply.text).not.toContain('did not answer')
  })

  test('when the registry is gone, naming it and what to do', async () => {
    const url = await goneUrl()
    await using buyer = await openBuyer([url])
    const reply = await buyer.chat()
    expect(errorOf(reply.text)).toMatchObject({
      code: 'no_seller',
      message: expect.stringContaining(url),
    })
    expect(reply.text).toContain('--registry')
  })

  test('when the domain of its registries does not resolve', async () => {
    const resolveTxt = () => Promise.reject(new Error('ENOTFOUND'))
    await using buyer = await openBuyer(['openseed.example'], { resolveTxt })
    const reply = await buyer.chat()
    expect(errorOf(reply.text)).toMatchObject({
      code: 'no_seller',
      message: expect.stringContaining('_openseed.openseed.example'),
    })
  })
})

test('what is kept of a domain may be garbage: the buyer goes on without it', async () => {
  await using registry = await openRegistry()
  await using seller = await openSeller([registry.url])
  const folder = await mkdtemp(join(tmpdir(), 'openseed-buyer-'))
  const keys = await newWallet(chain)
  {
    await using buyer = await openBuyer([registry.url], { folder, keys })
    await buyer.store.run('setMeta', { key: 'directory.registries.openseed.example', value: 'no :// url' })
  }
  const asked = Promise.withResolvers<void>()
  const resolveTxt = () => {
    asked.resolve()
    return Promise.reject(new Error('ENOTFOUND'))
  }
  await using later = await openBuyer(['openseed.example', registry.url], { resolveTxt, folder, keys })
  await asked.promise
  expect((await later.chat()).headers.get('x-openseed-seller')).toBe(seller.url)
  await later.close(0)
  await rm(folder, { recursive: true, force: true })
})

test('buyer and seller find their registry by DNS, and remember it when DNS is gone', async () => {
  await using registry = await openRegistry()
  const resolveTxt = async () => [[`registry=${registry.url}`]]
  const announce = { resolveTxt, allowPrivate: true }
  await using seller = await openSeller(['openseed.example'], { announce })
  const folder = await mkdtemp(join(tmpdir(), 'openseed-buyer-'))
  const keys = await newWallet(chain)
  {
    await using buyer = await openBuyer(['openseed.example'], { resolveTxt, folder, keys })
    await knows(buyer, 1)
    expect((await buyer.chat()).headers.get('x-openseed-seller')).toBe(seller.url)
  }
  const noDns = () => Promise.reject(new Error('ENOTFOUND'))
  await using later = await openBuyer(['openseed.example'], { resolveTxt: noDns, folder, keys })
  await using another = await openSeller([registry.url])
  expect(another.url).not.toBe(seller.url)
  await knows(later, 2)
  await later.close(0)
  await rm(folder, { recursive: true, force: true })
})

test('with all registries gone a buyer goes on from what it knew, also after a restart', async () => {
  const registry = await openRegistry()
  await using seller = await openSeller([registry.url])
  const folder = await mkdtemp(join(tmpdir(), 'openseed-buyer-'))
  const keys = await newWallet(chain)
  {
    await using buyer = await openBuyer([registry.url], { folder, keys })
    await knows(buyer, 1)
    await registry[Symbol.asyncDispose]()
    expect((await buyer.chat()).status).toBe(200)
  }
  // An hour later all records have expired, and there is still nobody to ask for newer ones.
  const now = () => Date.now() + 3_600_000
  await using later = await openBuyer([registry.url], { folder, keys, now })
  expect(later.market.listModels()).toMatchObject([{ id: 'test-model', sellers: 1 }])
  expect(seller.url).toBeTruthy()
  await later.close(0)
  await rm(folder, { recursive: true, force: true })
})

test('a registry that omits a seller does not hide it from who asks another as well', async () => {
  await using omits = await openRegistry()
  await using honest = await openRegistry()
  await using seller = await openSeller([honest.url])
  await using buyer = await openBuyer([omits.url, honest.url])
  await knows(buyer, 1)
  expect((await buyer.chat()).headers.get('x-openseed-seller')).toBe(seller.url)
})

test('a registry that lost everything hears of the seller again by itself', async () => {
  const first = await openRegistry()
  const announce = { beatEveryMs: () => 50 }
  await using seller = await openSeller([first.url], { announce })
  await vi.waitUntil(() => first.node.index.counts.live === 1, patient)
  await first[Symbol.asyncDispose]()
  await using second = await openRegistry({ listen: { host: '127.0.0.1', port: first.node.port } })
  await vi.waitUntil(() => second.node.index.counts.live === 1, patient)
  await using buyer = await openBuyer([second.url])
  expect((await buyer.chat()).headers.get('x-openseed-seller')).toBe(seller.url)
})

describe('a dishonest registry', () => {
  const page = (sellers: unknown[]) =>
    JSON.stringify({ sellers, gone: [], next: null, more: false, version: 'a-1', reset: false })
  const answers: [name: string, body: () => string][] = [
    ['ten megabytes', () => page(['x'.repeat(10_000_000)])],
    ['garbage', () => '<html>'],
    ['made-up sellers', () => page([{ record: { v: 1, type: 'seller' } }, 7, null])],
    ['another shape', () => '[]'],
  ]

  test.each(answers)('that answers %s does not keep the others from being heard', async (_name, body) => {
    await using liar = await serve((_req, res) => res.end(body()))
    await using honest = await openRegistry()
    await using seller = await openSeller([honest.url])
    await using buyer = await openBuyer([liar.url, honest.url])
    await knows(buyer, 1)
    expect((await buyer.chat()).headers.get('x-openseed-seller')).toBe(seller.url)
  })

  const told: [name: string, listener: RequestListener][] = [
    ['nothing', () => undefined],
    ['ten megabytes', (_req, res) => res.end('x'.repeat(10_000_000))],
    ['that all is refused', (_req, res) => res.writeHead(422).end('{"status":"refused","reason":"no"}')],
    [
      'that another home took over',
      (req, res) =>
        req.method === 'GET'
          ? res.writeHead(404).end('{}')
          : res.end('{"status":"ok","results":[{"status":"superseded","seq":9007199254740991}]}'),
    ],
  ]

  test.each(told)(
    'that answers sellers %s keeps none from being announced elsewhere',
    async (_name, listener) => {
      let asked = 0
      await using liar = await serve((req, res) => {
        asked += 1
        listener(req, res)
      })
      await using honest = await openRegistry()
      await using _seller = await openSeller([liar.url, honest.url], { announce: { beatEveryMs: () => 50 } })
      await vi.waitUntil(() => asked > 0 && honest.node.index.counts.live === 1, patient)
      const heard = honest.node.index.live()[0]!.heartbeats
      await vi.waitUntil(() => honest.node.index.live()[0]!.heartbeats > heard + 3, patient)
    },
  )

  test('cannot say that a seller is paid elsewhere: the record would not be its own', async () => {
    await using honest = await openRegistry()
    await using seller = await openSeller([honest.url])
    await vi.waitUntil(() => honest.node.index.counts.live === 1, patient)
    const thief = `0x${'66'.repeat(20)}`
    const lie = async (path: string) => {
      const reply = await fetch(new URL(path, honest.url))
      return (await reply.text()).replaceAll(accounts.receiver.address, thief)
    }
    await using liar = await serve((req, res) => void lie(req.url ?? '/').then((text) => res.end(text)))
    await using deceived = await openBuyer([liar.url])
    const reply = await deceived.chat()
    expect(errorOf(reply.text).code).toBe('no_seller')
    expect(deceived.market.terms(seller.url)).toBeNull()
  })
})

describe('records that lead into private networks', () => {
  test('are refused unless that is allowed', async () => {
    await using registry = await openRegistry()
    await using seller = await openSeller([registry.url])
    await vi.waitUntil(() => registry.node.index.counts.live === 1, patient)
    await using careful = await openBuyer([registry.url], { allowPrivate: false })
    expect(errorOf((await careful.chat()).text).code).toBe('no_seller')
    await using trusting = await openBuyer([registry.url])
    expect((await trusting.chat()).headers.get('x-openseed-seller')).toBe(seller.url)
  })
})

describe('a record that names an address of somebody else', () => {
  const openThief = (registry: string, url: string) =>
    openSeller([registry], {
      announce: { publicUrl: url, payToKey: accounts.stranger.key },
      seller: { payTo: accounts.stranger.address },
    })

  test('is not paid there', async () => {
    await using registry = await openRegistry()
    await using honest = await openSeller([])
    await using _thief = await openThief(registry.url, honest.url)
    await vi.waitUntil(() => registry.node.index.counts.live === 1, patient)
    await using buyer = await openBuyer([registry.url])
    const refused = await buyer.chat()
    expect(refused.status).toBe(503)
    expect(errorOf(refused.text)).toMatchObject({
      code: 'no_seller',
      message: expect.stringContaining('not the announced one'),
    })
  })

  test('does not keep buyers from whoever really answers there', async () => {
    await using registry = await openRegistry()
    await using honest = await openSeller([registry.url])
    await using _thief = await openThief(registry.url, honest.url)
    await vi.waitUntil(() => registry.node.index.counts.live === 2, patient)
    await using buyer = await openBuyer([registry.url])
    expect((await buyer.chat()).headers.get('x-openseed-seller')).toBe(honest.url)
    expect(buyer.market.terms(honest.url)?.payTo).toBe(accounts.receiver.address)
  })
})

test('a second home with the same node key refuses to run, and takes over when told so', async () => {
  await using registry = await openRegistry()
  await using first = await openSeller([registry.url])
  await vi.waitUntil(() => registry.node.index.counts.live === 1, patient)
  const folder = await mkdtemp(join(tmpdir(), 'openseed-copy-'))
  await copyFile(join(first.folder, 'node.key'), join(folder, 'node.key'))
  const second = await openSeller([registry.url], { seller: { folder } })
  await expect(second.failed).resolves.toMatchObject({ code: 'identity_in_use' })
  await second.close(0)
  const taker = await openSeller([registry.url], { seller: { folder }, announce: { takeOver: true } })
  const listed = () => [...registry.node.index.models.values()][0]?.rows[0]?.entry.recordText
  await vi.waitUntil(() => listed()?.includes(taker.url), patient)
  await taker.close(0)
  await rm(folder, { recursive: true, force: true })
})

test('a seller whose payout key is elsewhere cannot be announced, and says why', async () => {
  const started = openSeller(['http://127.0.0.1:1'], { announce: { payToKey: null } })
  await expect(started).rejects.toMatchObject({ code: 'binding_missing' })
})
