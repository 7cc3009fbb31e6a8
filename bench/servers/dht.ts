/** A DHT of forty nodes of which some are sellers, to be searched. */
import { openNetwork, sellerRecord } from '../../test/fixtures/dht-network.ts'

const nodes = 40
const selling = 10

const network = await openNetwork(nodes)
for (const { key, host } of network.slice(-selling)) {
  await host.dht.putRecord(sellerRecord(key))
  await Promise.all(['m', '*'].map((name) => host.dht.provide(name)))
}

const bootstrap = network.slice(0, 3).flatMap(({ host }) => host.addrs().slice(0, 1))
console.log(JSON.stringify({ bootstrap, nodes, selling }))
