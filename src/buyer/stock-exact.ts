/** Pays one request of a stock seller by a single transfer. Signed once, and whatever comes of it, not again. */
import type { Clock } from '../base/clock.ts'
import { asOpenSeedError, OpenSeedError } from '../base/errors.ts'
import type { SellerReply } from '../net/seller-client.ts'
import type { Usdc } from '../wire/amount.ts'
import type { Curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import type { ExactPayload } from '../wire/exact.ts'
import type { Address, Hex } from '../wire/hex.ts'
import type { NetworkTerms } from '../wire/network.ts'
import {
  parsePaymentRequired,
  parseSettlementResponse,
  paymentRequiredHeader,
  paymentResponseHeader,
} from '../wire/x402.ts'
import type { ExactBook } from './exact-book.ts'
import type { ExchangeOutcome, ExchangeReply } from './exchange-types.ts'
import type { StockChoice } from './guardrails.ts'
import { readSellerError, withDetails } from './seller-error.ts'
import { reasonOf, stockReply } from './stock-reply.ts'
import type { StockSellers } from './stock-sellers.ts'

export interface StockExactParts {
  book: ExactBook
  sellers: StockSellers
  network: NetworkTerms
  digests: Digests
  curve: Curve
  payer: Address
  payerKey: Hex
  randomWord: () => Hex
  now: Clock
}

/** What is bought, and from whom. */
export interface StockOrder {
  sellerUrl: string
  model: string
  bodyHash: Hex
}

/** How a signed transfer travels: the header's name depends on the protocol's version. */
export interface ExactCarrier {
  send: (payload: ExactPayload) => Promise<SellerReply>
  responseHeader: string
}

// Sellers whose clock is behind must not find it in the future.
const clockToleranceSec = 600

/** Throws `budget_exceeded`, `money_outcome_unknown`, `payment_refused`, `balance_insufficient`, `seller_…`. */
export async function payExact(
  choice: Extract<StockChoice, { kind: 'exact' }>,
  { sellerUrl, model, bodyHash }: StockOrder,
  carrier: ExactCarrier,
  parts: StockExactParts,
): Promise<Pick<ExchangeReply, 'body' | 'done' | 'headers'>> {
  const { book, sellers, now } = parts
  const { amount, payTo, validForSec } = choice
  const nowSec = Math.floor(now() / 1000)
  const payload = sign(amount, payTo, { nowSec, validForSec }, parts)
  const { nonce, validBefore } = payload.authorization
  // Checked and held in one turn: what runs beside it counts against the same caps.
  book.check(sellerUrl, amount)
  await book.open({
    nonce,
    sellerUrl,
    payTo,
    amount,
    validBeforeSec: Number(validBefore),
    model,
    bodyHash,
    openedAtMs: now(),
  })
  const reply = await carrier.send(payload).catch(async (thrown: unknown) => {
    const error = asOpenSeedError(thrown)
    if (error.details?.['sent'] === false) await book.unsent(nonce)
    else book.lost(nonce, { refused: false })
    throw withDetails(error, { charged: error.details?.['sent'] === false ? '0' : null })
  })
  if (reply.status !== 200) {
    book.lost(nonce, { refused: true })
    throw await explain(sellerUrl, reply)
  }
  const txHash = settledBy(reply.headers[carrier.responseHeader])
  const { body, done } = await stockReply(reply, async (how): Promise<ExchangeOutcome> => {
    await book.paid(nonce, txHash)
    sellers.noteEnd(sellerUrl, how)
    return { charged: amount, receipt: null, reason: reasonOf(how) }
  })
  return { body, done, headers: reply.headers }
}

function sign(
  value: Usdc,
  to: Address,
  { nowSec, validForSec }: { nowSec: number; validForSec: number },
  { network, digests, curve, payer, payerKey, randomWord }: StockExactParts,
): ExactPayload {
  const { assetName: name, assetVersion: version, chainId, asset } = network
  const authorization = {
    from: payer,
    to,
    value,
    validAfter: BigInt(nowSec - clockToleranceSec),
    validBefore: BigInt(nowSec + validForSec),
    nonce: randomWord(),
  }
  const digest = digests.transferAuthorization({ name, version, chainId, asset }, authorization)
  return { authorization, signature: curve.sign(digest, payerKey) }
}

/** The seller refused after it was given a signature: whether it uses that all the same, only the chain can tell. */
async function explain(sellerUrl: string, reply: SellerReply): Promise<OpenSeedError> {
  const error = await readSellerError(sellerUrl, reply)
  if (reply.status !== 402) return withDetails(error, { charged: null })
  const reason = refusalOf(reply)
  if (/insufficient_(funds|balance)/.test(reason)) {
    return new OpenSeedError('balance_insufficient', {
      message: 'The wallet holds less USDC than the request costs.',
      hint: 'openseed wallet show',
      details: { charged: null },
    })
  }
  return new OpenSeedError('payment_refused', {
    message: `${sellerUrl} refused the payment: ${reason}.`,
    hint: 'What was signed counts as spent until it has expired unused.',
    details: { reason, charged: null },
  })
}

/** Refused before the work, or, in the words of the settlement, after it. */
function refusalOf({ headers }: SellerReply): string {
  const said = [
    () => parsePaymentRequired(headers[paymentRequiredHeader]).error,
    () => parseSettlementResponse(headers[paymentResponseHeader]).errorReason,
  ]
  for (const read of said) {
    try {
      const reason = read()
      if (reason !== undefined) return reason.slice(0, 200)
    } catch {
      // The other header may say it.
    }
  }
  return 'no reason given'
}

function settledBy(header: string | undefined): string | null {
  try {
    const { transaction } = parseSettlementResponse(header)
    return transaction === '' ? null : transaction.slice(0, 100)
  } catch {
    return null
  }
}
