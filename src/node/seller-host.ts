/** A seller's peer-to-peer side: opened in the background of its start, kept reachable, and its addresses told. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { openHost, type Host, type HostOptions, type PeerSocket } from '../net/p2p/open-host.ts'
import type { NodeKey } from '../wire/node-key.ts'
import { askIndexes, encodeKnownPeers, parseKnownPeers, type IndexSource } from './known-peers.ts'
import { addrsToTell } from './seller-addrs.ts'

/** What the settings say of the peer-to-peer side. */
export interface P2pOptions {
  /** Multiaddrs to listen on; with none it is reached over relays only. */
  listen: readonly string[]
  /** Multiaddrs told to others instead. */
  announce: readonly string[]
  /** Multiaddrs of DHT servers and relays, each with its /p2p/ part. */
  bootstrap: readonly string[]
  /** Whether the router is asked to pass the port on. */
  portMapping: boolean
  /** Whether relayed connections may become direct. */
  punch: boolean
  /** Whether the local network is told. */
  lan: boolean
  /** It has a URL, and nobody is to connect to it otherwise: it only tells the DHT. */
  onlyTells?: true
  /** Changes of the host for networks that are not the usual one. */
  host?: Pick<HostOptions, 'replicas'>
}

export interface SellerHostParts extends P2pOptions {
  key: NodeKey
  allowPrivate: boolean
  registries: () => readonly IndexSource[]
  /** Serves a connection that a peer has opened. */
  accept: (socket: PeerSocket) => void
  loadKnown: () => Promise<string | null>
  saveKnown: (text: string) => Promise<unknown>
  /** The host is up. Called once. */
  onHost: (host: Host) => void
  /** `addrs` gives something else than before. */
  onAddrs: () => void
  now: Clock
  log: Log
}

export interface SellerHost extends AsyncDisposable {
  /** Multiaddrs to be told, the best ones first; none while the host is not up. */
  addrs(): readonly string[]
  /** Null while it is not up. */
  host(): Host | null
}

const firstAskMs = 3_000
const askMs = 10_000
const firstRetryMs = 2_000
const longestRetryMs = 60_000
const askAgainMs = 10 * 60_000
const firstRememberMs = 30_000
const mostServers = 16
const meetMs = 5_000

/** Returns at once. */
export function openSellerHost(parts: SellerHostParts): SellerHost {
  const { allowPrivate, bootstrap, registries, log } = parts
  const stop = new AbortController()
  const { signal } = stop
  let host: Host | null = null
  let addrs: readonly string[] = []
  let learned: readonly string[] = []
  let kept: readonly string[] = []

  async function run(): Promise<void> {
    kept = parseKnownPeers(await parts.loadKnown(), allowPrivate)
    const { answered } = await learn(firstAskMs)
    const known = [...new Set([...bootstrap, ...learned, ...kept])]
    const opened = await open(known)
    if (opened === null) return
    host = opened
    opened.onReachability(refresh)
    parts.onHost(opened)
    refresh()
    await keepLearning(opened, answered)
  }

  /** Null when it is stopped before that worked. */
  async function open(known: readonly string[]): Promise<Host | null> {
    for (let failures = 0; !signal.aborted; failures += 1) {
      try {
        const opened = await openHost(hostOptions(parts, known, failures > 0))
        if (!signal.aborted) return opened
        await opened[Symbol.asyncDispose]()
      } catch (err) {
        if (failures === 0)
          log.warn(
            { err, listen: parts.listen },
            'the peer-to-peer side did not come up on its port; taking another',
          )
        else log.error({ err }, 'the peer-to-peer side did not come up; trying again')
        if (failures > 0) await pause(longestRetryMs, signal)
      }
    }
    return null
  }

  async function learn(withinMs: number): Promise<{ answered: number }> {
    const within = AbortSignal.any([signal, AbortSignal.timeout(withinMs)])
    const { addrs, answered } = await askIndexes(registries(), { allowPrivate, signal: within })
    // Who is silent now may be back: what it said before stays behind the news.
    learned = [...new Set([...addrs, ...learned])].slice(0, mostServers)
    return { answered }
  }

  /** Asks again soon whom nobody has answered for, and all of them from time to time. */
  async function keepLearning(opened: Host, answeredFirst: number): Promise<void> {
    let answered = answeredFirst
    let waitMs = firstRetryMs
    for (let round = 0; !signal.aborted; round += 1) {
      const isWhole = answered === registries().length
      waitMs = isWhole ? (round === 0 ? firstRememberMs : askAgainMs) : Math.min(waitMs * 2, longestRetryMs)
      await pause(waitMs, signal)
      if (signal.aborted) return
      answered = (await learn(askMs)).answered
      refresh()
      if (opened.peerCount() === 0) await meet(opened, learned, signal)
      await remember(opened)
    }
  }

  async function remember(opened: Host): Promise<void> {
    try {
      const known = [...learned, ...(await opened.knownServers(mostServers))]
      if (known.length > 0) await parts.saveKnown(encodeKnownPeers(known))
    } catch (err) {
      log.debug({ err }, 'known peers were not kept')
    }
  }

  function refresh(): void {
    if (host === null || signal.aborted || parts.onlyTells) return
    // Whoever is reached directly by everyone leaves the relays to those who need them.
    const known = [...bootstrap, ...learned]
    host.useRelays(host.reachability().state === 'public' ? [] : known.length > 0 ? known : kept)
    const newest = addrsToTell(host, allowPrivate)
    if (newest.join() === addrs.join()) return
    addrs = newest
    parts.onAddrs()
  }

  const running = run().catch((err: unknown) => {
    if (!signal.aborted) log.error({ err }, 'the peer-to-peer side of this seller has failed')
  })
  return {
    addrs: () => addrs,
    host: () => host,
    async [Symbol.asyncDispose]() {
      stop.abort()
      await running
      if (host === null) return
      await remember(host)
      await host[Symbol.asyncDispose]()
    },
  }
}

function hostOptions(parts: SellerHostParts, bootstrap: readonly string[], anyPort: boolean): HostOptions {
  const { key, listen, announce, allowPrivate, portMapping, punch, lan, accept, now } = parts
  if (parts.onlyTells)
    return { ...parts.host, key, listen: [], bootstrap, server: false, allowPrivate, punch: false, now }
  return {
    ...parts.host,
    key,
    listen: anyPort ? listen.map((addr) => addr.replace(/\/tcp\/\d+/, '/tcp/0')) : listen,
    announce,
    bootstrap,
    server: 'when-public',
    allowPrivate,
    onConnection: accept,
    portMapping,
    punch,
    ...(lan && { lan: { onPeer: () => undefined } }),
    now,
  }
}

/** Servers that were not known when the host was opened. They serve no HTTP; but once met, each knows what the other is. */
async function meet(host: Host, addrs: readonly string[], signal: AbortSignal): Promise<void> {
  const within = AbortSignal.any([signal, AbortSignal.timeout(meetMs)])
  const targets = addrs.map((addr) => ({ peer: addr.slice(addr.lastIndexOf('/') + 1), addrs: [addr] }))
  await Promise.allSettled(
    targets.map(async (target) => (await host.connect(target, { signal: within })).destroy()),
  )
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal, ref: false }).catch(() => undefined)
}
