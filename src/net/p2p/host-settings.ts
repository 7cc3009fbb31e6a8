/** How libp2p is set up for a host. */
import { identify, identifyPush } from '@libp2p/identify'
import type { ConnectionGater } from '@libp2p/interface'
import { kadDHT, passthroughMapper, removePrivateAddressesMapper } from '@libp2p/kad-dht'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import type { Libp2pOptions } from 'libp2p'
import { judgeMultiaddr } from '../../wire/address-policy.ts'
import { isOwnIp, isOwnMultiaddr, type IsOwn } from '../own-addresses.ts'
import type { WatchTimes } from './connection-watch.ts'
import type { DialPort } from './fixed-port.ts'
import { joinGaters, silentLogger, type Services } from './libp2p-node.ts'
import { frugalYamux } from './muxer.ts'
import { resolvingNames } from './names.ts'
import type { HostOptions } from './open-host.ts'
import type { RecordJudge } from './record-judge.ts'
import { relayServer } from './relay-server.ts'
import { circuits } from './relay-transport.ts'

export const kadProtocol = '/openseed/kad/1.0.0'
/** Streams of one connection and direction, whatever their protocol: those of HTTP, and some for the rest. */
export const mostStreams = 1_152
// What one stream may hold unread. The window never grows past it: yamux cuts a stream whose buffer overflows, and
// its own sizes (a window of 16 MiB, a buffer of 4) cut fast senders that did all they were told.
const windowBytes = 1024 * 1024
// Of a relay, which holds two unread streams for each circuit: 2 MB/s over 125 ms.
const relayWindowBytes = 256 * 1024

export function hostSettings(
  options: HostOptions,
  judge: RecordJudge,
  gaters: readonly ConnectionGater[],
  port: DialPort,
): Libp2pOptions<Services> {
  const { listen, announce = [], server, relay, allowPrivate = false, replicas = 20, now } = options
  const mayBeHere = hereRule(options)
  const maxStreamWindowSize = relay ? relayWindowBytes : windowBytes
  return {
    addresses: { listen: [...listen], announce: [...announce] },
    transports: [
      (components) =>
        resolvingNames(port.transport(components), {
          allowPrivate,
          mayLeadTo: (ip, addr) => mayBeHere(addr) || !isOwnIp(ip),
          resolve: options.resolve,
        }),
      circuits(),
    ],
    connectionEncrypters: [noise()],
    streamMuxers: [
      frugalYamux({
        maxInboundStreams: mostStreams,
        maxOutboundStreams: mostStreams,
        // Those that come in the moment before the connection is listened to: a buyer's first hundred requests do.
        maxEarlyStreams: mostStreams,
        streamOptions: { maxStreamWindowSize, maxReadBufferLength: 2 * maxStreamWindowSize },
      }),
    ],
    connectionManager: {
      maxConnections: server ? 5_000 : 300,
      // Of one address and second: many sellers stand behind one NAT, and the default is 5.
      inboundConnectionThreshold: server ? 100 : 20,
      maxIncomingPendingConnections: 100,
      dialTimeout: 5_000,
      addressDialTimeout: 5_000,
      reconnectRetries: 0,
    },
    // connection-watch does this, for less: no stream and no negotiation for each ping.
    connectionMonitor: { enabled: false },
    connectionGater: joinGaters(gaters),
    logger: silentLogger,
    services: {
      identify: identify(),
      // pushChanges calls it: who begins to serve the DHT tells those it is connected to already.
      identifyPush: identifyPush({ runOnSelfUpdate: false, debounce: 0 }),
      ping: ping(),
      ...(relay && { relay: relayServer({ ...relay, ...(now && { now }) }) }),
      dht: kadDHT({
        protocol: kadProtocol,
        kBucketSize: replicas,
        alpha: 4,
        disjointPaths: 4,
        clientMode: server !== true,
        // Who comes first waits in whenJoined, with a deadline; stock queries wait without one.
        allowQueryWithZeroPeers: true,
        // keepJoined does this, and more often in the beginning.
        querySelfInterval: 2 ** 31 - 1,
        // Who is slow is waited for: only the deadline of a lookup ends that.
        networkDialTimeout: { minTimeout: 10_000, maxTimeout: 20_000 },
        peerInfoMapper: allowPrivate ? passthroughMapper : removePrivateAddressesMapper,
        validators: {
          openseed: (key, value) => judge.require(key, value),
          // Stock code brings its own for this one; nothing is stored there, and to send it is garbage like any other.
          pk: (key, value) => judge.require(key, value),
        },
        // Never used: our own lookup decides. Stock code wants one.
        selectors: { openseed: () => 0 },
      }),
    },
  }
}

/** A cut is seen within four seconds where it matters: a server's thousands are asked by the other side. */
export function watchTimes({ server }: HostOptions): WatchTimes {
  return { busyMs: 2_000, idleMs: server === true ? 20_000 : 5_000, silenceMs: 2_000 }
}

type DialRules = Pick<HostOptions, 'bootstrap' | 'server' | 'allowPrivate'>

/** Whom strangers may send this host to. What a name leads to is judged when it is dialled, see names. */
export function dialPolicy(options: DialRules, isOwn: IsOwn = isOwnIp): (addr: string) => boolean {
  const { bootstrap, allowPrivate = false } = options
  const isTrusted = trustIn(bootstrap)
  const mayBeHere = hereRule(options)
  return (addr) => {
    if (isTrusted(addr)) return true
    // One that leads to any number of addresses, by records that strangers fill.
    if (addr.includes('/dnsaddr/')) return false
    const verdict = judgeMultiaddr(addr)
    if (verdict === 'private') return allowPrivate
    return verdict === 'public' && (mayBeHere(addr) || !isOwnMultiaddr(addr, isOwn))
  }
}

// A server, and who means to be one, may run beside others on a machine that is public. Who only asks was steered here.
function hereRule({ bootstrap, server, allowPrivate = false }: DialRules): (addr: string) => boolean {
  const isTrusted = trustIn(bootstrap)
  return (addr) => server !== false || allowPrivate || isTrusted(addr)
}

/** Over a trusted relay as well; whom it passes us on to it knows itself. */
function trustIn(bootstrap: readonly string[]): (addr: string) => boolean {
  const trusted = new Set(bootstrap)
  return (addr) => trusted.has(addr.split('/p2p-circuit', 1)[0]!)
}
