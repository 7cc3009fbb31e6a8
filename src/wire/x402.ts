import { isDeepStrictEqual } from 'node:util'
import { OpenSeedError } from '../base/errors.ts'
import { expectArray, expectObject, expectText, present, refuseMessage } from './fields.ts'

/** Response header of a 402: what is asked. */
export const paymentRequiredHeader = 'payment-required'
/** Request header: what is paid. */
export const paymentSignatureHeader = 'payment-signature'
/** Response header of a paid reply: what was settled. */
export const paymentResponseHeader = 'payment-response'
/** What an SSE comment with a settlement starts with, after the colon and a space. */
export const paymentResponseComment = 'x402-payment-response '

/** The longest header value that is read, in characters of base64. */
export const maxHeaderChars = 16 * 1024

/** What is sold at a URL. */
export interface ResourceInfo {
  url: string
  description?: string
  mimeType?: string
  serviceName?: string
  tags?: string[]
  iconUrl?: string
}

/** One way to pay. Scheme-specific values stay as the peer wrote them, because it compares them by equality. */
export interface PaymentRequirements {
  scheme: string
  /** CAIP-2. */
  network: string
  /** Atomic units, a decimal string: with batch-settlement the request's ceiling. */
  amount: string
  asset: string
  payTo: string
  maxTimeoutSeconds: number
  extra?: Record<string, unknown>
}

/** Content of the PAYMENT-REQUIRED header. */
export interface PaymentRequired {
  x402Version: 2
  error?: string
  resource: ResourceInfo
  accepts: PaymentRequirements[]
  extensions?: Record<string, unknown>
}

/** Content of the PAYMENT-SIGNATURE header. */
export interface PaymentPayload {
  x402Version: 2
  resource?: ResourceInfo
  accepted: PaymentRequirements
  payload: Record<string, unknown>
  extensions?: Record<string, unknown>
}

/** Content of the PAYMENT-RESPONSE header. */
export interface SettlementResponse {
  success: boolean
  /** Transaction hash; '' when nothing went to the chain. */
  transaction: string
  network: string
  payer?: string
  amount?: string
  errorReason?: string
  errorMessage?: string
  extensions?: Record<string, unknown>
  extra?: Record<string, unknown>
}

/** Base64 of the JSON text: a header value. Throws `invalid_message` when the value cannot be written as JSON. */
export function encodeHeader(value: PaymentRequired | PaymentPayload | SettlementResponse): string {
  try {
    return Buffer.from(JSON.stringify(value)).toString('base64')
  } catch (error) {
    // Parts echoed from a peer may nest too deep.
    return refuseMessage('A header', 'plain JSON', error)
  }
}

/** Parses a PAYMENT-REQUIRED header. Throws `invalid_message`. */
export function parsePaymentRequired(headerValue: unknown): PaymentRequired {
  const fields = decodeHeader(headerValue, paymentRequiredHeader)
  expectVersion(fields)
  const accepts = expectArray(fields['accepts'], 'accepts', 64)
  if (accepts.length === 0) refuseMessage('accepts', 'an array of at least 1')
  return {
    x402Version: 2,
    ...optional('error', fields, expectAnyText),
    resource: parseResource(fields['resource']),
    accepts: accepts.map(parseRequirements),
    ...optional('extensions', fields, expectObject),
  }
}

/** Parses a PAYMENT-SIGNATURE header. `payload` is the scheme's affair. Throws `invalid_message`. */
export function parsePaymentPayload(headerValue: unknown): PaymentPayload {
  const fields = decodeHeader(headerValue, paymentSignatureHeader)
  expectVersion(fields)
  return {
    x402Version: 2,
    ...optional('resource', fields, parseResource),
    accepted: parseRequirements(fields['accepted']),
    payload: expectObject(fields['payload'], 'payload'),
    ...optional('extensions', fields, expectObject),
  }
}

