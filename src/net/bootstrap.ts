/** The first registries: URLs as they are, and domains whose TXT records at `_openseed.<domain>` name some. */
import { promises as dns } from 'node:dns'
import { OpenSeedError } from '../base/errors.ts'
import { judgeUrl } from '../wire/address-policy.ts'
import { guardedLookup, isPublicUrl } from './guarded-lookup.ts'
import { openRegistryClient, type RegistryClient, type RegistryClientOptions } from './registry-client.ts'

/** Reads the TXT records of a name, each in parts, as `node:dns` does; not for longer than the signal. */
export type ResolveTxt = (name: string, signal: AbortSignal) => Promise<string[][]>

export interface LookUpOptions {
  resolveTxt?: ResolveTxt | undefined
  allowPrivate: boolean
  /** Ends the question; two seconds do it in any case. */
  signal?: AbortSignal
}

const mostRegistries = 16
const answerWithinMs = 2_000
const tryMs = 600
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
  { resolveTxt = resolveSoon, allowPrivate, signal }: LookUpOptions,
): Promise<string[]> {
  const name = `_openseed.${domain}`
  const late = AbortSignal.timeout(answerWithinMs)
  const over = signal === undefined ? late : AbortSignal.any([signal, late])
  const records = await Promise.race([resolveTxt(name, over), aborted(over)]).catch((cause: unknown) => {
    throw noRegistry(`The TXT records of ${name} cannot be read.`, cause)
  })
  const urls = records.flatMap((parts) => entry.exec(parts.join('').trim())?.[1] ?? [])
  const usable = usableRegistries(urls, allowPrivate)
  if (usable.length === 0) throw noRegistry(`The TXT records of ${name} name no registry that can be used.`)
  return usable
}

/** Of what DNS says the registries that we would ask, each once, in the order of their text. */
export function usableRegistries(urls: readonly string[], allowPrivate: boolean): string[] {
  const usable = urls.filter((url) => (allowPrivate ? judgeUrl(url) !== 'refused' : isPublicUrl(url)))
  const distinct = new Set(usable.map((url) => url.replace(/\/+$/, '')))
  return [...distinct].toSorted().slice(0, mostRegistries)
}

/** A client of what a domain has named. That may be anywhere, so what its name leads to is judged each time. */
export function openNamedRegistry(
  url: string,
  { allowPrivate, ...options }: Omit<RegistryClientOptions, 'lookup'> & { allowPrivate: boolean },
): RegistryClient {
  return openRegistryClient(url, { ...options, ...(!allowPrivate && { lookup: guardedLookup() }) })
}

/** The usual resolver asks a silent server for 20 s, and the process cannot end before. */
const resolveSoon: ResolveTxt = async (name, signal) => {
  const resolver = new dns.Resolver({ timeout: tryMs, tries: 2 })
  const cancel = () => resolver.cancel()
  signal.addEventListener('abort', cancel, { once: true })
  try {
    return await resolver.resolveTxt(name)
  } finally {
    signal.removeEventListener('abort', cancel)
  }
}

const aborted = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => {
    const give = () => reject(new Error('no answer in time'))
    if (signal.aborted) give()
    else signal.addEventListener('abort', give, { once: true })
  })

function noRegistry(message: string, cause?: unknown): OpenSeedError {
  return new OpenSeedError('registry_unreachable', { message, cause })
}
