/** The seller's answers to everything but the paid request itself. */
import type { ServerResponse } from 'node:http'
import { sendJson } from '../net/http-json.ts'
import { batchErrors } from '../wire/batch-settlement.ts'
import { OpenSeedError } from '../base/errors.ts'
import { requestCeiling } from '../wire/ceiling.ts'
import { catalogText } from '../wire/seller-record.ts'
import { encodeSellerTerms, type SellerTerms } from '../wire/terms.ts'
import { errorReply } from '../wire/openai-error.ts'
import { checksummed } from '../wire/hex.ts'
import {
  encodeHeader,
  paymentRequiredHeader,
  paymentResponseHeader,
  type SettlementResponse,
} from '../wire/x402.ts'
import { encodeBinding } from '../wire/peer-binding.ts'
import { encodeRecord } from '../wire/record.ts'
import { announcedModels } from './announcement.ts'
import type { Announced } from './announcer.ts'
import type { Entry } from './channel-entry.ts'
import type { SellerRoutes } from './http.ts'
import { channelState, maxTimeoutSeconds, paymentRequired } from './payment-terms.ts'
import { decodePayment, verifyPayment } from './payment.ts'
import { refund, type RefundParts } from './refund.ts'
import type { ServeParts } from './serve-parts.ts'
import { serve } from './serve.ts'
import { answerStatus } from './status.ts'
import type { TowerDesk } from './tower-desk.ts'

export interface RouteParts extends ServeParts, Omit<RefundParts, 'readChain' | 'log' | 'book'> {
  maxBodyBytes: number
  /** What is announced now; null when that is nothing. */
  announced: () => Promise<Announced | null>
  towers: Pick<TowerDesk, 'pair' | 'updates'>
}

export function openRoutes(parts: RouteParts): SellerRoutes {
  return {
    chat: (call, response, signal) => serve(call, response, parts, signal),
    probe: (payment, url, response) => probe(payment, url, response, parts),
    models: () => listModels(parts),
    offer: () => encodeSellerTerms(sellerTerms(parts)),
    catalog: () => catalogText(announcedModels(parts.offers.all().map(({ signed }) => signed))),
    status: (body) => answerStatus(body, parts),
    pairTower: (body) => parts.towers.pair(body),
    towerUpdates: ({ authorization, since }, signal) => parts.towers.updates(authorization, since, signal),
    async record() {
      const announced = await parts.announced()
      return announced && listingText(announced)
    },
  }
}

/** The signed documents byte for byte, with what this version does not know of them. */
function listingText({ record, binding, heartbeat }: Announced): string {
  const word = JSON.stringify(encodeBinding(binding))
  return `{"record":${encodeRecord(record)},"binding":${word},"heartbeat":${encodeRecord(heartbeat)}}`
}

function listModels({ offers }: RouteParts) {
  return {
    object: 'list',
    data: offers.all().map(({ signed: { offer, details } }) => ({
      id: details.model,
      object: 'model',
      created: 0,
      owned_by: 'openseed',
      context_length: offer.maxContext,
      pricing: { prompt: perToken(offer.priceIn), completion: perToken(offer.priceOut) },
    })),
  }
}

/** Dollars per token as a decimal string, the form that model listings use: 1 atomic USDC per 1M tokens is 1e-12. */
function perToken(atomicPerMillion: bigint): string {
  const digits = atomicPerMillion.toString().padStart(13, '0')
  return `${digits.slice(0, -12)}.${digits.slice(-12)}`.replace(/\.?0+$/, '')
}

function sellerTerms({ seller, offers, maxBodyBytes }: RouteParts): SellerTerms {
  const { network } = seller
  return {
    network: network.caip2,
    escrow: network.escrow,
    collector: network.collector,
    asset: network.asset,
    assetName: network.assetName,
    assetVersion: network.assetVersion,
    payTo: seller.payTo,
    receiverAuthorizer: seller.receiverAuthorizer,
    withdrawDelay: seller.withdrawDelay,
    minDeposit: seller.minDeposit,
    maxTimeoutSeconds,
    maxBodyBytes,
    offers: offers.all().map(({ signed }) => signed),
  }
}

/** GET on the paid route: stock clients probe it for terms, and ask here for their refund. */
async function probe(
  payment: string | undefined,
  url: string,
  response: ServerResponse,
  parts: RouteParts,
): Promise<void> {
  const listing = parts.offers.all()[0]
  if (listing === undefined)
    throw new OpenSeedError('no_seller', { message: 'This seller offers no model now.' })
  const { amount } = requestCeiling(null, 0, listing.ceiling)
  const demand = (reason: string, entry?: Entry): void => {
    const required = paymentRequired(parts.seller, { url, listing, amount }, reason, entry)
    const { body } = errorReply(new OpenSeedError('payment_required', { message: `Payment: ${reason}.` }))
    sendJson(response, 402, body, {
      [paymentRequiredHeader]: encodeHeader(required),
      'cache-control': 'no-store',
    })
  }
  if (payment === undefined) return demand('PAYMENT-SIGNATURE header is required')
  const decoded = decodePayment(payment)
  if (decoded.kind === 'refuse') return demand(decoded.reason)
  // A single transfer leaves nothing to give back.
  if (decoded.kind === 'exact') return demand('invalid_payload')
  const { outer, payload } = decoded
  if (payload.type !== 'refund') return demand(batchErrors.payloadType)
  const asked = { body: Buffer.alloc(0), amount, offerHash: listing.signed.hash }
  const reading = verifyPayment(parts, outer, payload, asked)
  if (reading.kind === 'refuse') return demand(reading.reason)
  const answer = await refund(payload, parts)
  if (answer.kind === 'refuse') return demand(answer.reason, answer.entry)
  const { entry } = answer
  const settlement: SettlementResponse = {
    success: true,
    transaction: answer.txHash,
    network: parts.seller.network.caip2,
    payer: checksummed(entry.config.payer),
    amount: answer.amount.toString(),
    extra: { channelState: channelState(entry, entry.ledger.charged) },
  }
  sendJson(
    response,
    200,
    { refunded: answer.amount.toString(), transaction: answer.txHash },
    {
      [paymentResponseHeader]: encodeHeader(settlement),
    },
  )
}