/** Parses a PAYMENT-RESPONSE header. Throws `invalid_message`. */
export function parseSettlementResponse(headerValue: unknown): SettlementResponse {
  const fields = decodeHeader(headerValue, paymentResponseHeader)
  const success = fields['success']
  if (typeof success !== 'boolean') return refuseMessage('success', 'true or false')
  return {
    success,
    transaction: expectAnyText(fields['transaction'], 'transaction'),
    network: expectAnyText(fields['network'], 'network'),
    ...optional('payer', fields, expectAnyText),
    ...optional('amount', fields, expectAnyText),
    ...optional('errorReason', fields, expectAnyText),
    ...optional('errorMessage', fields, expectAnyText),
    ...optional('extensions', fields, expectObject),
    ...optional('extra', fields, expectObject),
  }
}

/** True when a client accepted exactly this advertised entry; it may only have added keys to `extra`. */
export function acceptsEntry(accepted: PaymentRequirements, advertised: PaymentRequirements): boolean {
  const { extra: given = {}, ...core } = accepted
  const { extra: wanted = {}, ...advertisedCore } = advertised
  return (
    isDeepStrictEqual(core, advertisedCore) &&
    Object.entries(wanted).every(([key, value]) => isDeepStrictEqual(given[key], value))
  )
}

function decodeHeader(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== 'string' || value.length > maxHeaderChars)
    return refuseMessage(name, `base64 of at most ${maxHeaderChars} characters`)
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(value)) return refuseMessage(name, 'base64')
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(value, 'base64')))
  } catch (error) {
    return refuseMessage(name, 'base64 of JSON', error)
  }
  return expectObject(json, name)
}

function expectVersion(fields: Record<string, unknown>): void {
  if (fields['x402Version'] !== 2)
    throw new OpenSeedError('invalid_message', {
      message: 'x402Version must be 2.',
      details: { reason: 'invalid_x402_version' },
    })
}

function parseRequirements(input: unknown): PaymentRequirements {
  const fields = expectObject(input, 'requirements')
  const network = expectText(fields['network'], 'network')
  if (network.length < 3 || !network.includes(':')) return refuseMessage('network', 'a CAIP-2 name')
  const maxTimeoutSeconds = fields['maxTimeoutSeconds']
  if (typeof maxTimeoutSeconds !== 'number' || !(maxTimeoutSeconds > 0))
    return refuseMessage('maxTimeoutSeconds', 'a number above 0')
  return {
    scheme: expectText(fields['scheme'], 'scheme'),
    network,
    amount: expectText(fields['amount'], 'amount'),
    asset: expectText(fields['asset'], 'asset'),
    payTo: expectText(fields['payTo'], 'payTo'),
    maxTimeoutSeconds,
    ...optional('extra', fields, expectObject),
  }
}

function parseResource(input: unknown): ResourceInfo {
  const fields = expectObject(input, 'resource')
  return {
    url: expectText(fields['url'], 'url', 8192),
    ...optional('description', fields, expectAnyText),
    ...optional('mimeType', fields, expectAnyText),
    ...optional('serviceName', fields, expectLabel),
    ...optional('tags', fields, (tags, name) =>
      expectArray(tags, name, 5).map((tag) => expectLabel(tag, 'tag')),
    ),
    ...optional('iconUrl', fields, (url, name) => expectAnyText(url, name, 2048)),
  }
}

function expectLabel(input: unknown, name: string): string {
  const label = expectText(input, name, 32)
  return /^[\x20-\x7e]+$/.test(label) ? label : refuseMessage(name, 'printable ASCII')
}

function expectAnyText(input: unknown, name: string, most = maxHeaderChars): string {
  return typeof input === 'string' && input.length <= most ? input : refuseMessage(name, 'a string')
}

function optional<Key extends string, Value>(
  key: Key,
  fields: Record<string, unknown>,
  parse: (input: unknown, name: string) => Value,
): { [K in Key]?: Value } {
  const value = present(fields[key])
  return (value === undefined ? {} : { [key]: parse(value, key) }) as { [K in Key]?: Value }
}
