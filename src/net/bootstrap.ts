/** The first registries: URLs as they are, and domains whose TXT records at `_openseed.<domain>` name some. */
import { promises as dns } from 'node:dns'
import { OpenSeedError } from '../base/errors.ts'
import { judgeUrl } from '../wire/address-policy.ts'

/** Reads the TXT records of a name, each in parts, as `node:dns` does. */
export type ResolveTxt = (name: string) => Promise<string[][]>

const mostRegistries = 16
const entry = /^registry=(\S+)$/

/** True for a name that must be looked up first. */
export function isDomain(registry: string): boolean {
  return !registry.includes('://')
}

/**
 * The registries that a domain names: TXT records `registry=https://host`, in the order of their text. Throws
 * `registry_unreachable` when the name cannot be resolved or names none. DNS is not believed about private networks.
 */
export async function lookUpRegistries(
  domain: string,
  { resolveTxt = dns.resolveTxt, allowPrivate }: { resolveTxt?: ResolveTxt; allowPrivate: boolean },
): Promise<string[]> {
  const name = `_openseed.${domain}`
  const records = await resolveTxt(name).catch((cause: unknown) => {
    throw noRegistry(`The TXT records of ${name} cannot be read.`, cause)
  })
  const urls = records.flatMap((parts) => entry.exec(parts.join('').trim())?.[1] ?? [])
  const usable = urls.filter((url) => {
    const verdict = judgeUrl(url)
    return verdict === 'public' || (verdict === 'private' && allowPrivate)
  })
  if (usable.length === 0) throw noRegistry(`The TXT records of ${name} name no registry that can be used.`)
  const distinct = new Set(usable.map((url) => url.replace(/\/+$/, '')))
  return [...distinct].toSorted().slice(0, mostRegistries)
}

function noRegistry(message: string, cause?: unknown): OpenSeedError {
  return new OpenSeedError('registry_unreachable', { message, cause })
}
