import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { networks } from '../../src/config/networks.ts'
import type { RegistryNode } from '../../src/node/registry-node.ts'
import { openNode, type Node } from '../fixtures/dht-network.ts'
import { openServingPeer, type ServingPeer } from '../fixtures/p2p-hosts.ts'
import { recordModel } from '../fixtures/records.ts'
import { announce, runOpenseed, signedSeller, startTestRegistry } from '../fixtures/search-market.ts'

const loopback = '/ip4/127.0.0.1/tcp/0'

let home: string
let registry: RegistryNode
let server: Node
const nodes: Node[] = []
const peers: ServingPeer[] = []
const sellers: Record<string, string> = {}
let bootstrap: string[]

/** A seller that is met among the peers, and tells so in the DHT. */
async function sellInDht(n: number, out: bigint, network = networks.local.terms.caip2) {
  const peer = await openServingPeer((_, response) => response.end('{}'), {
    key: signedSeller(n, {}).key,
    bootstrap,
    listen: [loopback],
  })
  peers.push(peer)
  const { record, binding } = signedSeller(n, {
    models: [recordModel({ id: 'llama-3', out })],
    url: null,
    addrs: peer.host.addrs(),
    networks: [network],
  })
  const { dht } = peer.host
  await Promise.all([
    dht.putRecord(record),
    dht.putBinding(binding),
    dht.provide('llama-3'),
    dht.provide('*'),
  ])
  return { record, peer: record.peer }
}

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'search-dht-'))
  server = await openNode([])
  bootstrap = server.host.addrs().slice(0, 1)
  for (let n = 0; n < 3; n += 1) nodes.push(await openNode(bootstrap))
  registry = await startTestRegistry(931, Date.now, { dht: { listen: [loopback], bootstrap } })
  await Promise.all(nodes.map(({ host }) => host.joined(3, AbortSignal.timeout(10_000))))
  sellers.cheap = (await sellInDht(41, 100_000n)).peer
  sellers.dear = (await sellInDht(42, 900_000n)).peer
  sellers.elsewhere = (await sellInDht(43, 1n, 'eip155:8453')).peer
})

afterAll(async () => {
  await registry[Symbol.asyncDispose]()
  for (const { host } of [...peers, ...nodes, server]) await host[Symbol.asyncDispose]()
  await rm(home, { recursive: true })
})

const search = (...words: string[]) => runOpenseed(home, ['search', ...words])
const begin = () => ['--bootstrap', bootstrap[0]!]

interface Answer {
  source: string
  dht: { servers: number }
  registries: { url: string; error: string | null }[]
  rows: Record<string, unknown>[]
  explanation?: { nearest: { command: string } }
}

test('without a registry sellers are found by their own signed records', async () => {
  const { stdout, code } = await search('llama', '--trustless', ...begin(), '--json')
  expect(code).toBe(0)
  const { rows, source, dht } = JSON.parse(stdout) as Answer
  expect(rows.map(({ seller, out }) => [seller, out])).toEqual([
    [sellers.cheap, '100000'],
    [sellers.dear, '900000'],
  ])
  expect(rows[0]).toMatchObject({ load: null, state: null, success: null, reach: 'direct' })
  expect(source).toBe('dht')
  expect(dht.servers).toBeGreaterThan(0)
})

test('on paper it says that load is not known', async () => {
  const { stdout, stderr } = await search('llama', '--trustless', ...begin())
  expect(stdout).toContain('llama-3')
  expect(stderr).toMatch(
    /Found in the DHT, of which \d+ servers were met: load and success are not known there\./,
  )
})

test('when no registry answers the DHT does, and the registry is named', async () => {
  const { stdout, stderr } = await search('llama', '--registry', 'http://127.0.0.1:1', ...begin())
  expect(stdout).toContain(sellers.cheap!.slice(0, 16))
  expect(stderr).toContain('http://127.0.0.1:1 cannot be reached')
})

test('a registry leads to the DHT without being believed about sellers', async () => {
  await announce([registry], 44, { models: [recordModel({ id: 'llama-only-there' })] })
  const { stdout } = await search('llama', '--trustless', '--registry', registry.url, '--json')
  const { rows, registries } = JSON.parse(stdout) as Answer
  expect(rows.map(({ model }) => model)).toEqual(['llama-3', 'llama-3'])
  expect(registries).toEqual([])
})

test('an empty result is explained by what the DHT knows', async () => {
  const { stdout } = await search('llama', 'out<$0.05', '--trustless', ...begin(), '--json')
  const { rows, explanation } = JSON.parse(stdout) as Answer
  expect(rows).toEqual([])
  expect(explanation!.nearest.command).toBe("openseed search --trustless llama 'out<=$0.10'")
})

test('show looks for the word of the wallet too', async () => {
  const { stdout } = await search('show', sellers.cheap!.slice(0, 20), '--trustless', ...begin())
  expect(stdout).toMatch(/^wallet +says so until .*Z +signature valid$/m)
  expect(stdout).toMatch(/^addresses +\/ip4\/127\.0\.0\.1\/tcp\/\d+\/p2p\/12D3KooW\w+ +claimed$/m)
  expect(stdout).toMatch(/^listed by +the DHT +-$/m)
})

test('a seller without a URL is measured over its peer-to-peer addresses', async () => {
  const { stdout } = await search('llama', '--trustless', ...begin(), '--probe', '--json')
  const { rows } = JSON.parse(stdout) as Answer
  expect(rows[0]!.rtt).toBeGreaterThan(0)
  expect(rows[0]!.measured).toEqual(expect.arrayContaining(['rtt', 'reach']))
  const shown = await search('show', sellers.cheap!, '--trustless', ...begin(), '--probe')
  expect(shown.stdout).toMatch(/^path +direct +measured$/m)
})

test('with nobody to begin at, and with nobody who answers, there is an error at once', async () => {
  const none = await search('llama', '--trustless')
  expect(none.code).toBe(6)
  expect(none.stderr).toContain('code dht_unreachable')
  const gone = bootstrap[0]!.replace(/\/tcp\/\d+/, '/tcp/1')
  const silent = await search('llama', '--trustless', '--bootstrap', gone)
  expect(silent.code).toBe(6)
  expect(silent.stderr).toContain('code dht_unreachable')
})
