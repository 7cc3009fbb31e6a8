/** A registry with live sellers, and a DHT of forty nodes of which some are sellers: both to be searched. */
import { networks } from '../../src/config/networks.ts'
import { silentLog } from '../../src/base/log.ts'
import { openRegistryClient } from '../../src/net/registry-client.ts'
import { startRegistryNode } from '../../src/node/registry-node.ts'
import { nodeKeyOf } from '../../src/wire/node-key.ts'
import { announcedSeller, modelOf } from '../../test/fixtures/announced-seller.ts'
import { openNetwork, sellerRecord } from '../../test/fixtures/dht-network.ts'

const listed = 200
const nodes = 40
const selling = 10
const beatMs = 30_000

const registry = await startRegistryNode({
  key: nodeKeyOf(Buffer.alloc(32, 7)),
  network: networks.local.terms,
  listen: { host: '127.0.0.1', port: 0 },
  peers: [],
  allowPrivate: true,
  requestsPerSec: 100_000,
  trustForwarded: false,
  build: 'bench',
  now: Date.now,
  log: silentLog,
})
const client = openRegistryClient(registry.url)
const sellers = Array.from({ length: listed }, (_, number) => announcedSeller(number))
for (const [number, seller] of sellers.entries())
  await client.register(seller.record({ models: [modelOf('bench', BigInt(1_000 + number))] }), seller.binding)
const beat = () => client.heartbeats(sellers.map((seller) => seller.heartbeat()))
await beat()

const network = await openNetwork(nodes)
for (const { key, host } of network.slice(-selling)) {
  await host.dht.putRecord(sellerRecord(key))
  await Promise.all(['m', '*'].map((name) => host.dht.provide(name)))
}

setInterval(() => void beat(), beatMs)
const bootstrap = network.slice(0, 3).flatMap(({ host }) => host.addrs().slice(0, 1))
console.log(JSON.stringify({ url: registry.url, bootstrap, listed, nodes, selling }))
