/** The registries of the settings by their URLs; what a domain names is looked up within a deadline. */
import { OpenSeedError } from '../base/errors.ts'
import { isDomain, lookUpRegistries } from '../net/bootstrap.ts'

const dnsMs = 2_000

/** Each once. Throws `registry_unreachable` when none is configured or found. */
export async function registryUrls(registries: readonly string[], allowPrivate: boolean): Promise<string[]> {
  const lists = await Promise.allSettled(
    registries.map(async (name) => (isDomain(name) ? lookUp(name, allowPrivate) : [name])),
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

async function lookUp(domain: string, allowPrivate: boolean): Promise<string[]> {
  const { Resolver } = await import('node:dns/promises')
  // The usual resolver asks a silent server for 20 s, and the process waits for it.
  const resolver = new Resolver({ timeout: dnsMs, tries: 1 })
  const deadline = setTimeout(() => resolver.cancel(), dnsMs)
  try {
    return await lookUpRegistries(domain, { resolveTxt: (name) => resolver.resolveTxt(name), allowPrivate })
  } finally {
    clearTimeout(deadline)
  }
}
