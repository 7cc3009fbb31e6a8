/** This machine's own addresses. Those that are public lead, like private ones, to ports that only it should reach. */
import { BlockList, isIPv4 } from 'node:net'
import { networkInterfaces } from 'node:os'

/** True for an address of this machine, however it is written. */
export type IsOwn = (ip: string) => boolean

// Thousands of records may be judged at once, and links come and go seldom.
const keptMs = 1_000
let kept: { isOwn: IsOwn; atMs: number } | null = null

/** Asks the system. */
export const isOwnIp: IsOwn = (ip) => {
  const nowMs = performance.now()
  if (kept === null || nowMs - kept.atMs > keptMs) {
    const links = Object.values(networkInterfaces()).flatMap((link) => link ?? [])
    kept = { isOwn: ownOf(links.map(({ address }) => address)), atMs: nowMs }
  }
  return kept.isOwn(ip)
}

export function ownOf(ips: readonly string[]): IsOwn {
  const own = new BlockList()
  for (const ip of ips) own.addAddress(ip, familyOf(ip))
  return (ip) => own.check(ip, familyOf(ip))
}

/** True for a multiaddr that names an address of this machine, as a relay or as its end. */
export function isOwnMultiaddr(addr: string, isOwn: IsOwn = isOwnIp): boolean {
  return ipsIn(addr).some(isOwn)
}

/** The IP addresses in a multiaddr, that of a relay among them. */
function ipsIn(addr: string): string[] {
  return [...addr.matchAll(/\/ip[46]\/([^/]+)/g)].map(([, ip = '']) => ip)
}

function familyOf(ip: string): 'ipv4' | 'ipv6' {
  return isIPv4(ip) ? 'ipv4' : 'ipv6'
}
