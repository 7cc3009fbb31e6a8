/** The registries of the settings as clients; what a domain names is looked up within a deadline. */
import { OpenSeedError } from '../base/errors.ts'
import { isDomain, lookUpRegistries, openNamedRegistry } from '../net/bootstrap.ts'
import { openRegistryClient, type RegistryClient } from '../net/registry-client.ts'

/** Each once, for who asks it to close. Throws `registry_unreachable` when none is configured or found. */
export async function openRegistries(
  registries: readonly string[],
  allowPrivate: boolean,
): Promise<RegistryClient[]> {
  const lists = await Promise.allSettled(
    registries.map(async (name) => {
      if (!isDomain(name)) return [openRegistryClient(name)]
      const urls = await lookUpRegistries(name, { allowPrivate })
      return urls.map((url) => openNamedRegistry(url, { allowPrivate }))
    }),
  )
  const clients = lists.flatMap((list) => (list.status === 'fulfilled' ? list.value : []))
  const failed = lists.find((list) => list.status === 'rejected')
  // Connections are opened by the first question: one that is left out has none.
  if (clients.length > 0) return [...new Map(clients.map((client) => [client.url, client])).values()]
  if (failed) throw failed.reason
  throw new OpenSeedError('registry_unreachable', {
    message: 'No registry is configured.',
    hint: 'Name one with --registry URL, or for good in config.toml: registries = ["https://host"]',
  })
}
