/** A registry with live sellers, to be searched. */
import { networks } from '../../src/config/networks.ts'
import { silentLog } from '../../src/base/log.ts'
import { openRegistryClient } from '../../src/net/registry-client.ts'
import { startRegistryNode } from '../../src/node/registry-node.ts'
import { nodeKeyOf } from '../../src/wire/node-key.ts'
import { announcedSeller, modelOf } from '../../test/fixtures/announced-seller.ts'

const listed = 200
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

setInterval(() => void beat(), beatMs)
console.log(JSON.stringify({ url: registry.url, listed }))
