/** How a setting is read and shown, by the kind of thing it says. */
import { formatUsd, type Usdc } from '../wire/amount.ts'
import { checksummed, type Address } from '../wire/hex.ts'
import { peerOfAddress } from '../wire/seller-address.ts'
import {
  address,
  boolean,
  httpUrl,
  integer,
  listenAddress,
  listOf,
  modelTable,
  multiaddrList,
  multiaddrText,
  peerMultiaddr,
  registryName,
  sellerAddress,
  text,
  usd,
  type ListenAddress,
  type ModelTerms,
} from './parse-setting.ts'

/** One setting: its name, its meaning, and what it is when nobody says. */
export interface Setting<T> {
  key: string
  meaning: string
  fallback: T
  parse(input: unknown): T
  /** How `openseed config list` shows it; secrets are masked here. */
  show(value: T): string
  /** Tables come from the file and from flags only. */
  noVariable?: true
}

export type Shape<T> = Pick<Setting<T>, 'parse' | 'show'>

export const optional = <T>({ parse, show }: Shape<T>): Shape<T | null> => ({
  parse,
  show: (value) => (value === null ? '' : show(value)),
})
export const list = <T>({ parse, show }: Shape<T>): Shape<readonly T[]> => ({
  parse: listOf(parse),
  show: (values) => values.map(show).join(', '),
})
export const count = (min: number, max: number): Shape<number> => ({ parse: integer(min, max), show: String })
export const money: Shape<Usdc> = { parse: usd, show: formatUsd }
export const url: Shape<string> = { parse: httpUrl, show: maskUrl }
export const flag: Shape<boolean> = { parse: boolean, show: String }
export const multiaddrs: Shape<readonly string[]> = {
  parse: multiaddrList(multiaddrText),
  show: (addrs) => addrs.join(', '),
}
export const peers: Shape<readonly string[]> = { ...multiaddrs, parse: multiaddrList(peerMultiaddr) }
export const registry: Shape<string> = {
  parse: registryName,
  show: (value) => (value.includes('://') ? maskUrl(value) : value),
}
export const seller: Shape<string> = {
  parse: sellerAddress,
  show: (value) => (peerOfAddress(value) === null ? maskUrl(value) : value),
}
export const secret: Shape<string> = { parse: text, show: () => '********' }
export const wallet: Shape<Address> = { parse: address, show: checksummed }
export const listen: Shape<ListenAddress> = {
  parse: listenAddress,
  show: ({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`,
}
export const models: Shape<Readonly<Record<string, ModelTerms>>> = {
  parse: modelTable,
  show: (table) => Object.keys(table).join(', '),
}

// An RPC or engine URL often carries its key in the path or the query.
function maskUrl(value: string): string {
  const { origin, pathname, search, username } = new URL(value)
  return pathname === '/' && !search && !username ? origin : `${origin}/…`
}
