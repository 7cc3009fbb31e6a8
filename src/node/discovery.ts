/** How a buyer finds sellers: registries, from settings and from DNS, the DHT, and the local network, behind one table. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { asOpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { announcedOf, type AnnouncedSeller, type KnownSeller } from '../buyer/announced.ts'
import { openCatalogues } from '../buyer/catalogues.ts'
import type { BuyerStore } from '../buyer/channel-book.ts'
import { openDirectory, type Directory } from '../buyer/directory.ts'
import type { Discovery } from '../buyer/explain-none.ts'
import type { ReachRules } from '../buyer/reach.ts'
import {
  isDomain,
  lookUpRegistries,
  openNamedRegistry,
  usableRegistries,
  type ResolveTxt,
} from '../net/bootstrap.ts'
import { openDhtFeed, type DhtFeed } from '../net/dht-feed.ts'
import { openLanFeed } from '../net/lan-feed.ts'
import type { PeerTarget } from '../net/p2p/open-host.ts'
import { openRegistryClient, type RegistryClient } from '../net/registry-client.ts'
import { openRegistryFeed } from '../net/registry-feed.ts'
import { openSellerClient, type SellerClient } from '../net/seller-client.ts'
import type { Curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import type { IsValidSignature } from '../wire/peer-binding.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { peerAddress } from '../wire/seller-address.ts'
import type { BuyerHost } from './buyer-host.ts'

export interface DiscoveryOptions {
  registries: readonly string[]
  /** Whether the DHT is asked although registries answer. */
  trustless: boolean
  /** Whether the local network is listened to. */
  lan: boolean
  rules: ReachRules
  resolveTxt?: ResolveTxt
  isValidSignature: IsValidSignature
  host: BuyerHost
  clientFor: (url: string) => SellerClient
  connectTimeoutMs: number
  digests: Digests
  curve: Curve
  store: BuyerStore
  now: Clock
  log: Log
}

export interface BuyerDiscovery extends Discovery {
  /** Begins to ask. What it returns stops it. */
  start(onChange: (sellers: readonly AnnouncedSeller[]) => void): Promise<AsyncDisposable>
  /** The seller as its newest record says. */
  find(peer: PeerId): KnownSeller | null
  /** Registries known by now. */
  registries(): readonly RegistryClient[]
  /** Somebody was met on the local network. */
  met(target: PeerTarget): void
}

const tableKey = 'directory.sellers'
const domainKey = (domain: string) => `directory.registries.${domain}`
const retryDomainMs = 60_000
// Registries that are gone fail at once or hang; the DHT need not wait for those that hang.
const registriesFirstMs = 600
const fewRegistries = 2

export function openDiscovery(options: DiscoveryOptions): BuyerDiscovery {
  const { registries, rules, host, now, log, store } = options
  const started = Promise.withResolvers<{ directory: Directory; dht: Pick<DhtFeed, 'look'> }>()
  const clients: RegistryClient[] = []
  let directory: Directory | null = null
  let onNeighbour: (target: PeerTarget) => void = () => undefined

  async function start(onChange: (sellers: readonly AnnouncedSeller[]) => void): Promise<AsyncDisposable> {
    await using stack = new AsyncDisposableStack()
    const stop = new AbortController()
    let table: Iterable<KnownSeller> = []
    const catalogues = openCatalogues({ ...options, onRead: () => publish(table) })
    stack.defer(() => catalogues.close())
    const publish = (sellers: Iterable<KnownSeller>) => {
      table = sellers
      const known = [...sellers]
      catalogues.follow(known)
      onChange(known.map((seller) => announcedOf(seller, catalogues.modelsOf(seller))))
    }
    const opened = await openDirectory({
      ...options,
      ...rules,
      onChange: publish,
      load: () => store.read('getMeta', { key: tableKey }),
      save: (value) => store.run('setMeta', { key: tableKey, value }),
    })
    stack.defer(() => opened.close())
    directory = opened
    const add = (client: RegistryClient) => {
      if (!clients.some((known) => known.url === client.url)) clients.push(client)
      opened.add(openRegistryFeed(client))
    }
    for (const url of registries.filter((name) => !isDomain(name))) add(openRegistryClient(url, { now }))
    const { allowPrivate } = rules
    const addNamed = (url: string) => add(openNamedRegistry(url, { allowPrivate, now }))
    for (const domain of registries.filter(isDomain)) {
      void followDomain(domain, opened, addNamed, options, stop.signal)
    }
    stack.defer(() => stop.abort())
    const dht = stack.use(openDhtSearch(opened, options))
    const lan = openLanFeed({
      clientOf: (target) => neighbourClient(target, options),
      onFound: (news) => opened.take('lan', news),
      now,
      log,
    })
    stack.use(lan)
    onNeighbour = (target) => lan.met(target)
    if (registries.length > 0) host.keepLearning()
    if (options.lan) listenToNeighbours(options)
    started.resolve({ directory: opened, dht })
    const resources = stack.move()
    return { [Symbol.asyncDispose]: () => resources.disposeAsync() }
  }

  return {
    start,
    find: (peer) => directory?.find(peer) ?? null,
    registries: () => clients,
    met: (target) => onNeighbour(target),
    async look(model) {
      const { directory: opened, dht } = await started.promise
      await Promise.all([opened.ready(), dht.look(model)])
    },
    failures: () => directory?.failures() ?? [],
  }
}

