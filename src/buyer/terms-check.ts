/** May a seller's terms be paid under? Pure: what it says must fit our network, and its offers must be signed. */
import type { Usdc } from '../wire/amount.ts'
import { batchSettlement } from '../wire/batch-settlement.ts'
import { maxWithdrawDelaySec, minWithdrawDelaySec } from '../wire/channel.ts'
import type { Curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import { parseTermsExtension } from '../wire/extension.ts'
import type { Address, Hex } from '../wire/hex.ts'
import type { NetworkTerms } from '../wire/network.ts'
import { verifyOffer, type SignedOffer } from '../wire/offer.ts'
import type { SellerTerms } from '../wire/terms.ts'
import type { PaymentRequired } from '../wire/x402.ts'

export interface TermsRules {
  network: NetworkTerms
  digests: Digests
  curve: Curve
}

/** Who must be paid at a seller's address, and who must sign there. */
export interface SellerIdentity {
  payTo: Address
  authorizer: Address
}

type TermsVerdict =
  /** `terms` has only the offers that can be trusted; `dropped` counts the others. */
  { kind: 'accept'; terms: SellerTerms; dropped: number } | { kind: 'refuse'; reason: string }

/** Time is not judged: an offer that expired explains old receipts. */
export function judgeTerms(terms: SellerTerms, { network, digests, curve }: TermsRules): TermsVerdict {
  const expected: [name: string, theirs: string, ours: string][] = [
    ['network', terms.network, network.caip2],
    ['escrow', terms.escrow, network.escrow],
    ['collector', terms.collector, network.collector],
    ['asset', terms.asset, network.asset],
    ['assetName', terms.assetName, network.assetName],
    ['assetVersion', terms.assetVersion, network.assetVersion],
  ]
  const other = expected.find(([, theirs, ours]) => theirs !== ours)
  if (other) return { kind: 'refuse', reason: `its ${other[0]} is ${other[1]}, ours is ${other[2]}` }
  if (isZero(terms.payTo)) return { kind: 'refuse', reason: 'its payTo is zero' }
  if (isZero(terms.receiverAuthorizer)) return { kind: 'refuse', reason: 'its receiverAuthorizer is zero' }
  if (terms.withdrawDelay < minWithdrawDelaySec || terms.withdrawDelay > maxWithdrawDelaySec) {
    return { kind: 'refuse', reason: `its withdrawDelay of ${terms.withdrawDelay} s is out of range` }
  }
  const isTrusted = (signed: SignedOffer) =>
    signed.offer.payTo === terms.payTo && verifyOffer(digests, curve, signed, terms.receiverAuthorizer)
  const offers = terms.offers.filter(isTrusted)
  const dropped = terms.offers.length - offers.length
  if (offers.length === 0 && dropped > 0)
    return { kind: 'refuse', reason: 'none of its offers is signed by it' }
  return { kind: 'accept', terms: { ...terms, offers }, dropped }
}

/** Several nodes may claim one address; whoever answers there must be one of them. */
export function isAnnounced(terms: SellerTerms, identities: readonly SellerIdentity[]): boolean {
  return identities.some(
    ({ payTo, authorizer }) => payTo === terms.payTo && authorizer === terms.receiverAuthorizer,
  )
}

const identity = ['payTo', 'receiverAuthorizer', 'withdrawDelay', 'asset'] as const

/** What may not change while money is on its way: null, or the first field that did. */
export function changedIdentity(before: SellerTerms, after: SellerTerms): (typeof identity)[number] | null {
  return identity.find((name) => before[name] !== after[name]) ?? null
}

/** A payment was refused under other terms than it was made for: null, or which of them is another. */
export function changedPrice(
  asked: { offerHash: Hex; ceiling: Usdc },
  { accepts, extensions }: PaymentRequired,
): 'offer' | 'amount' | null {
  const named = parseTermsExtension(extensions)
  if (named !== null && named.offerHash !== asked.offerHash) return 'offer'
  const entry = accepts.find(({ scheme }) => scheme === batchSettlement)
  return entry !== undefined && entry.amount !== asked.ceiling.toString() ? 'amount' : null
}

const isZero = (address: string) => /^0x0+$/.test(address)
