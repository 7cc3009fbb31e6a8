/** One libp2p node: its identity, its connections, and the DHT on top. Loaded by open-host when one is wanted. */
import { setTimeout as sleep } from 'node:timers/promises'
import { privateKeyFromRaw } from '@libp2p/crypto/keys'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { systemClock } from '../../base/clock.ts'
import { OpenSeedError } from '../../base/errors.ts'
import { judgeMultiaddr } from '../../wire/address-policy.ts'
import { publicKeyOf } from '../../wire/peer-id.ts'
import { BoundedStore } from './bounded-store.ts'
import { keepJoined, whenAnyone, whenJoined } from './bootstrap.ts'
import { watchConnections } from './connection-watch.ts'
import { openConnectivity } from './connectivity.ts'
import { openDht } from './dht.ts'
import { openDialPort } from './fixed-port.ts'
import { dialPolicy, hostSettings, kadProtocol, watchTimes } from './host-settings.ts'
import { httpProtocol, serveHttp } from './http-protocol.ts'
import { holdForOthers } from './kad-holder.ts'
import { limitKad } from './kad-limits.ts'
import { openKadQueries } from './kad-queries.ts'
import { openLan } from './lan.ts'
import { dropTimers, type Services } from './libp2p-node.ts'
import type { Host, HostOptions } from './open-host.ts'
import { openPeerDialer } from './peer-dialer.ts'
import { openPeerGuard } from './peer-guard.ts'
import { peerLimits } from './peer-limits.ts'
import { pushChanges } from './push-changes.ts'
import { openRecordJudge } from './record-judge.ts'
import { openRelayKeeper } from './relay-keeper.ts'
import { vouchFor } from './told-addrs.ts'

const meetMs = 700

export async function startHost(given: HostOptions): Promise<Host> {
  const options = { ...given, bootstrap: given.bootstrap.filter(isReadable) }
  const { key, bootstrap, stays = true, allowPrivate = false, now = systemClock, limits } = options
  const judge = openRecordJudge(now)
  const store = new BoundedStore({
    self: key.peerId,
    now,
    ...(limits && { limits }),
    admitRecord: (name) => judge.settle(name),
  })
  const dialed = bootstrap.map((addr) => multiaddr(addr))
  // With its public half: libp2p would compute it, in plain JavaScript and for as long as two connections take.
  const privateKey = privateKeyFromRaw(Buffer.concat([key.seed, publicKeyOf(key.peerId) ?? Buffer.of()]))
  const guard = openPeerGuard(peerLimits)
  const lan = options.lan ? openLan({ self: key.peerId, allowPrivate, ...options.lan }) : null
  const isAllowed = dialPolicy(options)
  const mayDial = (addr: string) => isAllowed(addr) || (lan?.mentioned(addr) ?? false)
  const gaters = [guard.gater, { denyDialMultiaddr: (addr: Multiaddr) => !mayDial(addr.toString()) }]
  const stop = new AbortController()
  const port = openDialPort()
  const node = await createLibp2p<Services>({
    privateKey,
    datastore: store,
    start: false,
    ...hostSettings(options, judge, gaters, port),
  })
  if (node.peerId.toString() !== key.peerId) {
    throw new OpenSeedError('internal_error', { message: 'libp2p gave the node key another peer id.' })
  }
  // Before the first connection: none may slip past.
  guard.watch(node)
  pushChanges(node, stop.signal)
  watchConnections(node, {
    isBusy: ({ streams }) => streams.some(({ protocol }) => protocol === httpProtocol),
    stopped: stop.signal,
    times: watchTimes(options),
  })
  if (options.onConnection) await serveHttp(node, options.onConnection, peerLimits)
  const listeners = new Set<() => void>()
  const onChange = () => listeners.forEach((listener) => listener())
  const relays = openRelayKeeper(node, { stopped: stop.signal, onChange })
  const connectivity = await openConnectivity({
    node,
    port,
    options,
    relays: () => relays.held(),
    stopped: stop.signal,
    onChange,
  })
  const vouch = vouchFor(node, {
    entrances: () => connectivity.entrances(),
    serves: options.server === true,
  })
  listeners.add(vouch)
  limitKad(node.services.dht)
  holdForOthers(node.services.dht, node.peerId, store)
  if (options.server === 'when-public') {
    const isServing = () =>
      connectivity.reachability().state === 'public' &&
      node.getMultiaddrs().some((addr) => mayDial(addr.toString()))
    listeners.add(() => void node.services.dht.setMode(isServing() ? 'server' : 'client').catch(() => {}))
  }
  await node.start()
  vouch()
  const queries = openKadQueries(node.services.dht, node.peerId)
  await lan?.start(node)
  const dialer = openPeerDialer({
    node,
    mayDial,
    onRelayed: (connection) => connectivity.improve(connection),
    stopped: stop.signal,
  })
  const joining = keepJoined({ node, queries, bootstrap: dialed, stays, stopped: stop.signal })
  const { routingTable } = queries
  return {
    peerId: key.peerId,
    addrs: () => [
      ...new Set([...node.getMultiaddrs().map(String), ...connectivity.entrances(), ...relays.held()]),
    ],
    peerCount: () => routingTable.size,
    joined: (count, signal) => whenJoined(routingTable, count, signal),
    connect: (target, wait) => dialer.connect(target, wait),
    pathTo: (peer) => dialer.pathTo(peer),
    onBetterPath: (listener) => dialer.onBetterPath(listener),
    useRelays: (wanted) => relays.want(wanted),
    reachability: () => connectivity.reachability(),
    onReachability(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    async knownServers(most) {
      const peers = await node.peerStore.all({
        filters: [({ protocols }) => protocols.includes(kadProtocol)],
      })
      const addrs = peers.flatMap(({ id, addresses }) =>
        addresses.slice(0, 1).map(({ multiaddr }) => withPeer(multiaddr.toString(), id.toString())),
      )
      return addrs.filter((addr) => allowPrivate || judgeMultiaddr(addr) === 'public').slice(0, most)
    },
    dht: openDht({
      queries,
      store,
      judge,
      key,
      allowPrivate,
      async joined(signal) {
        if (!(await whenAnyone(joining, routingTable, signal))) return
        await Promise.race([joining.met, sleep(meetMs, undefined, { ref: false })])
      },
      stopped: stop.signal,
    }),
    async [Symbol.asyncDispose]() {
      stop.abort()
      await lan?.close()
      await Promise.all([joining.done, connectivity.done])
      await node.stop()
      dropTimers(node)
    },
  }
}

// Most of them come out of records of strangers, and one that throws later would throw where nobody listens.
function isReadable(text: string): boolean {
  try {
    const peers = multiaddr(text)
      .getComponents()
      .filter(({ name }) => name === 'p2p')
    for (const { value = '' } of peers) peerIdFromString(value)
    return true
  } catch {
    return false
  }
}

function withPeer(addr: string, peer: string): string {
  return addr.includes('/p2p/') ? addr : `${addr}/p2p/${peer}`
}
