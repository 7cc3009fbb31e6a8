/** Connections to peers: those there are, else new ones, straight before relayed. */
import type { Connection } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { OpenSeedError } from '../../base/errors.ts'
import { isPeerId, type PeerId } from '../../wire/peer-id.ts'
import { raceDials, type Contender } from '../dial-race.ts'
import { openHttp } from './http-protocol.ts'
import { internalsOf, type Node } from './libp2p-node.ts'
import type { ConnectOptions, PeerPath, PeerSocket, PeerTarget } from './open-host.ts'
import { RecentMap } from './recent-map.ts'
import { pathOf } from './stream-socket.ts'

export interface PeerDialer {
  connect(target: PeerTarget, options: ConnectOptions): Promise<PeerSocket>
  pathTo(peer: PeerId): PeerPath | null
  onBetterPath(listener: (peer: PeerId) => void): () => void
}

export interface DialerParts {
  node: Node
  /** False for addresses that strangers may not send this host to. */
  mayDial: (addr: string) => boolean
  /** Called with each relayed connection that is used. */
  onRelayed: (connection: Connection) => void
  stopped: AbortSignal
}

const headStartMs = 150
const dialMs = 5_000
// A connection that was cut unnoticed takes streams and never answers; a new one is tried before the watch is sure.
const oldConnectionMs = 1_500
const straightAgainMs = 60_000
const mostAddrs = 8
const mostPeers = 1_000

