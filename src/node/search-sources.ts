/** Where a search asks: the registries, and the DHT when none of them answers or none is to be believed. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { hasCode, OpenSeedError } from '../base/errors.ts'
import type { Config } from '../config/config.ts'
import type { RegistryClient } from '../net/registry-client.ts'
import type { Filter } from '../search/filter.ts'
import type { Told } from '../search/listing.ts'
import type { DhtFound, DhtSearch } from './dht-search.ts'
import {
  openSurvey,
  type Enough,
  type RegistryAnswer,
  type Survey,
  type Surveyed,
} from './registry-survey.ts'

export interface SearchSettings {
  registries: readonly string[]
  /** Ask the DHT and no registry. */
  trustless: boolean
  /** Multiaddrs of DHT servers, each with its /p2p/ part. */
  bootstrap: readonly string[]
  /** Folders of roles that may have met DHT servers. */
  folders: Pick<Config['paths'], 'buyer' | 'seller'>
  /** Whether sellers in private networks may be probed. */
  allowPrivate: boolean
  network: Pick<Config['network'], 'terms' | 'rpcUrls'>
  signal: AbortSignal
  now?: Clock
}

/** Who was asked, and how they answered. */
export interface Asked {
  source: 'registries' | 'dht'
  registries: RegistryAnswer[]
  /** DHT servers that were met. */
  servers: number
}

export interface Gathered extends Asked {
  sellers: Told[]
  /** There are more sellers than were read. */
  isPart: boolean
}

export interface Sources extends AsyncDisposable {
  /** At least the sellers that pass, as far as they were read. */
  matching(filters: readonly Filter[], enough: Enough): Promise<Gathered>
  /** All that can be read; where lookups are slow, what the last one read. */
  all(filters: readonly Filter[]): Promise<Gathered>
  /** By the id or how it begins. */
  named(seller: string): Promise<Gathered>
  dht(): Promise<DhtSearch>
}

const nobodyAfter = (ms: number) => sleep<RegistryClient[]>(ms, [], { ref: false })
const nobody = { sellers: [], registries: [], isPart: false, failure: null }
const indexMs = 1_000
const indexBesidesMs = 300

/** Opens what it needs when it is needed. Throws `registry_unreachable`, `dht_unreachable` and the like when nobody answers. */
export function openSources(settings: SearchSettings & { now: Clock }): Sources {
  const { registries, trustless, bootstrap, folders, allowPrivate, network, signal, now } = settings
  let survey: Promise<Survey> | null = null
  let search: Promise<DhtSearch> | null = null
  let last: Gathered | null = null
  let areSilent = false

  const closing = new AbortController()
  const ended = AbortSignal.any([signal, closing.signal])
  const openedSurvey = () => (survey ??= openSurvey({ registries, allowPrivate, signal: ended }))

  /** DHT servers to begin with: named ones, those of the last time, and those that registries know. */
  async function servers(): Promise<string[]> {
    const { askIndexes } = await import('./known-peers.ts')
    const { readKnownPeers } = await import('./read-known-peers.ts')
    const known = [...bootstrap, ...(await readKnownPeers(folders, allowPrivate))]
    if (areSilent) return known
    const isBesides = known.length > 0
    const opened = openedSurvey().then(
      ({ clients }) => clients,
      () => [],
    )
    // DNS may take its time to name them, which nobody waits for who knows others.
    const clients = await (isBesides ? Promise.race([opened, nobodyAfter(indexBesidesMs)]) : opened)
    const deadline = AbortSignal.timeout(isBesides ? indexBesidesMs : indexMs)
    const { addrs } = await askIndexes(clients, {
      allowPrivate,
      signal: AbortSignal.any([signal, deadline]),
    })
    return [...new Set([...known, ...addrs])]
  }

  const dht = () =>
    (search ??= import('./dht-search.ts').then(({ openDhtSearch }) =>
      openDhtSearch({ servers, network: network.terms.caip2, allowPrivate, signal, now }),
    ))

  /** What keeps the registries from being used at all, or what the first of them says when none answers. */
  async function askRegistries(
    ask: (survey: Survey) => Promise<Surveyed>,
  ): Promise<Surveyed & { failure: OpenSeedError | null }> {
    try {
      const surveyed = await ask(await openedSurvey())
      const errors = surveyed.registries.map(({ error }) => error)
      return { ...surveyed, failure: errors.includes(null) ? null : (errors[0] ?? null) }
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof OpenSeedError)) throw error
      return { sellers: [], registries: [], isPart: false, failure: error }
    }
  }

  async function gather(
    ask: (survey: Survey) => Promise<Surveyed>,
    lookUp: (dht: DhtSearch) => Promise<DhtFound>,
  ): Promise<Gathered> {
    const { failure, ...surveyed } = trustless ? nobody : await askRegistries(ask)
    if (!trustless && failure === null) return { source: 'registries', ...surveyed, servers: 0 }
    areSilent = failure !== null
    try {
      return { source: 'dht', registries: surveyed.registries, ...(await lookUp(await dht())) }
    } catch (error) {
      signal.throwIfAborted()
      // Who has registries wants to hear of them first.
      throw failure !== null && hasCode(error, 'dht_unreachable') ? withHint(failure) : error
    }
  }

  return {
    dht,
    async matching(filters, enough) {
      last = await gather(
        (survey) => survey.matching(filters, enough),
        (dht) => dht.matching(filters),
      )
      return last
    },
    all: (filters) =>
      last?.source === 'dht'
        ? Promise.resolve(last)
        : gather(
            (survey) => survey.all(),
            (dht) => dht.matching(filters),
          ),
    named: (seller) =>
      gather(
        (survey) => survey.named(seller),
        (dht) => dht.named(seller),
      ),
    async [Symbol.asyncDispose]() {
      closing.abort()
      await (await search)?.[Symbol.asyncDispose]()
      await (await survey?.catch(() => null))?.[Symbol.asyncDispose]()
    },
  }
}

function withHint(failure: OpenSeedError): OpenSeedError {
  const { code, message, details, hint } = failure
  return new OpenSeedError(code, {
    message,
    details,
    hint:
      hint ?? 'Try again, name another one with --registry URL, or ask the DHT with --bootstrap MULTIADDR',
    cause: failure,
  })
}
