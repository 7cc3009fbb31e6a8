/** What this seller asks: the 402 and the parts of x402 that name this seller's terms. */
import type { Usdc } from '../wire/amount.ts'
import { batchSettlement, encodeChannelState, encodeVoucherState } from '../wire/batch-settlement.ts'
import {
  advertisePaymentIdentifier,
  encodeTermsExtension,
  openseedExtension,
  paymentIdentifierExtension,
} from '../wire/extension.ts'
import { exactRequirements } from '../wire/exact.ts'
import { checksummed, type Address } from '../wire/hex.ts'
import type { NetworkTerms } from '../wire/network.ts'
import type { PaymentRequired, PaymentRequirements } from '../wire/x402.ts'
import type { Entry } from './channel-entry.ts'
import { held } from './ledger.ts'
import type { Listing } from './offer-book.ts'

export interface SellerIdentity {
  network: NetworkTerms
  payTo: Address
  receiverAuthorizer: Address
  /** seconds */
  withdrawDelay: number
  minDeposit: Usdc
  /** the least that is asked for a request paid by a single transfer; null: such payments are not taken */
  leastExact: Usdc | null
}

/** Bounds a reservation and the validity of a deposit's authorization. */
export const maxTimeoutSeconds = 600

/** The first entry of `accepts`: a pure function of the request, so that the paid copy is priced the same. */
export function requirements(seller: SellerIdentity, amount: Usdc): PaymentRequirements {
  const { network } = seller
  return {
    scheme: batchSettlement,
    network: network.caip2,
    amount: amount.toString(),
    asset: checksummed(network.asset),
    payTo: checksummed(seller.payTo),
    maxTimeoutSeconds,
    extra: {
      receiverAuthorizer: checksummed(seller.receiverAuthorizer),
      withdrawDelay: seller.withdrawDelay,
      name: network.assetName,
      version: network.assetVersion,
      assetTransferMethod: 'eip3009',
      minDeposit: (seller.minDeposit > amount ? seller.minDeposit : amount).toString(),
    },
  }
}

/** The second entry of `accepts`; null when this seller takes no single transfers. */
export function exactEntry(seller: SellerIdentity, ceiling: Usdc): PaymentRequirements | null {
  const { network, payTo, leastExact } = seller
  if (leastExact === null) return null
  // Each one costs the seller a transaction.
  const amount = ceiling > leastExact ? ceiling : leastExact
  return exactRequirements(network, payTo, amount, maxTimeoutSeconds)
}

export interface Asked {
  url: string
  listing: Listing
  amount: Usdc
}

/** The body of a PAYMENT-REQUIRED header. With an entry it is corrective: it states where the channel stands. */
export function paymentRequired(
  seller: SellerIdentity,
  asked: Asked,
  error: string,
  entry?: Entry,
): PaymentRequired {
  const { offer, details, hash } = asked.listing.signed
  const terms = requirements(seller, asked.amount)
  const exact = exactEntry(seller, asked.amount)
  const info = {
    offerHash: hash,
    model: details.model,
    priceIn: offer.priceIn,
    priceCached: offer.priceCached,
    priceOut: offer.priceOut,
    fixedPrice: offer.fixedPrice,
  }
  return {
    x402Version: 2,
    error,
    resource: {
      url: asked.url,
      description: `Inference with ${details.model.slice(0, 100)}`,
      mimeType: 'application/json',
    },
    accepts: [
      entry === undefined ? terms : { ...terms, extra: { ...terms.extra, ...stateOf(entry) } },
      ...(exact === null ? [] : [exact]),
    ],
    extensions: {
      [openseedExtension]: encodeTermsExtension(
        entry === undefined ? info : { ...info, channel: snapshotOf(entry) },
      ),
      [paymentIdentifierExtension]: advertisePaymentIdentifier(),
    },
  }
}

/** `channelState` as x402 writes it; `cumulative` is what this client is told. */
export function channelState(entry: Entry, cumulative: Usdc): Record<string, string | number> {
  const { ledger } = entry
  return encodeChannelState({
    channelId: entry.id,
    balance: ledger.balance,
    totalClaimed: ledger.totalClaimed,
    withdrawRequestedAt: entry.withdrawInitiatedAtSec,
    refundNonce: entry.refundNonce,
    chargedCumulativeAmount: cumulative,
  })
}

function stateOf(entry: Entry): Record<string, unknown> {
  const state = { channelState: channelState(entry, entry.ledger.told) }
  if (entry.signature === null) return state
  const voucherState = encodeVoucherState({
    signedMaxClaimable: entry.ledger.signed,
    signature: entry.signature,
  })
  return { ...state, voucherState }
}

function snapshotOf(entry: Entry) {
  const { ledger } = entry
  return {
    charged: ledger.charged,
    held: held(ledger),
    signed: ledger.signed,
    open: [...ledger.open].map(([id, row]) => ({ id, ceiling: row.ceiling })),
  }
}
