/** IP addresses and ports as multiaddrs and messages write them. */
import { isIP, isIPv4 } from 'node:net'
import { expectInteger, expectObject, expectText, refuseMessage } from '../../wire/fields.ts'
import type { Endpoint } from './nat-type.ts'

const pattern = /^\/(?:ip4|ip6)\/([^/]+)\/tcp\/(\d+)(?:\/p2p\/[^/]+)?$/

/** Where a direct TCP multiaddr with an IP address leads; null for any other. */
export function endpointOf(addr: string): Endpoint | null {
  const [, ip, port] = pattern.exec(addr) ?? []
  return ip === undefined || isIP(ip) === 0 ? null : { ip: plainIp(ip), port: Number(port) }
}

export function multiaddrText({ ip, port }: Endpoint, peer: string): string {
  return `/${isIPv4(ip) ? 'ip4' : 'ip6'}/${ip}/tcp/${port}/p2p/${peer}`
}

/** As sockets and URLs write it. */
export function socketText({ ip, port }: Endpoint): string {
  return isIPv4(ip) ? `${ip}:${port}` : `[${ip}]:${port}`
}

/** Throws `invalid_message`. */
export function parseEndpoint(input: unknown, name: string): Endpoint {
  const fields = expectObject(input, name)
  const ip = expectText(fields['ip'], `${name}.ip`, 45)
  if (isIP(ip) === 0) return refuseMessage(`${name}.ip`, 'an IP address')
  return { ip: plainIp(ip), port: expectInteger(fields['port'], `${name}.port`, 65_535) }
}

/** A listener on both families sees IPv4 addresses as IPv6 ones. */
function plainIp(ip: string): string {
  return /^::ffff:\d+\.\d+\.\d+\.\d+$/.test(ip) ? ip.slice('::ffff:'.length) : ip
}
