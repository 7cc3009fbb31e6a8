import { OpenSeedError } from '../base/errors.ts'
import { encodeExactPayload, exact, type ExactPayload } from './exact.ts'
import { expectArray, expectObject, expectText, present, refuseMessage } from './fields.ts'
import { caip2Of } from './network.ts'
import type { PaymentRequired, PaymentRequirements } from './x402.ts'

/** Request header of version 1 of the protocol: what is paid. */
export const v1PaymentHeader = 'x-payment'
/** Response header of version 1 of the protocol: what was settled. */
export const v1ResponseHeader = 'x-payment-response'

// Version 1 had names for networks where version 2 has CAIP-2.
const networkNames: Readonly<Record<string, string>> = {
  [caip2Of(8453)]: 'base',
  [caip2Of(84_532)]: 'base-sepolia',
}

/**
 * Parses the body of a 402 of version 1, which had the terms there and knew `exact` alone, into the form of version 2.
 * Entries for networks without a name here are left out. Throws `invalid_message`.
 */
export function parseV1Required(body: Uint8Array): PaymentRequired {
  const fields = expectObject(parseJson(body), 'the 402')
  if (fields['x402Version'] !== 1)
    throw new OpenSeedError('invalid_message', { message: 'The 402 is of no known version.' })
  const entries = expectArray(fields['accepts'], 'accepts', 64).map((entry) => expectObject(entry, 'accepts'))
  const accepts = entries.flatMap((entry) => {
    const network = Object.keys(networkNames).find((name) => networkNames[name] === entry['network'])
    return network === undefined ? [] : [parseRequirements(entry, network)]
  })
  const [first] = entries
  if (first === undefined || accepts.length === 0)
    return refuseMessage('accepts', 'for a network that is known')
  const error = present(fields['error'])
  return {
    x402Version: 2,
    ...(typeof error === 'string' ? { error } : {}),
    resource: { url: expectText(first['resource'], 'resource', 8192) },
    accepts,
  }
}

/** The X-PAYMENT header. Throws `invalid_message` for a network that version 1 had no name for. */
export function encodeV1Payment(caip2: string, payload: ExactPayload): string {
  const network = networkNames[caip2] ?? refuseMessage('network', 'one that version 1 had a name for')
  const payment = { x402Version: 1, scheme: exact, network, payload: encodeExactPayload(payload) }
  return Buffer.from(JSON.stringify(payment)).toString('base64')
}

function parseRequirements(entry: Record<string, unknown>, network: string): PaymentRequirements {
  const { maxTimeoutSeconds } = entry
  if (typeof maxTimeoutSeconds !== 'number' || !(maxTimeoutSeconds > 0))
    return refuseMessage('maxTimeoutSeconds', 'a number above 0')
  const extra = present(entry['extra'])
  return {
    scheme: expectText(entry['scheme'], 'scheme'),
    network,
    amount: expectText(entry['maxAmountRequired'], 'maxAmountRequired'),
    asset: expectText(entry['asset'], 'asset'),
    payTo: expectText(entry['payTo'], 'payTo'),
    maxTimeoutSeconds,
    ...(extra === undefined ? {} : { extra: expectObject(extra, 'extra') }),
  }
}

function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body))
  } catch (error) {
    return refuseMessage('The 402', 'JSON', error)
  }
}
