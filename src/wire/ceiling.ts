import { OpenSeedError } from '../base/errors.ts'
import { maxUsdc, type Usdc } from './amount.ts'
import type { SignedOffer } from './offer.ts'

/** The parameters of an offer that bound what a request may cost. Prices in atomic USDC per 1,000,000 tokens. */
export interface CeilingTerms {
  priceIn: Usdc
  priceOut: Usdc
  fixedPrice: Usdc
  min: Usdc
  maxContext: number
  maxOutput: number
  defOut: number
  img: number
  maxN: number
}

/** The most that a request may cost, and the bounds it follows from. */
export interface Ceiling {
  amount: Usdc
  /** Output tokens per choice; the engine's limit. */
  maxOutput: number
  /** Choices. */
  n: number
  /** Prompt tokens at most, for pricing only. */
  promptBound: number
}

const systemTextTokens = 256
const toolPreambleTokens = 512
const greatestLimit = 2 ** 31 - 1

/** The ceiling's parameters of an offer. */
export function ceilingTerms({ offer, details }: SignedOffer): CeilingTerms {
  return {
    priceIn: offer.priceIn,
    priceOut: offer.priceOut,
    fixedPrice: offer.fixedPrice,
    min: details.min,
    maxContext: offer.maxContext,
    maxOutput: offer.maxOutput,
    defOut: details.defOut,
    img: details.img,
    maxN: details.maxN,
  }
}

/**
 * The ceiling of a request: a pure function of its body, so that both sides compute the same. A token covers at
 * least one byte, and JSON punctuation covers the chat template. `json` is null for an empty body.
 * Throws `invalid_request` with `details.param`.
 */
export function requestCeiling(
  json: Record<string, unknown> | null,
  bodyBytes: number,
  terms: CeilingTerms,
): Ceiling {
  const body = json ?? {}
  const { images, dataBytes } = countImages(body['messages'])
  const { tools } = body
  const toolTokens = Array.isArray(tools) && tools.length > 0 ? toolPreambleTokens : 0
  const promptBound = Math.min(
    terms.maxContext,
    bodyBytes - dataBytes + systemTextTokens + toolTokens + images * terms.img,
  )
  const maxOutput = Math.min(wantedOutput(body) ?? terms.defOut, terms.maxOutput, terms.maxContext)
  const n = limit(body['n'], 'n', terms.maxN) ?? 1
  const tokenCost = terms.priceIn * BigInt(promptBound) + terms.priceOut * BigInt(maxOutput) * BigInt(n)
  const cost = (tokenCost + 999_999n) / 1_000_000n + terms.fixedPrice
  const amount = roundUp(cost > terms.min ? cost : terms.min)
  if (amount > maxUsdc)
    throw new OpenSeedError('invalid_request', {
      message: 'At these prices the request may cost more than any amount.',
    })
  return { amount, maxOutput, n, promptBound }
}

/** The ladder: two significant digits, rounded up by less than 10 %. Monotone and idempotent. */
export function roundUp(amount: Usdc): Usdc {
  const digits = amount.toString().length
  if (digits <= 2) return amount
  const step = 10n ** BigInt(digits - 2)
  return ((amount + step - 1n) / step) * step
}

function wantedOutput(body: Record<string, unknown>): number | undefined {
  return (
    limit(body['max_completion_tokens'], 'max_completion_tokens', greatestLimit) ??
    limit(body['max_tokens'], 'max_tokens', greatestLimit)
  )
}

function limit(value: unknown, param: string, most: number): number | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= most) return value
  throw new OpenSeedError('invalid_request', {
    message: `${param} must be an integer from 1 to ${most}.`,
    details: { param },
  })
}

// A data URL is paid as an image, not as text.
function countImages(messages: unknown): { images: number; dataBytes: number } {
  let images = 0
  let dataBytes = 0
  for (const message of Array.isArray(messages) ? messages : []) {
    const content = field(message, 'content')
    for (const part of Array.isArray(content) ? content : []) {
      if (field(part, 'type') !== 'image_url') continue
      images += 1
      const image = field(part, 'image_url')
      const url = typeof image === 'string' ? image : field(image, 'url')
      if (typeof url === 'string' && url.startsWith('data:')) dataBytes += Buffer.byteLength(url)
    }
  }
  return { images, dataBytes }
}

function field(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined
}
