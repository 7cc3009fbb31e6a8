/** One libp2p node: its identity, its connections, and the DHT on top. Loaded by open-host when one is wanted. */
import { setTimeout as sleep } from 'node:timers/promises'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { identify, type Identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper, removePrivateAddressesMapper, type KadDHT } from '@libp2p/kad-dht'
import { noise } from '@libp2p/noise'
import { peerIdFromString } from '@libp2p/peer-id'
import { ping, type Ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import { createLibp2p, type Libp2pOptions } from 'libp2p'
import { systemClock } from '../../base/clock.ts'
import { OpenSeedError } from '../../base/errors.ts'
import { judgeMultiaddr } from '../../wire/address-policy.ts'
import { BoundedStore } from './bounded-store.ts'
import { keepJoined, whenJoined } from './bootstrap.ts'
import { openDht } from './dht.ts'
import { openKadQueries } from './kad-queries.ts'
import type { Host, HostOptions } from './open-host.ts'
import { providerValidityMs } from './provider-shelf.ts'
import { openRecordJudge, type RecordJudge } from './record-judge.ts'

const protocol = '/openseed/kad/1.0.0'
const joinMs = 1_500
const meetMs = 700

type Services = { identify: Identify; ping: Ping; dht: KadDHT }

export async function startHost(options: HostOptions): Promise<Host> {
  const { key, bootstrap, allowPrivate = false, now = systemClock, limits } = options
  const judge = openRecordJudge(now)
  const store = new BoundedStore({
    self: key.peerId,
    now,
    ...(limits && { limits }),
    peerName: (peer) => peerIdFromString(peer).toCID().toString(),
    admitRecord: (name) => {
      if (!judge.mayStore(name)) throw new Error('stored anew a moment ago')
    },
  })
  const dialed = bootstrap.map(asMultiaddr)
  const privateKey = await generateKeyPairFromSeed('Ed25519', key.seed)
  const node = await createLibp2p<Services>({ privateKey, datastore: store, ...settings(options, judge) })
  if (node.peerId.toString() !== key.peerId) {
    await node.stop()
    throw new OpenSeedError('internal_error', { message: 'libp2p gave the node key another peer id.' })
  }
  const queries = openKadQueries(
    node.services.dht,
    node.peerId,
    (peer) => node.getConnections(peer).length > 0,
  )
  const stop = new AbortController()
  const joining = keepJoined({ node, queries, bootstrap: dialed, stopped: stop.signal })
  const { routingTable } = queries
  return {
    peerId: key.peerId,
    addrs: () => node.getMultiaddrs().map(String),
    peerCount: () => routingTable.size,
    joined: (count, signal) => whenJoined(routingTable, count, signal),
    async knownServers(most) {
      const peers = await node.peerStore.all({ filters: [({ protocols }) => protocols.includes(protocol)] })
      const addrs = peers.flatMap(({ id, addresses }) =>
        addresses.slice(0, 1).map(({ multiaddr }) => withPeer(multiaddr.toString(), id.toString())),
      )
      return addrs.filter((addr) => allowPrivate || judgeMultiaddr(addr) === 'public').slice(0, most)
    },
    dht: openDht({
      kad: node.services.dht,
      queries,
      store,
      judge,
      key,
      allowPrivate,
      // Nobody to ask yet is the ordinary state of the first second; nobody at all must not take the whole deadline.
      async joined(signal) {
        const brief = AbortSignal.any([signal, AbortSignal.timeout(joinMs)])
        if (!(await whenJoined(routingTable, 1, brief))) return
        await Promise.race([joining.met, sleep(meetMs, undefined, { ref: false })])
      },
      stopped: stop.signal,
    }),
    async [Symbol.asyncDispose]() {
      stop.abort()
      await joining.done
      await node.stop()
    },
  }
}

function settings(options: HostOptions, judge: RecordJudge): Libp2pOptions<Services> {
  const { listen, announce = [], bootstrap, server, allowPrivate = false, replicas = 20 } = options
  const trusted = new Set(bootstrap)
  return {
    addresses: { listen: [...listen], announce: [...announce] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionManager: {
      maxConnections: server ? 5_000 : 300,
      // Of one address and second: many sellers stand behind one NAT, and the default is 5.
      inboundConnectionThreshold: server ? 100 : 20,
      maxIncomingPendingConnections: 100,
      dialTimeout: 5_000,
      reconnectRetries: 0,
    },
    connectionMonitor: { pingInterval: 20_000, pingTimeout: { minTimeout: 5_000, maxTimeout: 10_000 } },
    connectionGater: {
      // Strangers name whom to dial. A name could resolve to anything, so only the configured ones may be names.
      denyDialMultiaddr: (addr) => {
        const text = addr.toString()
        if (trusted.has(text)) return false
        const verdict = judgeMultiaddr(text)
        return /\/dns/.test(text) || verdict === 'refused' || (verdict === 'private' && !allowPrivate)
      },
    },
    services: {
      identify: identify(),
      ping: ping(),
      dht: kadDHT({
        protocol,
        kBucketSize: replicas,
        alpha: 4,
        disjointPaths: 4,
        clientMode: !server,
        // Who comes first waits in whenJoined, with a deadline; stock queries wait without one.
        allowQueryWithZeroPeers: true,
        // keepJoined does this, and more often in the beginning.
        querySelfInterval: 2 ** 31 - 1,
        networkDialTimeout: { minTimeout: 2_000, maxTimeout: 5_000 },
        peerInfoMapper: allowPrivate ? passthroughMapper : removePrivateAddressesMapper,
        validators: {
          openseed: (key, value) => {
            const verdict = judge.see(key, value)
            if (!verdict.ok) throw new Error(`refused: ${verdict.reason}`)
          },
        },
        // Never used: our own lookup decides. Stock code wants one.
        selectors: { openseed: () => 0 },
        reprovide: { validity: providerValidityMs, interval: 5 * 60_000, threshold: 0 },
      }),
    },
  }
}

function asMultiaddr(text: string): Multiaddr {
  try {
    return multiaddr(text)
  } catch (error) {
    throw new OpenSeedError('config_invalid', { message: `${text} is no multiaddr.`, cause: error })
  }
}

function withPeer(addr: string, peer: string): string {
  return addr.includes('/p2p/') ? addr : `${addr}/p2p/${peer}`
}
