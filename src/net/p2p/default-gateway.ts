/** The router of this machine, which Node does not tell. */
import { readFile } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { judgeIp } from '../../wire/address-policy.ts'

/** Its IPv4 address, or a guess: routers of homes have the first one. None where there is no private network. */
export async function defaultGateway(): Promise<string | null> {
  const table = await readFile('/proc/net/route', 'utf8').catch(() => null)
  if (table !== null) return gatewayIn(table)
  const own = Object.values(networkInterfaces())
    .flatMap((links) => links ?? [])
    .find(({ family, internal, address }) => family === 'IPv4' && !internal && judgeIp(address) === 'private')
  return own === undefined ? null : own.address.replace(/\.\d+$/, '.1')
}

/** In Linux's table of routes, where addresses are hexadecimal numbers with their first byte last. */
export function gatewayIn(table: string): string | null {
  for (const line of table.split('\n').slice(1)) {
    const [, destination, gateway = ''] = line.split('\t')
    if (destination !== '00000000' || !/^[0-9A-F]{8}$/i.test(gateway) || gateway === '00000000') continue
    return [...Buffer.from(gateway, 'hex')].toReversed().join('.')
  }
  return null
}
