/** Where a seller's record leads us, if we go there at all. Records come from strangers. Pure, but for our own links. */
import { isPublicUrl } from '../net/guarded-lookup.ts'
import { isOwnMultiaddr } from '../net/own-addresses.ts'
import { normaliseSellerUrl } from '../net/seller-client.ts'
import type { DialTarget } from '../net/seller-dialer.ts'
import { judgeMultiaddr, judgeUrl } from '../wire/address-policy.ts'
import type { NetworkTerms } from '../wire/network.ts'
import type { SellerRecord } from '../wire/record.ts'
import { peerAddress } from '../wire/seller-address.ts'

export interface ReachRules {
  network: Pick<NetworkTerms, 'caip2'>
  /** Records may lead into private networks. */
  allowPrivate: boolean
  /** Records may lead to http without TLS, where anybody on the way reads what is asked. */
  allowPlainHttp: boolean
}

export interface Reach {
  /** By what the seller is called here: its peer, or its URL when it has nothing else. */
  url: string
  /** What may be dialled. */
  target: DialTarget
}

/** `metAt`: multiaddrs at which we met the peer ourselves. Null when there is no way to it that we would take. */
export function reachOf(
  { peer, body }: Pick<SellerRecord, 'peer' | 'body'>,
  rules: ReachRules,
  metAt: readonly string[] = [],
): Reach | null {
  if (!body.networks.includes(rules.network.caip2)) return null
  const url = body.url !== null && mayGoTo(body.url, rules) ? normaliseSellerUrl(body.url) : null
  const addrs = [...new Set([...metAt, ...body.addrs.filter((addr) => mayDial(addr, rules))])]
  if (url === null && addrs.length === 0) return null
  const isPeer = body.addrs.length > 0 || url === null
  return { url: isPeer ? peerAddress(peer) : url, target: { url, addrs } }
}

function mayGoTo(url: string, { allowPrivate, allowPlainHttp }: ReachRules): boolean {
  const isAllowed = allowPrivate ? judgeUrl(url) !== 'refused' : isPublicUrl(url)
  return isAllowed && (allowPlainHttp || !isPlainAbroad(url))
}

function mayDial(addr: string, { allowPrivate }: ReachRules): boolean {
  const verdict = judgeMultiaddr(addr)
  return allowPrivate ? verdict !== 'refused' : verdict === 'public' && !isOwnMultiaddr(addr)
}

const loopback = /^(?:127(?:\.\d+){3}|\[::1\]|(?:.+\.)?localhost\.?)$/

/** True for http to another machine: readable by everybody on the way. */
function isPlainAbroad(url: string): boolean {
  const { protocol, hostname } = new URL(url)
  return protocol === 'http:' && !loopback.test(hostname)
}
