/** A seller among its peers: found with and without registries, under its own name, over every way it has. */
import { createServer } from 'node:net'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { callControl } from '../../src/node/control.ts'
import { openNodeKey } from '../../src/node/identity.ts'
import { openKeystore } from '../../src/node/keystore.ts'
import type { NetReport } from '../../src/node/net-report.ts'
import { parseSellerNews, type SellerNews } from '../../src/net/seller-news.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { runCli } from '../fixtures/cli.ts'
import { startCommand } from '../fixtures/command.ts'
import { openNetwork, openNode, replicas, type Node } from '../fixtures/dht-network.ts'
import { listening, openPeerSeller, startRelay, type SellerChanges } from '../fixtures/p2p-market.ts'
import { gate } from '../fixtures/engine-script.ts'
import { openRawBuyer } from '../fixtures/raw-buyer.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { openTestSeller } from '../fixtures/seller.ts'
import { patient } from '../fixtures/patient.ts'

// Halves the time that a start takes; Node checks each entry against its source.
const compileCache = join(tmpdir(), 'openseed-compile-cache')

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine
let network: Node[]

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
  network = await openNetwork(4)
  for (const { host } of network) parts.use(host)
})
afterAll(() => parts.disposeAsync())

const bootstrap = () => network[0]!.host.addrs()
const p2p = (more: Partial<NonNullable<NonNullable<SellerChanges['announce']>['p2p']>> = {}) => ({
  listen: listening,
  announce: [],
  bootstrap: bootstrap(),
  portMapping: false,
  punch: false,
  lan: false,
  host: { replicas },
  ...more,
})
const open = (registries: readonly string[], changes: SellerChanges = {}) =>
  openPeerSeller(chain, engine.url, registries, {
    ...changes,
    announce: { publicUrl: null, p2p: p2p(), ...changes.announce },
  })
const until = (condition: () => unknown) => vi.waitUntil(condition, patient)

const askRecord = async ({ url }: { url: string }) => (await fetch(`${url}/openseed/v1/record`)).json()

async function newsOf(seller: { url: string; net: () => NetReport }): Promise<SellerNews> {
  const news = parseSellerNews(await askRecord(seller), { peer: seller.net().peer!, nowMs: Date.now() })
  if (news === null) throw new Error('that is no listing')
  return news
}

async function toldByDht(seller: { net: () => NetReport }) {
  await until(() => {
    const { dht } = seller.net()
    return dht !== null && dht.of > 0 && dht.told === dht.of
  })
}

test('with no registry at all a seller is found in the DHT: its record, its wallet’s word, and its name by model', async () => {
  await using seller = await open([])
  const { peer } = seller.net()
  await toldByDht(seller)
  await using asker = (await openNode(network[2]!.host.addrs(), { server: false, listen: [] })).host
  const found = await asker.dht.getSeller(peer!)
  expect(found?.addrs).toEqual(seller.net().addrs)
  expect(found?.document.body).toMatchObject({ payTo: accounts.receiver.address })
  expect(await asker.dht.getBinding(peer!)).toMatchObject({ document: { payTo: accounts.receiver.address } })
  const [model] = found?.document.body.models ?? []
  expect(await asker.dht.findSellers(model!.id)).toEqual([peer])
  expect(await asker.dht.findSellers('*')).toContain(peer)
})

test('a new price is in the DHT at once, when the last one is a minute old', async () => {
  let price = 2_000_000n
  let aheadMs = 0
  const prices = () => ({ priceIn: price, priceCached: price, priceOut: price, fixedPrice: 0n })
  await using seller = await open([], {
    seller: { pricesOf: prices, now: () => Date.now() + aheadMs },
  })
  await toldByDht(seller)
  aheadMs = 61_000
  price = 1_000_000n
  await seller.relist()
  const { dht } = network[1]!.host
  const priceThere = async () =>
    (await dht.getSeller(seller.net().peer!))?.document.body.models?.[0]?.in === price
  await vi.waitUntil(priceThere, { timeout: 15_000, interval: 200 })
})

test('whoever meets a seller by its name alone is told its record, binding and load', async () => {
  await using seller = await open([])
  const { record, binding, heartbeat } = await newsOf(seller)
  expect(record.peer).toBe(seller.net().peer)
  expect(binding.payTo).toBe(accounts.receiver.address)
  expect(heartbeat?.body).toMatchObject({ running: 0, tps: null, recordSeq: record.seq })

  await using silent = await openTestSeller(chain, engine.url, {})
  expect(await askRecord(silent)).toMatchObject({ error: { code: 'not_found' } })
})

test('heartbeats tell how fast the last streams were', async () => {
  let aheadMs = 0
  const now = () => Date.now() + aheadMs
  await using seller = await open([], { seller: { now, withdrawDelaySec: 900 } })
  const buyer = await openRawBuyer(chain, seller.url, 1)
  await buyer.chat({ deposit: 100_000n })
  const door = gate()
  engine.next({ tokens: 40, pause: { after: 20, gate: door } })
  const stream = await buyer.stream()
  expect(await stream.words(20)).toBe(true)
  // The second half takes ten seconds more.
  aheadMs = 10_000
  door.open()
  await stream.rest()
  const speed = async () => (await newsOf(seller)).heartbeat?.body.tps ?? null
  // A heartbeat of before is told for another moment.
  await until(async () => (await speed()) !== null)
  expect(await speed()).toBeGreaterThan(2)
  expect(await speed()).toBeLessThanOrEqual(4)
})

