/** Finding sellers when registries are gone, silent or not relied on: from the disk, in the DHT, by peer id. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { copyFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { newWallet, settled } from '../fixtures/buyer.ts'
import {
  expectExact,
  knows,
  listening,
  openPeerBuyer,
  openPeerSeller,
  startRelay,
  type PeerSeller,
} from '../fixtures/p2p-market.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey } from '../fixtures/seller-process.ts'
import { patient } from '../fixtures/patient.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
})
afterAll(() => parts.disposeAsync())

async function tempFolder() {
  const path = await mkdtemp(join(tmpdir(), 'openseed-buyer-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

/** An engine that only says what it has. */
async function startModelList(ids: readonly string[]) {
  const data = ids.map((id) => ({ id, object: 'model', max_model_len: 8_192 }))
  const server = createServer((request, response) => {
    if (request.url === '/v1/models') response.end(JSON.stringify({ object: 'list', data }))
    else response.writeHead(404).end('{}')
  }).listen(0, '127.0.0.1')
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

const errorOf = (text: string) => (JSON.parse(text) as { error: { code: string; message: string } }).error
const isToldInDht = (seller: PeerSeller) => {
  const { dht } = seller.net()
  return dht !== null && dht.of > 0 && dht.told === dht.of
}
const nobody = '/ip4/127.0.0.1/tcp/1/p2p/12D3KooWGRUcLTcbDN5yqXoUgyPTgZpXFZWVVrWWcF9VAVkZ5iF5'

describe('with the registry gone', () => {
  test('a buyer goes on from its disk, with a seller that is met by its peer id', async () => {
    await using folder = await tempFolder()
    const registry = await startRelay(chain)
    await using seller = await openPeerSeller(chain, engine.url, [registry.url], { listen: listening })
    const keys = await newWallet(chain)
    const settings = { folder: folder.path, keys }
    {
      await using buyer = await openPeerBuyer(chain, [registry.url], settings)
      await knows(buyer, seller)
    }
    await registry[Symbol.asyncDispose]()
    await using later = await openPeerBuyer(chain, [registry.url], settings)
    expect((await later.chat()).headers.get('x-openseed-seller')).toBe(seller.address)
    await expectExact(later, seller, chain)
    await later.close(0)
  })

  test('a new buyer that knows nothing but a DHT server finds and pays the seller', async () => {
    const registry = await startRelay(chain)
    await using server = await startRelay(chain, { bootstrap: registry.node.dhtAddrs() })
    const bootstrap = server.node.dhtAddrs()
    await using seller = await openPeerSeller(chain, engine.url, [], {
      listen: listening,
      bootstrap: [...bootstrap, ...registry.node.dhtAddrs()],
    })
    await vi.waitUntil(() => isToldInDht(seller), patient)
    await registry[Symbol.asyncDispose]()
    await using buyer = await openPeerBuyer(chain, [registry.url], { p2p: { bootstrap } })
    await vi.waitUntil(async () => (await buyer.chat()).status === 200, patient)
    await expectExact(buyer, seller, chain)
  })

  test('the DHT servers that registries named are remembered over a restart', async () => {
    await using folder = await tempFolder()
    const registry = await startRelay(chain)
    await using server = await startRelay(chain, { bootstrap: registry.node.dhtAddrs() })
    const settings = { folder: folder.path, keys: await newWallet(chain) }
    {
      await using first = await openPeerBuyer(chain, [registry.url, server.url], settings)
      const known = () => first.store.read('getMeta', { key: 'p2p.known' })
      await vi.waitUntil(async () => (await known())?.includes(server.node.peerId), patient)
    }
    await registry[Symbol.asyncDispose]()
    const bootstrap = server.node.dhtAddrs()
    await using seller = await openPeerSeller(chain, engine.url, [], { listen: listening, bootstrap })
    await using buyer = await openPeerBuyer(chain, [registry.url], settings)
    const reply = () => buyer.chat()
    await vi.waitUntil(async () => (await reply()).status === 200, patient)
    expect((await reply()).headers.get('x-openseed-seller')).toBe(seller.address)
    await buyer.close(0)
  })
})

test('a seller that no registry lists is found by who relies on none', async () => {
  await using silent = await startRelay(chain)
  await using other = await startRelay(chain)
  await using server = await startRelay(chain)
  const bootstrap = server.node.dhtAddrs()
  await using seller = await openPeerSeller(chain, engine.url, [], { listen: listening, bootstrap })
  const p2p = { bootstrap, trustless: true }
  await using buyer = await openPeerBuyer(chain, [silent.url, other.url], { p2p })
  await vi.waitUntil(async () => (await buyer.chat()).status === 200, patient)
  expect(buyer.market.terms(seller.address)).not.toBeNull()
})

test('where no registry knows it, a second home with the same node key refuses to run, and takes over when told so', async () => {
  await using server = await startRelay(chain)
  const bootstrap = server.node.dhtAddrs()
  await using first = await openPeerSeller(chain, engine.url, [], { listen: listening, bootstrap })
  await vi.waitUntil(() => isToldInDht(first), patient)
  await using folder = await tempFolder()
  await copyFile(join(first.folder, 'node.key'), join(folder.path, 'node.key'))
  const open = (takeOver: boolean) =>
    openPeerSeller(chain, engine.url, [], {
      listen: listening,
      bootstrap,
      seller: { folder: folder.path },
      announce: { takeOver },
    })
  const second = await open(false)
  await expect(second.failed).resolves.toMatchObject({ code: 'identity_in_use' })
  await second.close(0)
  const taker = await open(true)
  // Its record is taken half a minute after the one before; what is told at all is told after it was asked.
  await vi.waitUntil(() => (taker.net().dht?.told ?? 0) > 0, patient)
  await taker.close(0)
})

test('a seller that has only a URL and takes no connections of peers is listed in the DHT', async () => {
  await using server = await startRelay(chain)
  const bootstrap = server.node.dhtAddrs()
  const off = { listen: [], announce: [], portMapping: false, punch: false, lan: false }
  const announce = { publicUrl: null, p2p: { ...off, bootstrap, onlyTells: true as const } }
  await using seller = await openPeerSeller(chain, engine.url, [], { announce })
  await using buyer = await openPeerBuyer(chain, [], { p2p: { bootstrap, trustless: true } })
  await vi.waitUntil(async () => (await buyer.chat()).status === 200, patient)
  expect(buyer.market.terms(seller.url)).not.toBeNull()
  expect(seller.net()).toMatchObject({ state: 'off', addrs: [], relays: [] })
  await vi.waitUntil(() => isToldInDht(seller), patient)
})

test('a seller named by its peer id is looked up in the DHT', async () => {
  await using server = await startRelay(chain)
  const bootstrap = server.node.dhtAddrs()
  await using seller = await openPeerSeller(chain, engine.url, [], { listen: listening, bootstrap })
  await using buyer = await openPeerBuyer(chain, [], { told: [seller.address], p2p: { bootstrap } })
  await vi.waitUntil(async () => (await buyer.chat()).status === 200, patient)
  await expectExact(buyer, seller, chain)
})

describe('with nothing known, a buyer says so within two seconds', () => {
  // It waits for 1.5 seconds; a busy machine may take longer over the rest.
  const mostMs = 5_000

  test.each([false, true])('when no DHT server answers (a registry is named: %s)', async (isNamed) => {
    const registries = isNamed ? ['http://127.0.0.1:1'] : []
    await using buyer = await openPeerBuyer(chain, registries, { p2p: { bootstrap: [nobody] } })
    const startedMs = performance.now()
    const reply = await buyer.chat()
    expect(performance.now() - startedMs).toBeLessThan(mostMs)
    expect(errorOf(reply.text).code).toBe('no_seller')
    expect(reply.text).toContain('--registry')
  })

  test('when the seller it was told of is known to nobody', async () => {
    const address = 'openseed://12D3KooWGRUcLTcbDN5yqXoUgyPTgZpXFZWVVrWWcF9VAVkZ5iF5'
    await using buyer = await openPeerBuyer(chain, [], { told: [address] })
    const startedMs = performance.now()
    const reply = await buyer.chat()
    expect(performance.now() - startedMs).toBeLessThan(mostMs)
    expect(errorOf(reply.text)).toMatchObject({ code: 'seller_unreachable' })
    expect(errorOf(reply.text).message).toContain(address.slice('openseed://'.length))
  })
})

test('a seller that changes from a URL to its peer id keeps its channel, and nothing is deposited twice', async () => {
  await using registry = await startRelay(chain)
  const key = await freshSellerKey(chain)
  const announce = { publicUrl: null, p2p: undefined }
  const first = await openPeerSeller(chain, engine.url, [registry.url], { seller: { key }, announce })
  await using buyer = await openPeerBuyer(chain, [registry.url])
  await vi.waitUntil(() => buyer.market.terms(first.url) !== null, patient)
  expect((await buyer.chat()).headers.get('x-openseed-seller')).toBe(first.url)
  await settled(buyer)
  const deposited = buyer.book.all()[0]!.ledger.balance
  await first.abandon()
  const { folder } = first
  await using second = await openPeerSeller(chain, engine.url, [registry.url], {
    seller: { folder, key },
    listen: listening,
  })
  await knows(buyer, second)
  expect((await buyer.chat()).headers.get('x-openseed-seller')).toBe(second.address)
  await expectExact(buyer, second, chain)
  const [channel] = buyer.book.all()
  expect(channel).toMatchObject({ sellerUrl: second.address, ledger: { balance: deposited } })
  const { amount } = await buyer.refund(channel!.id)
  expect(amount).toBeGreaterThan(0n)
})

test('of a seller with more models than its record holds all are found', async () => {
  const ids = Array.from({ length: 40 }, (_, n) => `model-${String(n).padStart(2, '0')}`)
  await using many = await startModelList(ids)
  await using registry = await startRelay(chain)
  await using seller = await openPeerSeller(chain, many.url, [registry.url])
  await using buyer = await openPeerBuyer(chain, [registry.url])
  await vi.waitUntil(() => buyer.market.listModels().length === ids.length, patient)
  expect(buyer.market.listModels().map(({ id }) => id)).toEqual(ids)
  expect(await buyer.market.candidates('model-39')).toMatchObject([{ sellerUrl: seller.address }])
})

test('http without TLS to another machine is used when its user says so, and refused when only a record does', async () => {
  await using registry = await startRelay(chain)
  await using _seller = await openPeerSeller(chain, engine.url, [registry.url], {
    announce: { p2p: undefined, payToKey: accounts.receiver.key },
  })
  await vi.waitUntil(() => registry.node.index.counts.live === 1, patient)
  await using buyer = await openPeerBuyer(chain, [registry.url])
  expect(errorOf((await buyer.chat()).text).code).toBe('no_seller')
  await using careless = await openPeerBuyer(chain, [registry.url], { allowPlainHttp: true })
  // Its name resolves to nothing here; that it was tried is enough.
  await vi.waitUntil(() => careless.market.listModels().length === 1, patient)
})