/** The DHT is asked once the registries had their turn, and while fewer than two of them answer. */
function openDhtSearch(
  directory: Directory,
  { host, trustless, digests, now }: DiscoveryOptions,
): Pick<DhtFeed, 'look'> & AsyncDisposable {
  let hadTheirTurn = false
  const stop = new AbortController()
  const patience = sleep(registriesFirstMs, undefined, { signal: stop.signal, ref: false }).catch(
    () => undefined,
  )
  const turn = Promise.race([directory.settled(), patience]).then(() => void (hadTheirTurn = true))
  const feed = openDhtFeed({
    dht: (signal) => host.dht(signal),
    isNeeded: () => hadTheirTurn && (trustless || directory.answering() < fewRegistries),
    digests,
    onFound: (news) => directory.take('dht', news),
    onState: (error) => directory.blame('dht', error),
    now,
  })
  return {
    async look(model) {
      await turn
      await feed.look(model)
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      await feed[Symbol.asyncDispose]()
    },
  }
}

/** Neighbours show themselves to whoever listens. */
function listenToNeighbours({ host, rules, log }: DiscoveryOptions): void {
  if (!rules.allowPrivate)
    log.warn('neighbours are not met: private addresses are not allowed (buy.allow_private)')
  void host.get().catch((err: unknown) => log.warn({ err }, 'the local network is not heard'))
}

/** For one question: whoever is met there may be anybody. */
function neighbourClient(
  target: PeerTarget,
  { host, connectTimeoutMs }: Pick<DiscoveryOptions, 'host' | 'connectTimeoutMs'>,
): SellerClient {
  return openSellerClient({
    url: peerAddress(target.peer),
    connectTimeoutMs,
    async dial(signal) {
      const socket = await (await host.get()).connect(target, { signal })
      return { socket, path: socket.path }
    },
  })
}

/** Adds what the domain names; until DNS answers, what it named the last time. */
async function followDomain(
  domain: string,
  directory: Directory,
  add: (url: string) => void,
  { store, log, rules: { allowPrivate }, resolveTxt }: DiscoveryOptions,
  signal: AbortSignal,
): Promise<void> {
  const key = domainKey(domain)
  const first = Promise.withResolvers<void>()
  directory.expect(first.promise)
  while (!signal.aborted) {
    try {
      const urls = await lookUpRegistries(domain, { allowPrivate, resolveTxt, signal })
      if (signal.aborted) break
      for (const url of urls) add(url)
      directory.blame(domain, null)
      await store.run('setMeta', { key, value: urls.join(' ') }).catch((err: unknown) => {
        log.warn({ domain, err }, 'the registries of a domain could not be stored')
      })
      break
    } catch (thrown) {
      if (signal.aborted) break
      const err = asOpenSeedError(thrown)
      log.warn({ domain, err }, 'the registries of a domain are not known')
      directory.blame(domain, err)
      const kept = await store.read('getMeta', { key }).catch(() => null)
      for (const url of usableRegistries(kept?.split(' ') ?? [], allowPrivate)) add(url)
      first.resolve()
      await sleep(retryDomainMs, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }
  first.resolve()
}
