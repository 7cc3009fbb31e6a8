import type { Usdc } from '../wire/amount.ts'
import type { ModelListing } from './exchange-types.ts'

/** OpenAI's model object; context and prices beside it in OpenRouter's spelling, which model pickers know. */
export function encodeModel(model: ModelListing): Record<string, unknown> {
  return {
    id: model.id,
    object: 'model',
    created: 0,
    owned_by: 'openseed',
    context_length: model.maxContext,
    top_provider: { context_length: model.maxContext, max_completion_tokens: model.maxOutput },
    pricing: { prompt: usdPerToken(model.priceIn), completion: usdPerToken(model.priceOut) },
    openseed: { sellers: model.sellers },
  }
}

/** A model of a seller that names its price in the 402 of each request, and not before. */
export function encodeUnpriced(id: string) {
  return { id, object: 'model', created: 0, owned_by: 'x402' }
}

/** Atomic USDC per million tokens is USD x 10^-12 per token. */
function usdPerToken(price: Usdc): string {
  const digits = price.toString().padStart(13, '0')
  return `${digits.slice(0, -12)}.${digits.slice(-12)}`.replace(/\.?0+$/, '')
}