test('a seller that others get in to serves the DHT as well', async () => {
  await using relay = await startRelay(chain)
  await using seller = await open([relay.url], { announce: { p2p: p2p({ bootstrap: [] }) } })
  await until(() => seller.net().state === 'public')
  const { host } = await openNode(seller.net().addrs, { server: false, listen: [] })
  await using asker = host
  expect(await asker.joined(1, AbortSignal.timeout(10_000))).toBe(true)
})

test('a seller that listens nowhere is listed with the relays that hold a place for it', async () => {
  await using first = await startRelay(chain)
  await using second = await startRelay(chain, { bootstrap: first.node.dhtAddrs() })
  await using seller = await open([first.url, second.url], {
    announce: { p2p: p2p({ listen: [], bootstrap: [] }) },
  })
  const { peer } = seller.net()
  const isListed = async () => {
    const listing = await first.client.seller(peer!)
    return listing?.record.body.addrs.length === 2 && listing
  }
  const listing = await vi.waitUntil(isListed, patient)
  const relays = new Set([first, second].map(({ node }) => node.peerId))
  const named = listing.record.body.addrs.map((addr) => addr.split('/p2p/')[1]?.split('/')[0])
  expect(new Set(named)).toEqual(relays)
  expect(listing.record.body.url).toBe(seller.url)
})

test('what it learnt of the network is enough to start with when its registry is gone', async () => {
  await using home = await open([])
  await home.close(0)
  const { folder } = home
  const registry = await startRelay(chain, { bootstrap: bootstrap() })
  // A minute apart: who is stored anew more often than that is flooding.
  const again = (registries: readonly string[], aheadMs = 0) =>
    open(registries, {
      seller: { folder, now: () => Date.now() + aheadMs },
      announce: { p2p: p2p({ bootstrap: [] }) },
    })
  {
    await using seller = await again([registry.url])
    await toldByDht(seller)
    await until(() => seller.net().dhtServers > 1)
  }
  await registry[Symbol.asyncDispose]()
  await using seller = await again([registry.url], 61_000)
  await toldByDht(seller)
  const found = await network[3]!.host.dht.getSeller(seller.net().peer!)
  expect(found?.addrs).toEqual(seller.net().addrs)
})

test('a port that is taken is no reason not to sell', async () => {
  const taken = createServer().listen(0, '127.0.0.1')
  await once(taken, 'listening')
  const { port } = taken.address() as AddressInfo
  await using seller = await open([], {
    announce: { p2p: p2p({ listen: [`/ip4/127.0.0.1/tcp/${port}`] }) },
  })
  await until(() => seller.net().addrs.length > 0)
  expect(seller.net().addrs[0]).not.toContain(`/tcp/${port}/`)
  taken.close()
})

test('a running seller tells others of its home how it is reached', async () => {
  await using seller = await open([])
  await until(() => seller.net().dhtServers > 0)
  const answer = await callControl(seller.folder, 'net', {}, AbortSignal.timeout(5000))
  expect(answer?.value).toMatchObject({ peer: openNodeKey(seller.folder).peerId, addrs: seller.net().addrs })
})

test('openseed sell needs no registry: a node to begin with is enough to be found, and the doctor sees it', async () => {
  const home = await mkdtemp(join(tmpdir(), 'openseed-sell-'))
  await openKeystore(join(home, 'keystore'), { scryptN: 1024 }).create('hush')
  const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url))
  const places = ['--listen', '127.0.0.1:0', '--p2p-listen', listening[0]!, '--bootstrap', bootstrap()[0]!]
  const args = ['sell', '--engine', engine.url, '--rpc-url', chain.url, ...places]
  const env = {
    PATH: process.env['PATH'] ?? '',
    OPENSEED_PASSWORD: 'hush',
    OPENSEED_P2P_PORT_MAPPING: 'false',
    NODE_COMPILE_CACHE: compileCache,
  }
  {
    await using seller = startCommand(
      process.execPath,
      [main, '--home', home, '--network', 'local', '--json', ...args],
      env,
      home,
    )
    const { peer } = await seller.ready
    const { host } = network[3]!
    await vi.waitUntil(async () => (await host.dht.findSellers('*')).includes(String(peer)), {
      timeout: 20_000,
      interval: 200,
    })
    const found = await host.dht.getSeller(String(peer))
    const seen = await runCli(home, ['doctor', 'net', '--json'])
    expect(seen.json()).toMatchObject({ running: true, peer, addrs: found?.addrs })
    seller.child.kill('SIGTERM')
    await seller.ended
  }
  await rm(home, { recursive: true, force: true })
})
