/** Where a published address would lead: records come from strangers and must not steer anyone into a private network. */
import { BlockList, isIPv4, isIPv6 } from 'node:net'

/** `private`: only for who allows it; `refused`: for nobody (not an address of a server, or not understood). */
export type AddressVerdict = 'public' | 'private' | 'refused'

const privateRanges = ranges([
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['::1', 128],
  ['64:ff9b:1::', 48],
  ['100::', 64],
  ['fc00::', 7],
  ['fe80::', 10],
  ['fec0::', 10],
])
const refusedRanges = ranges([
  ['0.0.0.0', 8],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
  ['2001::', 32],
])
const privateNames =
  /^(?:[^.]+|.*\.(?:localhost|local|localdomain|internal|intranet|lan|home\.arpa|onion|test))$/

/** Judges an http or https URL by its host; a name is judged without resolving it, so judge the resolved address too. */
export function judgeUrl(url: string): AddressVerdict {
  if (!URL.canParse(url)) return 'refused'
  const { protocol, username, password, hostname } = new URL(url)
  if (protocol !== 'http:' && protocol !== 'https:') return 'refused'
  if (username !== '' || password !== '') return 'refused'
  return judgeHost(hostname)
}

/** Judges an IP address in text form, as a resolver or a socket gives it. */
export function judgeIp(ip: string): AddressVerdict {
  if (isIPv4(ip)) return judgeRanges(ip, 'ipv4')
  // A scope (fe80::1%eth0) names one of the machine's own links.
  if (!isIPv6(ip) || ip.includes('%')) return 'refused'
  const groups = groupsOf(ip)
  const carried = carriedIpv4(groups)
  if (carried !== null) return judgeRanges(carried, 'ipv4')
  const verdict = judgeRanges(ip, 'ipv6')
  // Of what is not private only 2000::/3 is given out to servers.
  return verdict === 'public' && groups[0]! >> 13 !== 1 ? 'refused' : verdict
}

/** Judges a multiaddr: the worst of all hosts it names. Without any host it is refused. */
export function judgeMultiaddr(addr: string): AddressVerdict {
  const parts = addr.split('/')
  if (parts[0] !== '') return 'refused'
  let worst: AddressVerdict | null = null
  for (let at = 1; at < parts.length; at += 1) {
    const verdict = judgePart(parts[at]!, parts[at + 1] ?? '')
    if (verdict === 'refused') return 'refused'
    if (verdict !== null && worst !== 'private') worst = verdict
    if (verdict !== null) at += 1
  }
  return worst ?? 'refused'
}

function judgePart(protocol: string, value: string): AddressVerdict | null {
  if (protocol === 'ip4') return isIPv4(value) ? judgeIp(value) : 'refused'
  if (protocol === 'ip6') return isIPv6(value) ? judgeIp(value) : 'refused'
  if (/^dns(?:4|6|addr)?$/.test(protocol)) return judgeHost(value.toLowerCase())
  // Scoped addresses, sockets of the machine itself.
  return protocol === 'ip6zone' || protocol === 'unix' ? 'refused' : null
}

// Of a parsed URL: lower case, IPv4 in dotted form whatever was written, IPv6 in brackets.
function judgeHost(host: string): AddressVerdict {
  if (host.startsWith('[')) return judgeIp(host.slice(1, -1))
  if (isIPv4(host)) return judgeIp(host)
  const name = host.endsWith('.') ? host.slice(0, -1) : host
  if (isIPv4(name)) return judgeIp(name)
  if (name === '' || name.startsWith('.') || name.includes('..')) return 'refused'
  return privateNames.test(name) ? 'private' : 'public'
}

function judgeRanges(ip: string, family: 'ipv4' | 'ipv6'): AddressVerdict {
  if (refusedRanges.check(ip, family)) return 'refused'
  return privateRanges.check(ip, family) ? 'private' : 'public'
}

// Mapped (::ffff:0:0/96), translated (64:ff9b::/96) and 6to4 (2002::/16) addresses lead to an IPv4 one.
function carriedIpv4(groups: readonly number[]): string | null {
  const head = groups
    .slice(0, 6)
    .map((group) => group.toString(16))
    .join(':')
  if (head === '0:0:0:0:0:ffff' || head === '64:ff9b:0:0:0:0') return dotted(groups[6]!, groups[7]!)
  return groups[0] === 0x2002 ? dotted(groups[1]!, groups[2]!) : null
}

function dotted(high: number, low: number): string {
  return `${high >> 8}.${high & 0xff}.${low >> 8}.${low & 0xff}`
}

function groupsOf(ipv6: string): number[] {
  const text = ipv6.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...bytes: string[]) => {
    const [a, b, c, d] = bytes.map(Number) as [number, number, number, number]
    return `${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`
  })
  const [head = '', tail] = text.split('::')
  const first = head === '' ? [] : head.split(':')
  const last = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : 8 - first.length - last.length
  return [...first, ...Array<string>(zeros).fill('0'), ...last].map((group) => Number.parseInt(group, 16))
}

function ranges(list: readonly (readonly [string, number])[]): BlockList {
  const blocks = new BlockList()
  for (const [net, prefix] of list) blocks.addSubnet(net, prefix, isIPv4(net) ? 'ipv4' : 'ipv6')
  return blocks
}
