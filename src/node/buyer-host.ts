/** The buyer's peer-to-peer side: opened when a seller or the DHT is first needed, and never waited for before. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { openHost, type Dht, type Host, type HostOptions, type PeerTarget } from '../net/p2p/open-host.ts'
import type { NodeKey } from '../wire/node-key.ts'
import type { PeerId } from '../wire/peer-id.ts'
import type { SellerRecord } from '../wire/record.ts'
import { askIndexes, encodeKnownPeers, parseKnownPeers, type IndexSource } from './known-peers.ts'

export interface BuyerHostParts {
  key: () => NodeKey
  /** Multiaddrs; a buyer needs none. */
  listen: readonly string[]
  /** Multiaddrs of DHT servers and relays, each with its /p2p/ part. */
  bootstrap: readonly string[]
  allowPrivate: boolean
  /** Whether relayed connections may become direct. */
  punch: boolean
  /** Takes whom the local network shows; absent: it is not looked at. */
  onNeighbour?: ((target: PeerTarget) => void) | undefined
  /** Those that say where DHT servers are. */
  registries: () => readonly IndexSource[]
  loadKnown: () => Promise<string | null>
  saveKnown: (text: string) => Promise<unknown>
  /** Changes for networks that are not the usual one. */
  host?: Pick<HostOptions, 'replicas'> | undefined
  now: Clock
  log: Log
}

export interface BuyerHost extends AsyncDisposable {
  /** The host; opens it at the first call. */
  get(): Promise<Host>
  /** The DHT once it is joined; null when no way into it is known. Throws `dht_unreachable`. */
  dht(signal: AbortSignal): Promise<Dht | null>
  /** The newest record that the DHT has of a seller; null also when there is no way into the DHT. */
  findSeller(peer: PeerId): Promise<SellerRecord | null>
  /** Asks the registries for DHT servers from time to time, so that these are known when the registries are gone. */
  keepLearning(): void
}

const askMs = 1_500
const askAgainMs = 10 * 60_000
const firstRetryMs = 5_000
const joinMs = 3_000
const mostServers = 32

export function openBuyerHost(parts: BuyerHostParts): BuyerHost {
  const { allowPrivate, bootstrap, registries, now, log } = parts
  const stop = new AbortController()
  const background = new Set<Promise<void>>()
  let opening: Promise<Host> | null = null
  let learned: readonly string[] = []
  let learning: Promise<void> | null = null
  let learnAgainMs = -Infinity
  let retryMs = firstRetryMs
  /** What the host was given to begin with. */
  let given: ReadonlySet<string> = new Set()
  const kept = parts.loadKnown().then(
    (text) => parseKnownPeers(text, allowPrivate),
    () => [],
  )

  function track(work: Promise<void>): void {
    background.add(work)
    void work.finally(() => background.delete(work))
  }

  async function learn(): Promise<void> {
    const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(askMs)])
    const { addrs, answered } = await askIndexes(registries(), { allowPrivate, signal })
    retryMs = answered > 0 ? firstRetryMs : Math.min(2 * retryMs, askAgainMs)
    learnAgainMs = now() + (answered > 0 ? askAgainMs : retryMs)
    if (addrs.length > 0) await remember(addrs)
  }

  /** DHT servers, as far as anybody said; the registries are asked when that was long ago. */
  async function servers(): Promise<string[]> {
    if (now() >= learnAgainMs && registries().length > 0 && !stop.signal.aborted) {
      learning ??= learn().finally(() => (learning = null))
    }
    // Where some are known nobody waits for a registry that may be gone.
    const known = [...bootstrap, ...learned, ...(await kept)]
    if (known.length === 0) await learning
    return [...new Set([...bootstrap, ...learned, ...(await kept)])]
  }

  async function remember(addrs: readonly string[]): Promise<void> {
    learned = [...new Set([...addrs, ...learned])].slice(0, mostServers)
    const text = encodeKnownPeers([...learned, ...(await kept)])
    await parts.saveKnown(text).catch((err: unknown) => log.debug({ err }, 'known peers were not kept'))
  }

  async function open(): Promise<Host> {
    const { key, listen, punch, onNeighbour } = parts
    const known = await servers()
    if (stop.signal.aborted) throw shuttingDown()
    given = new Set(known)
    const host = await openHost({
      ...parts.host,
      key: key(),
      listen,
      bootstrap: known,
      server: false,
      allowPrivate,
      punch,
      now,
      ...(onNeighbour && { lan: { onPeer: onNeighbour } }),
    })
    log.debug({ peer: host.peerId, servers: known.length }, 'the peer-to-peer side is up')
    return host
  }

  async function get(): Promise<Host> {
    if (stop.signal.aborted) throw shuttingDown()
    opening ??= open().catch((error: unknown) => {
      opening = null
      throw error
    })
    return await opening
  }

  /** Servers that were not known when the host was opened. */
  async function meet(host: Host, addrs: readonly string[], signal: AbortSignal): Promise<void> {
    const targets = addrs.flatMap((addr) => targetIn(addr) ?? [])
    given = new Set([...given, ...addrs])
    // They serve no HTTP there; but once connected, each knows what the other is.
    await Promise.allSettled(
      targets.map(async (target) => (await host.connect(target, { signal })).destroy()),
    )
  }

  async function dht(signal: AbortSignal): Promise<Dht | null> {
    const known = await servers()
    if (opening === null && known.length === 0) return null
    const host = await get()
    if (known.length === 0) return host.peerCount() > 0 ? host.dht : null
    const within = AbortSignal.any([signal, stop.signal, AbortSignal.timeout(joinMs)])
    const others = known.filter((addr) => !given.has(addr))
    if (host.peerCount() === 0 && others.length > 0) track(meet(host, others, within))
    if (await host.joined(1, within)) return host.dht
    throw new OpenSeedError('dht_unreachable', {
      message: `None of ${known.length} known DHT servers answered.`,
      hint: 'Check the network, or name another one with --bootstrap.',
    })
  }

  return {
    get,
    dht,
    async findSeller(peer) {
      try {
        const found = await (await dht(stop.signal))?.getSeller(peer, { signal: stop.signal })
        return found?.document ?? null
      } catch (err) {
        log.debug({ peer, err }, 'a seller was not looked up')
        return null
      }
    },
    keepLearning() {
      const work = async () => {
        while (!stop.signal.aborted) {
          await servers()
          await learning
          const waitMs = Math.max(firstRetryMs, learnAgainMs - now())
          await sleep(waitMs, undefined, { signal: stop.signal, ref: false }).catch(() => undefined)
        }
      }
      track(work())
    },
    async [Symbol.asyncDispose]() {
      stop.abort(shuttingDown())
      await Promise.all([...background, learning])
      const host = await opening?.catch(() => null)
      if (host === null || host === undefined) return
      const met = await host.knownServers(mostServers).catch(() => [])
      if (met.length > 0) await remember(met)
      await host[Symbol.asyncDispose]()
    },
  }
}

function targetIn(addr: string): PeerTarget | null {
  const peer = /\/p2p\/([^/]+)$/.exec(addr)?.[1]
  return peer === undefined ? null : { peer, addrs: [addr] }
}

const shuttingDown = () => new OpenSeedError('shutting_down', { message: 'openseed is shutting down.' })
