/** The PAYMENT-SIGNATURE header of one request. Pure. */
import type { Usdc } from '../wire/amount.ts'
import { batchSettlement, encodeBatchPayload, type Voucher } from '../wire/batch-settlement.ts'
import type { ChannelConfig } from '../wire/channel.ts'
import {
  encodePaymentIdentifier,
  encodeRequestExtension,
  openseedExtension,
  paymentIdentifierExtension,
  type RequestExtension,
} from '../wire/extension.ts'
import { checksummed } from '../wire/hex.ts'
import type { SellerTerms } from '../wire/terms.ts'
import { encodeHeader, type PaymentRequirements } from '../wire/x402.ts'
import type { PendingDeposit } from './pending-deposit.ts'

export function paymentHeader(payment: {
  terms: SellerTerms
  config: ChannelConfig
  voucher: Voucher
  deposit: PendingDeposit | null
  request: RequestExtension
}): string {
  const { terms, config, voucher, deposit, request } = payment
  return encodeHeader({
    x402Version: 2,
    accepted: acceptedEntry(terms, request.ceiling),
    payload: encodeBatchPayload(
      deposit === null ? { type: 'voucher', config, voucher } : { type: 'deposit', config, voucher, deposit },
    ),
    extensions: {
      [openseedExtension]: encodeRequestExtension(request),
      [paymentIdentifierExtension]: encodePaymentIdentifier(request.id),
    },
  })
}

/** The entry of `accepts` that a seller with these terms advertises for a request of this ceiling. */
function acceptedEntry(terms: SellerTerms, amount: Usdc): PaymentRequirements {
  const least = terms.minDeposit > amount ? terms.minDeposit : amount
  return {
    scheme: batchSettlement,
    network: terms.network,
    amount: amount.toString(),
    asset: checksummed(terms.asset),
    payTo: checksummed(terms.payTo),
    maxTimeoutSeconds: terms.maxTimeoutSeconds,
    extra: {
      receiverAuthorizer: checksummed(terms.receiverAuthorizer),
      withdrawDelay: terms.withdrawDelay,
      name: terms.assetName,
      version: terms.assetVersion,
      assetTransferMethod: 'eip3009',
      minDeposit: least.toString(),
    },
  }
}
