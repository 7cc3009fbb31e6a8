/** Searching without a registry: sellers' own signed records, found in the DHT. Nobody tells their load there. */
import { randomBytes } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import {
  openHost,
  type Dht,
  type FoundSeller,
  type Host,
  type MarketFound,
  type WaitOptions,
} from '../net/p2p/open-host.ts'
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
// One is meant; of more there is only to tell that there are more.
const mostNamed = 4
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
      return openHost({ key, listen: [], bootstrap, server: false, stays: false, allowPrivate, now })
    }))

  async function lookUp(find: (dht: Dht, time: WaitOptions) => Promise<MarketFound>): Promise<DhtFound> {
    if ((await bootstrap()).length === 0) throw unreachable()
    const node = await host()
    const { sellers, isWhole } = await find(node.dht, { timeoutMs: longestMs, signal })
    signal.throwIfAborted()
    const found = new Map<PeerId, FoundSeller>()
    for (const seller of sellers) {
      const { peer, seq, body } = seller.document
      const known = found.get(peer)
      if (body.networks.includes(network) && (known?.document.seq ?? -1) < seq) found.set(peer, seller)
    }
    const servers = node.peerCount()
    if (servers === 0 && found.size === 0) throw unreachable()
    return { sellers: [...found.values()].map(toldOf), servers, isPart: !isWhole }
  }

  return {
    host,
    matching: (filters) =>
      lookUp((dht, time) =>
        dht.sellersOf([...modelNamesIn(filters), everyone], { ...time, limit: mostRead }),
      ),
    named: (seller) =>
      lookUp(async (dht, time) => {
        const isPeer = peerIdBytes(seller) !== null
        const all = isPeer ? null : await dht.sellersOf([everyone], { ...time, limit: mostRead })
        const listed = all?.sellers.map(({ document }) => document.peer) ?? [seller]
        const meant = listed.filter((peer) => peer.startsWith(seller)).slice(0, mostNamed)
        const read = await Promise.all(meant.map((peer) => dht.getSeller(peer, { ...time, binding: true })))
        return { sellers: read.filter((found) => found !== null), isWhole: all?.isWhole ?? true }
      }),
    async [Symbol.asyncDispose]() {
      await (await opened?.catch(() => null))?.[Symbol.asyncDispose]()
    },
  }
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
