import type { Usdc } from './amount.ts'
import type { Offer } from './offer.ts'

/** What a request used. Tokens, non-negative safe integers; cachedTokens is a part of inputTokens. */
export interface Usage {
  inputTokens: number
  cachedTokens: number
  outputTokens: number
}

/** The prices of an offer. */
export type Prices = Pick<Offer, 'priceIn' | 'priceCached' | 'priceOut' | 'fixedPrice'>

const tokensPerPrice = 1_000_000n

/** The token cost as a numerator over 1,000,000 atomic USDC, without the fixed price. Exact. */
export function exactCost(usage: Usage, prices: Omit<Prices, 'fixedPrice'>): bigint {
  return (
    BigInt(usage.inputTokens - usage.cachedTokens) * prices.priceIn +
    BigInt(usage.cachedTokens) * prices.priceCached +
    BigInt(usage.outputTokens) * prices.priceOut
  )
}

/** min(ceiling, max(min, ceil(token cost) + fixed)); nothing used costs nothing. */
export function chargeFor(usage: Usage, prices: Prices, min: Usdc, ceiling: Usdc): Usdc {
  if (usage.inputTokens === 0 && usage.outputTokens === 0) return 0n
  const cost = roundedCost(usage, prices)
  const due = cost > min ? cost : min
  return due < ceiling ? due : ceiling
}

function roundedCost(usage: Usage, prices: Prices): Usdc {
  return (exactCost(usage, prices) + tokensPerPrice - 1n) / tokensPerPrice + prices.fixedPrice
}
