/** The registries of the settings as clients; what a domain names is looked up within a deadline. */
import { OpenSeedError } from '../base/errors.ts'
import { isDomain, lookUpRegistries, openNamedRegistry } from '../net/bootstrap.ts'
import { openRegistryClient, type RegistryClient } from '../net/registry-client.ts'

/** Each once, for who asks it to close. Throws `registry_unreachable` when none is configured or found. */
export async function openRegistries(
  registries: readonly string[],
  { allowPrivate, signal }: { allowPrivate: boolean; signal?: AbortSignal },
): Promise<RegistryClient[]> {
  const domains = registries.filter(isDomain)
  const within = { allowPrivate, ...(signal && { signal }) }
  const lists = await Promise.allSettled(domains.map((domain) => lookUpRegistries(domain, within)))
  const named = lists.flatMap((list) => (list.status === 'fulfilled' ? list.value : []))
  const clients = new Map<string, RegistryClient>()
  const add = (client: RegistryClient) => {
    // Connections are opened by the first question: one that is left out has none.
    if (!clients.has(client.url)) clients.set(client.url, client)
  }
  for (const name of registries) if (!isDomain(name)) add(openRegistryClient(name))
  for (const url of named) add(openNamedRegistry(url, { allowPrivate }))
  if (clients.size > 0) return [...clients.values()]
  const failed = lists.find((list) => list.status === 'rejected')
  if (failed) throw failed.reason
  throw new OpenSeedError('registry_unreachable', {
    message: 'No registry is configured.',
    hint: 'Name one with --registry URL, or for good in config.toml: registries = ["https://host"]',
  })
}
