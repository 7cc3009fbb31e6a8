/** How a buyer finds sellers: its registries, from settings and from DNS, behind one table. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { asOpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { AnnouncedSeller } from '../buyer/announced.ts'
import type { BuyerStore } from '../buyer/channel-book.ts'
import { openDirectory, type Directory } from '../buyer/directory.ts'
import type { Discovery } from '../buyer/explain-none.ts'
import { isDomain, lookUpRegistries, type ResolveTxt } from '../net/bootstrap.ts'
import { openRegistryClient } from '../net/registry-client.ts'
import { openRegistryFeed } from '../net/registry-feed.ts'
import type { Curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import type { NetworkTerms } from '../wire/network.ts'

export interface DiscoveryOptions {
  registries?: readonly string[]
  allowPrivate?: boolean
  resolveTxt?: ResolveTxt
  network: NetworkTerms
  digests: Digests
  curve: Curve
  store: BuyerStore
  now: Clock
  log: Log
}

export interface BuyerDiscovery extends Discovery {
  /** Begins to ask. What it returns stops it. */
  start(onChange: (sellers: readonly AnnouncedSeller[]) => void): Promise<AsyncDisposable>
}

const tableKey = 'directory.sellers'
const domainKey = (domain: string) => `directory.registries.${domain}`
const retryDomainMs = 60_000

/** Null when there is nobody to ask. */
export function openDiscovery(options: DiscoveryOptions): BuyerDiscovery | null {
  const { registries = [], allowPrivate = false, store } = options
  if (registries.length === 0) return null
  const started = Promise.withResolvers<Directory>()
  let directory: Directory | null = null
  return {
    ready: async () => (await started.promise).ready(),
    failures: () => directory?.failures() ?? [],
    async start(onChange) {
      const stop = new AbortController()
      const opened = await openDirectory({
        ...options,
        allowPrivate,
        onChange,
        load: () => store.read('getMeta', { key: tableKey }),
        save: (value) => store.run('setMeta', { key: tableKey, value }),
      })
      directory = opened
      const add = (url: string) => opened.add(openRegistryFeed(openRegistryClient(url, { now: options.now })))
      for (const url of registries.filter((name) => !isDomain(name))) add(url)
      const domains = registries.filter(isDomain)
      for (const domain of domains) void followDomain(domain, opened, add, options, stop.signal)
      started.resolve(opened)
      return {
        async [Symbol.asyncDispose]() {
          stop.abort()
          // A DNS question cannot be called off; nothing comes of its answer any more.
          await opened.close()
        },
      }
    },
  }
}

/** Adds what the domain names; until DNS answers, what it named the last time. */
async function followDomain(
  domain: string,
  directory: Directory,
  add: (url: string) => void,
  { store, log, allowPrivate = false, resolveTxt }: DiscoveryOptions,
  signal: AbortSignal,
): Promise<void> {
  const key = domainKey(domain)
  const first = Promise.withResolvers<void>()
  directory.expect(first.promise)
  while (!signal.aborted) {
    try {
      const urls = await lookUpRegistries(domain, { allowPrivate, ...(resolveTxt && { resolveTxt }) })
      if (signal.aborted) break
      for (const url of urls) add(url)
      directory.blame(domain, null)
      await store.run('setMeta', { key, value: urls.join(' ') })
      break
    } catch (thrown) {
      if (signal.aborted) break
      const err = asOpenSeedError(thrown)
      log.warn({ domain, err }, 'the registries of a domain are not known')
      directory.blame(domain, err)
      for (const url of (await store.read('getMeta', { key }))?.split(' ') ?? []) add(url)
      first.resolve()
      await sleep(retryDomainMs, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }
  first.resolve()
}
