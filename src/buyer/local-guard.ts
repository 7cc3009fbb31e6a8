/**
 * Keeps web pages away from a server that spends money without asking. Any page may send requests to loopback, and
 * a page whose name is rebound to loopback may even read the answers; neither can forge Host and Origin.
 */
import type { IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { OpenSeedError } from '../base/errors.ts'

/** Throws `origin_forbidden` unless the request names this machine by a name no web site can take over. */
export function assertLocal(req: IncomingMessage, listenHost: string): void {
  const host = URL.parse(`http://${req.headers.host ?? ''}`)
  if (host === null || !isOwnName(host.hostname, req.socket.localAddress, listenHost)) {
    throw new OpenSeedError('origin_forbidden', {
      message: 'The Host header does not name this machine.',
      hint: 'Use the base URL that openseed printed.',
    })
  }
  const { origin } = req.headers
  if (origin !== undefined && isForeignPage(origin, host.host)) {
    throw new OpenSeedError('origin_forbidden', {
      message: `Web pages (here ${origin}) may not spend from this wallet.`,
      hint: 'Call from a program, not from a page in a browser.',
    })
  }
}

function isOwnName(hostname: string, localAddress: string | undefined, listenHost: string): boolean {
  if (hostname === 'localhost' || hostname.endsWith('.localhost') || hostname === listenHost) return true
  const address = plainAddress(hostname)
  if (isIP(address) === 0) return false
  // Behind a port mapping the address in Host is the outer one. An address cannot be rebound as a name can.
  const anyAddress = listenHost === '0.0.0.0' || listenHost === '::'
  return anyAddress || isLoopback(address) || address === plainAddress(localAddress ?? '')
}

function isForeignPage(origin: string, ownHost: string): boolean {
  if (origin === 'null') return true
  const url = URL.parse(origin)
  // Editors and desktop apps have schemes of their own, which no web page can claim.
  return url !== null && (url.protocol === 'http:' || url.protocol === 'https:') && url.host !== ownHost
}

const plainAddress = (address: string) => address.replace(/^\[|\]$/g, '').replace(/^::ffff:(?=\d+\.)/, '')

const isLoopback = (address: string) => address.startsWith('127.') || address === '::1'
