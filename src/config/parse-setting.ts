/** How the text of a flag, a variable or the file becomes a value. A refusal says what is wanted; config.ts adds where it stood. */
import { OpenSeedError } from '../base/errors.ts'
import { parseUsd, type Usdc } from '../wire/amount.ts'
import { asAddress, asHex32, type Address, type Hex } from '../wire/hex.ts'
import { peerAddress, peerOfAddress } from '../wire/seller-address.ts'

export interface ListenAddress {
  host: string
  port: number
}

/** What `[sell.models."name"]` may say; an absent field falls back to the setting for all models. */
export interface ModelTerms {
  priceIn?: Usdc
  priceOut?: Usdc
  priceCached?: Usdc
  fixedPrice?: Usdc
  maxContext?: number
  maxOutput?: number
}

const unusable = (wanted: string) => new OpenSeedError('config_invalid', { message: `must be ${wanted}` })

export function integer(min: number, max: number): (input: unknown) => number {
  return (input) => {
    const value = typeof input === 'string' && /^\d{1,15}$/.test(input) ? Number(input) : input
    if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max) {
      throw unusable(`a whole number from ${min} to ${max}`)
    }
    return value as number
  }
}

/** Dollars with at most six decimals, as text or as a TOML number, to atomic USDC. */
export function usd(input: unknown): Usdc {
  const text = typeof input === 'number' ? String(input) : input
  try {
    if (typeof text === 'string') return parseUsd(text)
  } catch {
    // The sentence below says what is wanted.
  }
  throw unusable('an amount in USD such as 0.05, with at most six decimals')
}

export function oneOf<const T extends string>(words: readonly T[]): (input: unknown) => T {
  return (input) => {
    const found = words.find((word) => word === input)
    if (found === undefined) throw unusable(`one of ${words.join(', ')}`)
    return found
  }
}

export function httpUrl(input: unknown): string {
  if (typeof input === 'string' && /^https?:\/\//i.test(input) && URL.canParse(input)) {
    return input.replace(/\/+$/, '')
  }
  throw unusable('an http:// or https:// URL')
}

/** A seller's base URL, or its peer id as `openseed://`. */
export function sellerAddress(input: unknown): string {
  const peer = typeof input === 'string' ? peerOfAddress(input) : null
  if (peer !== null) return peerAddress(peer)
  try {
    return httpUrl(input)
  } catch {
    throw unusable('an http:// or https:// URL, or openseed:// and a peer id')
  }
}

/** A registry's URL, or a domain whose DNS names registries. */
export function registryName(input: unknown): string {
  if (typeof input === 'string' && /^(?:[a-z0-9-]{1,63}\.)+[a-z]{2,63}$/i.test(input))
    return input.toLowerCase()
  try {
    return httpUrl(input)
  } catch {
    throw unusable('an http:// or https:// URL, or a domain')
  }
}

const multiaddrForm = /^\/(?:ip4|ip6|dns|dns4|dns6)\/[^/\s]+\/tcp\/\d{1,5}(\/p2p\/[1-9A-HJ-NP-Za-km-z]+)?$/

export function multiaddrText(input: unknown): string {
  if (typeof input === 'string' && multiaddrForm.test(input)) return input
  throw unusable('a TCP multiaddr such as /ip4/192.0.2.1/tcp/8405')
}

/** A multiaddr that says who is met there. */
export function peerMultiaddr(input: unknown): string {
  if (typeof input === 'string' && multiaddrForm.exec(input)?.[1] !== undefined) return input
  throw unusable('a multiaddr with its peer, such as /dns4/registry.example/tcp/8406/p2p/12D3KooW…')
}

/** A list as others are; the word `none` for an empty one, which neither a flag nor a variable could say. */
export function multiaddrList(parse: (input: unknown) => string): (input: unknown) => readonly string[] {
  const parseList = listOf(parse)
  return (input) => (String(input) === 'none' ? [] : parseList(input))
}

export function boolean(input: unknown): boolean {
  if (input === true || input === 'true') return true
  if (input === false || input === 'false') return false
  throw unusable('true or false')
}

/** A TOML array, a repeated flag, or a variable with commas. */
export function listOf<T>(parse: (input: unknown) => T): (input: unknown) => readonly T[] {
  return (input) => {
    if (typeof input === 'string') return input.split(',').map((part) => parse(part.trim()))
    if (Array.isArray(input)) return input.map(parse)
    throw unusable('a list')
  }
}

export function address(input: unknown): Address {
  try {
    return asAddress(input)
  } catch {
    throw unusable('an address: 0x and 40 hex digits')
  }
}

export function hash32(input: unknown): Hex {
  try {
    return asHex32(input)
  } catch {
    throw unusable('a hash: 0x and 64 hex digits')
  }
}

export function text(input: unknown): string {
  if (typeof input !== 'string' || input === '') throw unusable('text')
  return input
}

/** `127.0.0.1:8403`, `[::1]:8403`, `:8403` (every interface) or `8403` (this machine only). */
export function listenAddress(input: unknown): ListenAddress {
  const match = /^(?:(\[[0-9a-f:.]+\]|[^:[\]]*):)?(\d{1,5})$/i.exec(String(input))
  const port = Number(match?.[2])
  if (!match || port > 65_535) throw unusable('host:port, for example 127.0.0.1:8403')
  if (match[1] === undefined) return { host: '127.0.0.1', port }
  return { host: match[1].replace(/^\[|\]$/g, '') || '0.0.0.0', port }
}

const tokens = integer(1, 2 ** 31 - 1)
const modelFields = {
  price_in: (terms: ModelTerms, input: unknown) => (terms.priceIn = usd(input)),
  price_out: (terms: ModelTerms, input: unknown) => (terms.priceOut = usd(input)),
  price_cached: (terms: ModelTerms, input: unknown) => (terms.priceCached = usd(input)),
  fixed_price: (terms: ModelTerms, input: unknown) => (terms.fixedPrice = usd(input)),
  max_context: (terms: ModelTerms, input: unknown) => (terms.maxContext = tokens(input)),
  max_output: (terms: ModelTerms, input: unknown) => (terms.maxOutput = tokens(input)),
}

/** The fields a model's table may have. */
export const modelFieldNames = Object.keys(modelFields) as (keyof typeof modelFields)[]

export function modelTable(input: unknown): Readonly<Record<string, ModelTerms>> {
  if (!isTable(input)) throw unusable('a table of models')
  return Object.fromEntries(
    Object.entries(input).map(([model, fields]) => [model, modelTerms(model, fields)]),
  )
}

function modelTerms(model: string, fields: unknown): ModelTerms {
  if (!isTable(fields)) throw unusable(`a table for the model "${model}"`)
  const terms: ModelTerms = {}
  for (const [name, value] of Object.entries(fields)) {
    const field = modelFieldNames.find((known) => known === name)
    if (!field) throw unusable(`a table of ${modelFieldNames.join(', ')}; "${model}" has "${name}"`)
    modelFields[field](terms, value)
  }
  return terms
}

export function isTable(input: unknown): input is Record<string, unknown> {
  return typeof input === 'object' && input !== null && !Array.isArray(input)
}
