/** The registries of the settings as clients: those given by URL at once, those of a domain when DNS has named them. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { isDomain, lookUpRegistries, openNamedRegistry, type ResolveTxt } from '../net/bootstrap.ts'
import { openRegistryClient, type RegistryClient } from '../net/registry-client.ts'

export interface RegistryClientsOptions {
  /** URLs, and domains that name some. */
  registries: readonly string[]
  allowPrivate: boolean
  resolveTxt?: ResolveTxt | undefined
  now: Clock
  log: Log
}

export interface RegistryClients extends AsyncDisposable {
  /** Those known by now. */
  all(): RegistryClient[]
  /** No further ones are looked for. */
  stop(): void
}

const retryDomainMs = 60_000

/** Calls `onAdd` for each registry once; before it returns for those given by URL. */
export function openRegistryClients(
  options: RegistryClientsOptions,
  onAdd: (client: RegistryClient) => void,
): RegistryClients {
  const { registries, allowPrivate, now } = options
  const clients = new Map<string, RegistryClient>()
  const stop = new AbortController()
  const add = (client: RegistryClient) => {
    if (stop.signal.aborted || clients.has(client.url)) {
      void client.close()
      return
    }
    clients.set(client.url, client)
    onAdd(client)
  }
  const addNamed = (url: string) => add(openNamedRegistry(url, { allowPrivate, now }))
  for (const name of registries) {
    if (isDomain(name)) void followDomain(name, addNamed, options, stop.signal)
    else add(openRegistryClient(name, { now }))
  }
  return {
    all: () => [...clients.values()],
    stop: () => stop.abort(),
    async [Symbol.asyncDispose]() {
      stop.abort()
      await Promise.all([...clients.values()].map((client) => client.close()))
    },
  }
}

async function followDomain(
  domain: string,
  add: (url: string) => void,
  { allowPrivate, resolveTxt, log }: RegistryClientsOptions,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      const urls = await lookUpRegistries(domain, { allowPrivate, resolveTxt, signal })
      return urls.forEach((url) => add(url))
    } catch (err) {
      log.warn({ domain, err }, 'the registries of a domain are not known')
      await sleep(retryDomainMs, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }
}
