/** What passes between the gateway (HTTP) and the exchange (one paid request). */
import type { Readable } from 'node:stream'
import type { SellerPath } from '../net/seller-client.ts'
import type { Usdc } from '../wire/amount.ts'
import type { SignedReceipt } from '../wire/receipt.ts'

export interface ExchangeRequest {
  path: '/v1/chat/completions'
  /** The client's bytes, forwarded as they came: the signed request binds their hash. */
  body: Buffer
  json: Record<string, unknown>
  model: string
  stream: boolean
  /** The client asked for the usage chunk of a stream. */
  wantsUsage: boolean
  receivedAtMs: number
  /** Names the request in the log and in `x-request-id`. */
  traceId: string
}

export interface ExchangeReply {
  status: number
  headers: Record<string, string>
  /** A stream is read to its end or destroyed by the gateway; its error ends the client's stream with an event. */
  body: Readable | Buffer
  seller: string
  /** The way it took to the seller. */
  path: SellerPath | null
  ceiling: Usdc
  attempts: number
  /** How much of the time until now passed in waiting for the seller: the rest is ours. */
  sellerWaitMs: number
  /** Resolved before the reply is handed over when `body` is a Buffer, else after the stream's end. Never rejects. */
  done: Promise<ExchangeOutcome>
}

export interface ExchangeOutcome {
  /** By all sellers that were asked; null while nobody knows: a receipt is missing or was refused. */
  charged: Usdc | null
  receipt: SignedReceipt | null
  /** Why `charged` is unknown or the charge was refused, for the log. */
  reason: string | null
}

/** Runs one paid request. Throws OpenSeedError, only before the first byte of a reply. */
export type Exchange = (request: ExchangeRequest, signal: AbortSignal) => Promise<ExchangeReply>

/** A model that can be bought now, at its lowest prices. */
export interface ModelListing {
  id: string
  sellers: number
  /** Tokens. */
  maxContext: number
  maxOutput: number
  /** Atomic USDC per 1,000,000 tokens. */
  priceIn: Usdc
  priceOut: Usdc
}
