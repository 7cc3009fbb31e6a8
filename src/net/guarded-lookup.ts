/** Connections to addresses that strangers publish: what a name resolves to is judged again when it is dialled. */
import { lookup as systemLookup, type LookupAddress } from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'
import { OpenSeedError } from '../base/errors.ts'
import { judgeIp, judgeUrl } from '../wire/address-policy.ts'
import { isOwnIp, type IsOwn } from './own-addresses.ts'

/** Looks up all addresses of a name. */
export type Resolve = (
  hostname: string,
  options: { all: true; family: number },
  done: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void

/**
 * A lookup for `net.connect` that only returns public addresses of other machines: a public name may point into a
 * private network, today or from tomorrow on. Fails with `seller_unreachable`.
 */
export function guardedLookup(resolve: Resolve = resolveAll, isOwn: IsOwn = isOwnIp): LookupFunction {
  return (hostname, options, done) => {
    resolve(hostname, { all: true, family: familyOf(options.family) }, (error, addresses) => {
      if (error !== null) return done(error, [])
      const open = addresses.filter(({ address }) => isPublicIp(address, isOwn))
      const [first] = open
      if (first === undefined) return done(refused(hostname), [])
      if (options.all === true) done(null, open)
      else done(null, first.address, first.family)
    })
  }
}

/** True for a URL that a stranger may send us to. A name is judged by itself; `guardedLookup` judges what it leads to. */
export function isPublicUrl(url: string, isOwn: IsOwn = isOwnIp): boolean {
  if (judgeUrl(url) !== 'public') return false
  const host = new URL(url).hostname.replace(/^\[|\]$/g, '')
  return isIP(host) === 0 || isPublicIp(host, isOwn)
}

function isPublicIp(ip: string, isOwn: IsOwn): boolean {
  return judgeIp(ip) === 'public' && !isOwn(ip)
}

const resolveAll: Resolve = (hostname, options, done) => systemLookup(hostname, options, done)

function familyOf(family: number | 'IPv4' | 'IPv6' | undefined): number {
  if (family === 'IPv4') return 4
  return family === 'IPv6' ? 6 : (family ?? 0)
}

function refused(hostname: string): OpenSeedError {
  return new OpenSeedError('seller_unreachable', {
    message: `${hostname} leads into a private network.`,
    hint: 'Allow it with buy.allow_private, if that is where the seller is meant to be.',
  })
}
