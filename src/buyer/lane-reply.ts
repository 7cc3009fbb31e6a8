/** What a stock seller's reply says about a lane: its settlement, or why it refused. */
import type { SellerReply } from '../net/seller-client.ts'
import { parseAmount, type Usdc } from '../wire/amount.ts'
import { parseChannelState } from '../wire/batch-settlement.ts'
import { present } from '../wire/fields.ts'
import type { Hex } from '../wire/hex.ts'
import {
  acceptsEntry,
  parsePaymentRequired,
  parseSettlementResponse,
  paymentRequiredHeader,
  paymentResponseHeader,
  type PaymentRequirements,
} from '../wire/x402.ts'

/** Null when it states none that can be read, or one of another channel. */
export function readSettlement(
  { headers }: SellerReply,
  channelId: Hex,
): { charged: Usdc; cumulative: Usdc | null } | null {
  try {
    const { extra } = parseSettlementResponse(headers[paymentResponseHeader])
    const state = present(extra?.['channelState'])
    const parsed = state === undefined ? null : parseChannelState(state)
    if (parsed !== null && parsed.channelId !== channelId) return null
    return {
      charged: parseAmount(extra?.['chargedAmount'], 'chargedAmount'),
      cumulative: parsed?.chargedCumulativeAmount ?? null,
    }
  } catch {
    return null
  }
}

/** The reason of a 402, and its entry for the channel where the terms are still the same. */
export function readRefusal(
  { headers }: SellerReply,
  asked: PaymentRequirements,
): { reason: string; entry: PaymentRequirements | null } {
  try {
    const { error = 'no reason given', accepts } = parsePaymentRequired(headers[paymentRequiredHeader])
    const entry = accepts.find((one) => acceptsEntry(one, asked)) ?? null
    return { reason: error.slice(0, 200), entry }
  } catch {
    return { reason: 'no reason given', entry: null }
  }
}
