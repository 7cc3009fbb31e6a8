import { parseAmount, type Usdc } from './amount.ts'
import { expectArray, expectInteger, expectObject, expectText, refuseMessage } from './fields.ts'
import { asAddress, checksummed, type Address } from './hex.ts'
import { encodeSignedOffer, parseSignedOffer, type SignedOffer } from './offer.ts'

/** Reply of `GET /openseed/v1/offer`: all that a buyer needs to pay in one round trip. */
export interface SellerTerms {
  /** CAIP-2. */
  network: string
  escrow: Address
  collector: Address
  asset: Address
  assetName: string
  assetVersion: string
  payTo: Address
  receiverAuthorizer: Address
  /** Seconds. */
  withdrawDelay: number
  minDeposit: Usdc
  /** Always 600. */
  maxTimeoutSeconds: number
  maxBodyBytes: number
  offers: SignedOffer[]
}

const mostOffers = 1024

/** Parses the JSON form; offers are verified by `verifyOffer`. Throws `invalid_message`. */
export function parseSellerTerms(input: unknown): SellerTerms {
  const fields = expectObject(input, 'terms')
  const network = expectText(fields['network'], 'network', 64)
  if (!/^eip155:[1-9][0-9]{0,15}$/.test(network))
    return refuseMessage('network', 'a CAIP-2 name of an EVM chain')
  return {
    network,
    escrow: asAddress(fields['escrow'], 'escrow'),
    collector: asAddress(fields['collector'], 'collector'),
    asset: asAddress(fields['asset'], 'asset'),
    assetName: expectText(fields['assetName'], 'assetName', 256),
    assetVersion: expectText(fields['assetVersion'], 'assetVersion', 256),
    payTo: asAddress(fields['payTo'], 'payTo'),
    receiverAuthorizer: asAddress(fields['receiverAuthorizer'], 'receiverAuthorizer'),
    withdrawDelay: expectInteger(fields['withdrawDelay'], 'withdrawDelay'),
    minDeposit: parseAmount(fields['minDeposit'], 'minDeposit'),
    maxTimeoutSeconds: expectInteger(fields['maxTimeoutSeconds'], 'maxTimeoutSeconds'),
    maxBodyBytes: expectInteger(fields['maxBodyBytes'], 'maxBodyBytes'),
    offers: expectArray(fields['offers'], 'offers', mostOffers).map(parseSignedOffer),
  }
}

/** The JSON form of the terms. */
export function encodeSellerTerms(terms: SellerTerms): Record<string, unknown> {
  return {
    network: terms.network,
    escrow: checksummed(terms.escrow),
    collector: checksummed(terms.collector),
    asset: checksummed(terms.asset),
    assetName: terms.assetName,
    assetVersion: terms.assetVersion,
    payTo: checksummed(terms.payTo),
    receiverAuthorizer: checksummed(terms.receiverAuthorizer),
    withdrawDelay: terms.withdrawDelay,
    minDeposit: terms.minDeposit.toString(),
    maxTimeoutSeconds: terms.maxTimeoutSeconds,
    maxBodyBytes: terms.maxBodyBytes,
    offers: terms.offers.map(encodeSignedOffer),
  }
}
