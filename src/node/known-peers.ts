/** DHT servers and relays to begin with: those of the settings, of the registries, and of the last time. */
import type { RegistryClient } from '../net/registry-client.ts'
import { judgeMultiaddr } from '../wire/address-policy.ts'
import type { IndexRecord } from '../wire/record.ts'

export type IndexSource = Pick<RegistryClient, 'url' | 'indexes'>

/** Where the addresses are kept between runs, in a role's database. */
export const knownPeersKey = 'p2p.known'

const mostKnown = 32
const mostOfOne = 4

/**
 * Multiaddrs, each with its /p2p/ part, that registries say of themselves and of others; a registry that does not
 * answer says nothing. The registries asked come first. `answered` counts them.
 */
export async function askIndexes(
  registries: readonly IndexSource[],
  { allowPrivate, signal }: { allowPrivate: boolean; signal: AbortSignal },
): Promise<{ addrs: string[]; answered: number }> {
  const asked = await Promise.allSettled(registries.map(async (registry) => registry.indexes(signal)))
  const answers = asked.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
  const own = answers.flatMap(({ record }) => addrsOf(record, { allowPrivate, lists: true }))
  // Its user chose the registry, but not whom it knows: what they list in DNS may be endless.
  const others = answers.flatMap(({ others }) =>
    others.flatMap((record) => addrsOf(record, { allowPrivate, lists: false })),
  )
  return { addrs: [...new Set([...own, ...others])].slice(0, mostKnown), answered: answers.length }
}

/** The multiaddrs kept from earlier runs; none where something else stands there. */
export function parseKnownPeers(text: string | null, allowPrivate: boolean): string[] {
  try {
    const addrs: unknown = JSON.parse(text ?? '[]')
    if (!Array.isArray(addrs)) return []
    return addrs
      .filter((addr) => typeof addr === 'string')
      .filter((addr) => isAllowed(addr, allowPrivate))
      .slice(0, mostKnown)
  } catch {
    return []
  }
}

/** What is kept for the next run: the newest first. */
export function encodeKnownPeers(addrs: readonly string[]): string {
  return JSON.stringify([...new Set(addrs)].slice(0, mostKnown))
}

function addrsOf(
  { peer, body }: IndexRecord,
  { allowPrivate, lists }: { allowPrivate: boolean; lists: boolean },
): string[] {
  return body.addrs
    .filter((addr) => isAllowed(addr, allowPrivate))
    .filter((addr) => (lists || !addr.startsWith('/dnsaddr/')) && !addr.includes('/p2p-circuit'))
    .map((addr) => (addr.includes('/p2p/') ? addr : `${addr}/p2p/${peer}`))
    .slice(0, mostOfOne)
}

function isAllowed(addr: string, allowPrivate: boolean): boolean {
  const verdict = judgeMultiaddr(addr)
  return verdict === 'public' || (verdict === 'private' && allowPrivate)
}
