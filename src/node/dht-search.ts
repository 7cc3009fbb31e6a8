/** Searching without a registry: sellers' own signed records, found in the DHT. Nobody tells their load there. */
import { randomBytes } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import { openHost, type Dht, type FoundSeller, type Host } from '../net/p2p/open-host.ts'
import type { Filter } from '../search/filter.ts'
import type { Told } from '../search/listing.ts'
import { modelNamesIn } from '../search/push-down.ts'
import { nodeKeyOf } from '../wire/node-key.ts'
import { peerIdBytes, type PeerId } from '../wire/peer-id.ts'

export interface DhtSearchOptions {
  /** Multiaddrs of DHT servers, each with its /p2p/ part; asked for once, when the first lookup is made. */
  servers: () => Promise<readonly string[]>
  /** CAIP-2 name of the network that sellers must be paid on. */
  network: string
  allowPrivate: boolean
  signal: AbortSignal
  now: Clock
}

export interface DhtFound {
  sellers: Told[]
  /** Servers that were met. */
  servers: number
  /** There may be more sellers than were read. */
  isPart: boolean
}

/** Opens a host at the first call and keeps it. */
export interface DhtSearch extends AsyncDisposable {
  /** Sellers that may pass, as far as lookups found them in time. Throws `dht_unreachable`. */
  matching(filters: readonly Filter[]): Promise<DhtFound>
  /** By the id or how it begins. Throws `dht_unreachable`. */
  named(seller: string): Promise<DhtFound>
  /** For connections to sellers. */
  host(): Promise<Host>
}

/** The directory that all sellers are in. */
const everyone = '*'
const mostRead = 100
const readAtOnce = 8
// One is meant; of more there is only to tell that there are more.
const mostNamed = 4
const usualMs = 1_000
const afterFirstMs = 200
const longestMs = 4_000

export function openDhtSearch(options: DhtSearchOptions): DhtSearch {
  const { servers, network, allowPrivate, signal, now } = options
  let begin: Promise<readonly string[]> | null = null
  let opened: Promise<Host> | null = null

  const bootstrap = () => (begin ??= servers())
  const host = () =>
    (opened ??= bootstrap().then((bootstrap) => {
      // Nobody knows this key afterwards: a search is no node that others should remember.
      const key = nodeKeyOf(randomBytes(32))
      return openHost({ key, listen: [], bootstrap, server: false, allowPrivate, now })
    }))

  async function lookUp(find: (host: Host, haste: Haste) => Promise<void>): Promise<DhtFound> {
    if ((await bootstrap()).length === 0) throw unreachable()
    const node = await host()
    const haste = openHaste(signal)
    await find(node, haste)
    signal.throwIfAborted()
    const found = new Map<PeerId, FoundSeller>()
    for (const seller of haste.found) {
      const { peer, seq, body } = seller.document
      const known = found.get(peer)
      if (body.networks.includes(network) && (known?.document.seq ?? -1) < seq) found.set(peer, seller)
    }
    const servers = node.peerCount()
    if (servers === 0 && found.size === 0) throw unreachable()
    const isPart = haste.signal.aborted || haste.found.length >= mostRead
    return { sellers: [...found.values()].map(toldOf), servers, isPart }
  }

  return {
    host,
    matching: (filters) =>
      lookUp(({ dht }, haste) => readSellers(dht, [...modelNamesIn(filters), everyone], haste)),
    named: (seller) =>
      lookUp(async ({ dht }, haste) => {
        const read = async (peer: PeerId) => {
          const found = await dht.getSeller(peer, { binding: true, signal: haste.signal })
          if (found !== null) haste.take(found)
        }
        if (peerIdBytes(seller) !== null) return await read(seller)
        const all = openHaste(signal)
        await readSellers(dht, [everyone], all)
        const peers = all.found.map(({ document }) => document.peer)
        await Promise.all(
          peers
            .filter((peer) => peer.startsWith(seller))
            .slice(0, mostNamed)
            .map(read),
        )
      }),
    async [Symbol.asyncDispose]() {
      await (await opened?.catch(() => null))?.[Symbol.asyncDispose]()
    },
  }
}

/** Sellers as they are found, and when to look no further. */
interface Haste {
  readonly found: readonly FoundSeller[]
  readonly signal: AbortSignal
  take(seller: FoundSeller): void
}

/** Ends a while after the first seller, but not before the usual time: what is there at once is worth more than all. */
function openHaste(signal: AbortSignal): Haste {
  const startedMs = performance.now()
  const found: FoundSeller[] = []
  const enough = new AbortController()
  return {
    found,
    signal: AbortSignal.any([signal, enough.signal, AbortSignal.timeout(longestMs)]),
    take(seller) {
      found.push(seller)
      if (found.length > 1) return
      const leftMs = Math.max(usualMs - (performance.now() - startedMs), afterFirstMs)
      setTimeout(() => enough.abort(), leftMs).unref()
    },
  }
}

/** Those of the first names first; each once. */
async function readSellers(dht: Dht, names: readonly string[], haste: Haste): Promise<void> {
  const { signal } = haste
  const waiting: PeerId[] = []
  const seen = new Set<PeerId>()
  let running = 0

  async function work(): Promise<void> {
    if (running >= readAtOnce) return
    running += 1
    for (let peer = waiting.shift(); peer !== undefined && !signal.aborted; peer = waiting.shift()) {
      const seller = await dht.getSeller(peer, { agree: 1, signal })
      if (seller !== null) haste.take(seller)
    }
    running -= 1
  }

  await Promise.all(
    names.map(async (name) => {
      const listed = await dht.findSellers(name, { limit: mostRead, timeoutMs: longestMs, signal })
      for (const peer of listed) {
        if (seen.size < mostRead && !seen.has(peer)) waiting.push(peer)
        seen.add(peer)
      }
      await Promise.all(Array.from({ length: readAtOnce }, work))
    }),
  )
}

function toldOf({ document, binding }: FoundSeller): Told {
  return {
    record: document,
    binding,
    heartbeat: null,
    state: null,
    lastSeenMs: null,
    observations: [],
  }
}

function unreachable(): OpenSeedError {
  return new OpenSeedError('dht_unreachable', {
    message: 'No DHT server answers.',
    hint: 'Name one with --bootstrap MULTIADDR, or for good in config.toml: [p2p] bootstrap = ["/ip4/…/tcp/8406/p2p/…"]',
  })
}
