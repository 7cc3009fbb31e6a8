/** Which of a host's addresses a seller tells the world. Pure. */
import { judgeMultiaddr } from '../wire/address-policy.ts'
import type { Host } from '../net/p2p/open-host.ts'

const most = 4
const mostRelayed = 2

/**
 * At most four multiaddrs with their /p2p/ part, the best ones first: public direct ones and up to two over relays in turn. Private
 * ones count only for a network of one's own, and this machine's own only where there is nothing else.
 */
export function addrsToTell(
  host: Pick<Host, 'peerId' | 'addrs' | 'reachability'>,
  allowPrivate: boolean,
): string[] {
  const { mapped } = host.reachability()
  const all = [...(mapped === null ? [] : [mapped]), ...host.addrs()].map((addr) =>
    addr.endsWith(`/p2p/${host.peerId}`) ? addr : `${addr}/p2p/${host.peerId}`,
  )
  const usable = [...new Set(all)].filter((addr) => {
    const verdict = judgeMultiaddr(addr)
    return verdict === 'public' || (verdict === 'private' && allowPrivate)
  })
  const relayed = usable.filter(isRelayed).slice(0, mostRelayed)
  const direct = usable.filter((addr) => !isRelayed(addr)).toSorted((a, b) => rank(a) - rank(b))
  // In turn: where there is room for two, the second must be another way and not another address.
  const inTurn = direct.flatMap((addr, at) => [addr, ...relayed.slice(at, at + 1)])
  return [...inTurn, ...relayed.slice(direct.length)].slice(0, most)
}

const isRelayed = (addr: string) => addr.includes('/p2p-circuit')

function rank(addr: string): number {
  if (judgeMultiaddr(addr) === 'public') return 0
  return /^\/(?:ip4\/127\.|ip6\/::1\/)/.test(addr) ? 2 : 1
}
