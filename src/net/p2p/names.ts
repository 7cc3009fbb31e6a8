/** Names in multiaddrs: looked up once for each dial, judged as addresses are, and dialled by what they led to. */
import { Resolver } from 'node:dns/promises'
import type { Connection, Transport } from '@libp2p/interface'
import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import { judgeIp, judgeMultiaddr } from '../../wire/address-policy.ts'
import { raceDials } from '../dial-race.ts'

/** Gives the addresses of a name; empty or throwing where there are none. */
export type ResolveName = (name: string, family: 4 | 6) => Promise<string[]>

export interface NameRules {
  allowPrivate: boolean
  /** Whether the name in this multiaddr may lead to this IP address, which is none that is forbidden to all. */
  mayLeadTo?: (ip: string, addr: string) => boolean
  resolve?: ResolveName | undefined
}

const families: Record<string, readonly (4 | 6)[]> = { dns: [4, 6], dns4: [4], dns6: [6] }
const mostIps = 4
const headStartMs = 250
const resolveMs = 2_000

/**
 * A name that anyone may have written down leads where its owner wants, and elsewhere the next time it is asked. The
 * connection knows the address, not the name, so that whatever counts networks counts it. A name that is private by
 * itself is left alone: only who allows private networks, or has configured it, dials it.
 */
export function resolvingNames(transport: Transport, rules: NameRules): Transport {
  const dial = transport.dial.bind(transport)
  transport.dial = async (addr, options) => {
    const [first] = addr.getComponents()
    const wanted = families[first?.name ?? '']
    if (wanted === undefined || judgeMultiaddr(addr.toString()) !== 'public') return await dial(addr, options)
    const name = first!.value!
    const found = await addressesOf(name, wanted, rules)
    const ips = found.filter((ip) => rules.mayLeadTo?.(ip, addr.toString()) ?? true).slice(0, mostIps)
    const [only, ...others] = ips.map((ip) => atIp(addr, ip))
    if (only === undefined) throw new Error(`${name} leads to no address that may be dialled`)
    if (others.length === 0) return await dial(only, options)
    return await raceDials<Connection>(
      [only, ...others].map((each, rank) => ({
        rank,
        open: (signal) => dial(each, { ...options, signal }),
      })),
      {
        headStartMs,
        signal: options.signal,
        onLate: (connection) => void connection.close().catch(() => {}),
      },
    )
  }
  return transport
}

/** Those that may be dialled, IPv4 first: what is learned of NATs is learned there. Throws when the name is unknown. */
async function addressesOf(
  name: string,
  wanted: readonly (4 | 6)[],
  { allowPrivate, resolve = askDns }: NameRules,
): Promise<string[]> {
  const answers = await Promise.allSettled(wanted.map((family) => resolve(name, family)))
  const failed = answers.find((answer) => answer.status === 'rejected')
  const ips = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []))
  if (ips.length === 0 && failed) throw failed.reason
  const mayDial = (ip: string) => {
    const verdict = judgeIp(ip)
    return verdict === 'public' || (verdict === 'private' && allowPrivate)
  }
  return [...new Set(ips)].filter(mayDial)
}

// Not the system's lookup: strangers choose the names, and each that is answered slowly would hold one of four threads.
async function askDns(name: string, family: 4 | 6): Promise<string[]> {
  const resolver = new Resolver({ timeout: resolveMs, tries: 1 })
  const deadline = setTimeout(() => resolver.cancel(), resolveMs)
  try {
    return await (family === 4 ? resolver.resolve4(name) : resolver.resolve6(name))
  } finally {
    clearTimeout(deadline)
  }
}

function atIp(addr: Multiaddr, ip: string): Multiaddr {
  return multiaddr(addr.toString().replace(/^\/[^/]+\/[^/]+/, `/${ip.includes(':') ? 'ip6' : 'ip4'}/${ip}`))
}