export function openPeerDialer({ node, mayDial, onRelayed, stopped }: DialerParts): PeerDialer {
  const dialing = new Map<PeerId, Promise<Connection>>()
  const triedStraightMs = new RecentMap<PeerId, number>(mostPeers)
  const listeners = new Set<(peer: PeerId) => void>()
  /** Made for one question, and not used for anything else since. */
  const passing = new WeakSet<Connection>()

  node.addEventListener('connection:open', ({ detail }: CustomEvent<Connection>) => {
    const peer = detail.remotePeer.toString()
    if (!detail.direct || !connectionsTo(peer).some(({ direct }) => !direct)) return
    for (const listener of listeners) listener(peer)
  })

  const connectionsTo = (peer: PeerId): Connection[] =>
    node
      .getConnections()
      .filter(({ remotePeer, status }) => status === 'open' && remotePeer.toString() === peer)
      .toSorted((a, b) => Number(b.direct) - Number(a.direct) || b.timeline.open - a.timeline.open)

  async function connect(target: PeerTarget, { signal, brief = false }: ConnectOptions): Promise<PeerSocket> {
    const [best] = connectionsTo(target.peer)
    if (best !== undefined) {
      if (!best.direct && !brief) goStraight(target)
      const soon = AbortSignal.any([signal, AbortSignal.timeout(oldConnectionMs)])
      try {
        const socket = await openHttp(best, soon)
        return brief ? closing(best, socket) : used(best, socket)
      } catch (error) {
        signal.throwIfAborted()
        // It works, and the other side wants no more on it: nor would it on another.
        if (best.status === 'open' && !soon.aborted) throw error
      }
    }
    const connection = await dial(target, signal)
    if (!brief) return used(connection, await openHttp(connection, signal))
    passing.add(connection)
    return closing(connection, await openHttp(connection, signal).finally(() => closeIfPassing(connection)))
  }

  function closing(connection: Connection, socket: PeerSocket): PeerSocket {
    return socket.once('close', () => closeIfPassing(connection))
  }

  function closeIfPassing(connection: Connection): void {
    if (passing.has(connection) && connection.streams.length === 0) void connection.close().catch(() => {})
  }

  function used(connection: Connection, socket: PeerSocket): PeerSocket {
    passing.delete(connection)
    if (!connection.direct) onRelayed(connection)
    return socket
  }

  /** All who want the peer wait for one dial, each as long as it likes. */
  async function dial(target: PeerTarget, signal: AbortSignal): Promise<Connection> {
    const { peer } = target
    const shared = dialing.get(peer) ?? dialAll(target).finally(() => dialing.delete(peer))
    dialing.set(peer, shared)
    shared.catch(() => {})
    return await unlessAborted(shared, signal)
  }

  function dialAll(target: PeerTarget): Promise<Connection> {
    const addrs = addrsOf(target, mayDial)
    if (addrs.length === 0) throw unreachable(target.peer, 'it gave no address that may be dialled')
    const contenders: Contender<Connection>[] = addrs.map((addr) => ({
      rank: isRelayed(addr) ? 1 : 0,
      open: (signal) => dialOne(addr, target.peer, signal),
    }))
    triedStraightMs.set(target.peer, performance.now())
    return raceDials(contenders, {
      headStartMs,
      signal: stopped,
      // A better one is kept, and was announced when it opened.
      onLate: (connection, rank) => {
        if (rank > 0) void connection.close().catch(() => {})
      },
    })
  }

  /** Past libp2p's queue, which dials the addresses of a peer one after another and joins all dials to it. */
  async function dialOne(addr: string, peer: PeerId, signal: AbortSignal): Promise<Connection> {
    // TCP sockets stay bound to the signal they were dialled with: it must never fire afterwards.
    const stop = new AbortController()
    const onAbort = () => stop.abort(signal.reason)
    const timer = setTimeout(() => stop.abort(new Error(`no answer within ${dialMs} ms`)), dialMs)
    signal.addEventListener('abort', onAbort, { once: true })
    const { transportManager } = internalsOf(node)
    const connection = await transportManager.dial(multiaddr(addr), { signal: stop.signal }).finally(() => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    })
    if (connection.remotePeer.toString() === peer) return connection
    connection.abort(new Error('another peer answered'))
    throw new Error('another peer answered')
  }

  /** In the background: the relayed connection serves until this one is there. */
  function goStraight(target: PeerTarget): void {
    const lastMs = triedStraightMs.get(target.peer) ?? Number.NEGATIVE_INFINITY
    if (performance.now() - lastMs < straightAgainMs) return
    const straight = { ...target, addrs: target.addrs.filter((addr) => !isRelayed(addr)) }
    triedStraightMs.set(target.peer, performance.now())
    if (addrsOf(straight, mayDial).length > 0) dialAll(straight).catch(() => {})
  }

  return {
    async connect(target, { signal, brief = false }) {
      try {
        return await connect(target, { signal: AbortSignal.any([signal, stopped]), brief })
      } catch (error) {
        signal.throwIfAborted()
        if (error instanceof OpenSeedError) throw error
        throw unreachable(target.peer, reasonOf(error), error)
      }
    },
    pathTo(peer) {
      const [best] = connectionsTo(peer)
      return best === undefined ? null : pathOf(best)
    },
    onBetterPath(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
  }
}

function isRelayed(addr: string): boolean {
  return addr.includes('/p2p-circuit')
}

/** With the peer's name at the end of each, so that Noise proves it; without those that lead elsewhere. */
function addrsOf({ peer, addrs }: PeerTarget, mayDial: (addr: string) => boolean): string[] {
  if (!isPeerId(peer)) return []
  const named = addrs.map((addr) => (/\/p2p\/[^/]+$/.test(addr) ? addr : `${addr}/p2p/${peer}`))
  return [...new Set(named)]
    .filter((addr) => addr.endsWith(`/p2p/${peer}`) && mayDial(addr))
    .slice(0, mostAddrs)
}

async function unlessAborted<Value>(work: Promise<Value>, signal: AbortSignal): Promise<Value> {
  signal.throwIfAborted()
  const { promise, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([work, promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

function reasonOf(error: unknown): string {
  const errors = error instanceof AggregateError ? error.errors : [error]
  return [...new Set(errors.map((each) => (each instanceof Error ? each.message : String(each))))]
    .slice(0, 3)
    .join('; ')
    .slice(0, 300)
}

function unreachable(peer: PeerId, reason: string, cause?: unknown): OpenSeedError {
  return new OpenSeedError('seller_unreachable', { message: `${peer} cannot be reached: ${reason}.`, cause })
}
