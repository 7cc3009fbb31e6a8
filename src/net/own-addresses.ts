/** This machine's own addresses: a stranger who names one would send us to ports that only this machine should reach. */
import { BlockList, isIPv4, isIPv6 } from 'node:net'
import { networkInterfaces } from 'node:os'

// A record has a few addresses, and thousands of records come at once; links change seldom.
const freshMs = 1_000

let own = new BlockList()
let readAtMs = -Infinity

/** True for every way to write an address of one of the machine's links, public ones as well. */
export function isOwnIp(ip: string): boolean {
  const nowMs = performance.now()
  if (nowMs - readAtMs > freshMs) {
    own = readLinks()
    readAtMs = nowMs
  }
  if (isIPv4(ip)) return own.check(ip, 'ipv4')
  return isIPv6(ip) && own.check(ip, 'ipv6')
}

/** The same of a multiaddr: whether any host that it names by its address is this machine. */
export function isOwnMultiaddr(addr: string): boolean {
  const parts = addr.split('/')
  return parts.some((part, at) => (part === 'ip4' || part === 'ip6') && isOwnIp(parts[at + 1] ?? ''))
}

function readLinks(): BlockList {
  const list = new BlockList()
  for (const links of Object.values(networkInterfaces())) {
    for (const { address } of links ?? []) {
      if (isIPv4(address)) list.addAddress(address, 'ipv4')
      else if (isIPv6(address)) list.addAddress(address.replace(/%.*$/, ''), 'ipv6')
    }
  }
  return list
}
