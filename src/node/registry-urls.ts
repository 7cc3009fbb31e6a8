/** The registries of the settings by their URLs; what a domain names is looked up within a deadline. */
import { OpenSeedError } from '../base/errors.ts'
import { isDomain, lookUpRegistries } from '../net/bootstrap.ts'

/** Each once. Throws `registry_unreachable` when none is configured or found. */
export async function registryUrls(registries: readonly string[], allowPrivate: boolean): Promise<string[]> {
  const lists = await Promise.allSettled(
    registries.map(async (name) => (isDomain(name) ? lookUpRegistries(name, { allowPrivate }) : [name])),
  )
  const urls = lists.flatMap((list) => (list.status === 'fulfilled' ? list.value : []))
  const failed = lists.find((list) => list.status === 'rejected')
  if (urls.length > 0) return [...new Set(urls)]
  if (failed) throw failed.reason
  throw new OpenSeedError('registry_unreachable', {
    message: 'No registry is configured.',
    hint: 'Name one with --registry URL, or for good in config.toml: registries = ["https://host"]',
  })
}
