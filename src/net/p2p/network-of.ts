import { judgeIp } from '../../wire/address-policy.ts'

/**
 * The network of a multiaddr's IP address: what one customer of a provider usually gets, /24 of IPv4 and /48 of IPv6.
 * Null for private addresses, which cost nothing, and where there is none.
 */
export function networkOf(addr: string): string | null {
  const [, protocol, ip = ''] = addr.split('/')
  if ((protocol !== 'ip4' && protocol !== 'ip6') || judgeIp(ip) !== 'public') return null
  if (protocol === 'ip4') return ip.split('.').slice(0, 3).join('.')
  const [head = '', tail] = ip.toLowerCase().split('::')
  const groups = head === '' ? [] : head.split(':')
  // Public IPv6 addresses begin with 2 or 3, so what `::` leaves out begins after the first group.
  const missing = tail === undefined ? 0 : Math.max(0, 3 - groups.length)
  return [...groups, ...Array<string>(missing).fill('0')]
    .slice(0, 3)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')
}
