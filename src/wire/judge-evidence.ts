import { maxUsdc, type Usdc } from './amount.ts'
import type { ChannelConfig } from './channel.ts'
import type { Curve } from './curve.ts'
import { openDigests, type Digests } from './digests.ts'
import type { Evidence, EvidenceReceipt } from './evidence.ts'
import type { Hex } from './hex.ts'
import { verifyOffer, type SignedOffer } from './offer.ts'
import { chargeFor } from './price.ts'
import { verifyReceipt, type Receipt } from './receipt.ts'
import { verifyRequest } from './request.ts'

/** The file does not hold what it says: changed, incomplete, or not by the party it names. */
export type Forgery =
  | 'channel_unknown'
  | 'receipt_forged'
  | 'receipt_repeated'
  | 'request_forged'
  | 'offer_unknown'
  | 'offer_forged'
  | 'offer_other_payee'

/** Genuine, but the seller's signatures contradict each other, or what it agreed to. */
export type Contradiction =
  | 'other_offer'
  | 'over_ceiling'
  | 'over_price'
  | 'cached_implausible'
  | 'cumulative_implausible'
  | 'cumulative_overlap'
  | 'two_receipts'

/** What is wrong with one receipt. */
export type EvidenceFault = Forgery | Contradiction

export interface ReceiptVerdict {
  kind: 'valid' | 'contradicts' | 'forged'
  channelId: Hex
  requestId: Hex
  faults: EvidenceFault[]
}

/** The genuine receipts of one channel together. Amounts in atomic USDC. */
export interface ChannelSum {
  channelId: Hex
  config: ChannelConfig
  receipts: number
  charged: Usdc
  /** The highest cumulative. */
  cumulative: Usdc
  /** Charged by receipts that are not in the file: the gaps between the cumulatives of those that are. */
  missing: Usdc
}

export interface EvidenceVerdict {
  /** One for each receipt of the file, in its order. */
  receipts: ReceiptVerdict[]
  channels: ChannelSum[]
}

const forgeries: ReadonlySet<EvidenceFault> = new Set<Forgery>([
  'channel_unknown',
  'receipt_forged',
  'receipt_repeated',
  'request_forged',
  'offer_unknown',
  'offer_forged',
  'offer_other_payee',
])
const nothing: Hex = `0x${'0'.repeat(64)}`

/** Judges every receipt by the file alone: whose word it is, and whether that word agrees with itself. Pure. */
export function judgeEvidence(evidence: Evidence, curve: Curve): EvidenceVerdict {
  const digests = openDigests(evidence)
  const channels = new Map(evidence.channels.map((config) => [digests.channelId(config), config]))
  const offers = new Map(evidence.offers.map((signed) => [signed.hash, signed]))
  const faults = evidence.receipts.map((row) => faultsOf(row, { digests, curve, channels, offers }))
  noteRepeated(evidence.receipts, faults)
  const sums: ChannelSum[] = []
  for (const [channelId, config] of channels) {
    const genuine = evidence.receipts.flatMap(({ signed: { receipt } }, at) =>
      receipt.channelId === channelId && !isForged(faults[at]!) ? [{ receipt, faults: faults[at]! }] : [],
    )
    sums.push({ channelId, config, ...sumUp(genuine) })
  }
  const receipts = evidence.receipts.map(({ signed: { receipt } }, at) => {
    const { channelId, requestId } = receipt
    return { kind: kindOf(faults[at]!), channelId, requestId, faults: faults[at]! }
  })
  return { receipts, channels: sums }
}

interface Knowledge {
  digests: Digests
  curve: Curve
  channels: ReadonlyMap<Hex, ChannelConfig>
  offers: ReadonlyMap<Hex, SignedOffer>
}

function faultsOf({ signed, request }: EvidenceReceipt, known: Knowledge): EvidenceFault[] {
  const { digests, curve, channels, offers } = known
  const { receipt } = signed
  const { channelId, requestId } = receipt
  const config = channels.get(channelId)
  if (config === undefined) return ['channel_unknown']
  const faults: EvidenceFault[] = []
  if (!verifyReceipt(digests, curve, signed, config.receiverAuthorizer)) faults.push('receipt_forged')
  const isAsked =
    request === null ||
    verifyRequest(
      digests,
      curve,
      { channelId, requestId, ...request },
      request.signature,
      config.payerAuthorizer,
    )
  if (!isAsked) faults.push('request_forged')
  if (receipt.cumulative < receipt.charged) faults.push('cumulative_implausible')
  if (request !== null && receipt.charged > request.ceiling) faults.push('over_ceiling')
  // A request that was never served names no offer and costs nothing.
  if (receipt.charged === 0n && receipt.offerHash === nothing) return faults
  if (request !== null && receipt.offerHash !== request.offerHash) faults.push('other_offer')
  if (receipt.cachedTokens > receipt.inputTokens) faults.push('cached_implausible')
  const offer = offers.get(receipt.offerHash)
  // Who names another offer than was asked for has contradicted already, whether or not that one is here.
  if (offer === undefined) return faults.includes('other_offer') ? faults : [...faults, 'offer_unknown']
  if (!verifyOffer(digests, curve, offer, config.receiverAuthorizer)) return [...faults, 'offer_forged']
  if (offer.offer.payTo !== config.receiver) faults.push('offer_other_payee')
  if (isOverPrice(receipt, offer, request?.ceiling ?? maxUsdc)) faults.push('over_price')
  return faults
}

// Less than the price is allowed: after a crash a seller charges only what its journal proves.
function isOverPrice(receipt: Receipt, { offer, details }: SignedOffer, ceiling: Usdc): boolean {
  const usage = { ...receipt, cachedTokens: Math.min(receipt.cachedTokens, receipt.inputTokens) }
  return receipt.charged > chargeFor(usage, offer, details.min, ceiling)
}

function noteRepeated(receipts: readonly EvidenceReceipt[], faults: EvidenceFault[][]): void {
  const first = new Map<string, Hex>()
  for (const [at, { signed }] of receipts.entries()) {
    const key = signed.receipt.channelId + signed.receipt.requestId
    const earlier = first.get(key)
    if (earlier !== undefined)
      faults[at]!.push(earlier === signed.signature ? 'receipt_repeated' : 'two_receipts')
    else if (!isForged(faults[at]!)) first.set(key, signed.signature)
  }
}

/**
 * Each receipt stands for the part of the channel's total that ends at its cumulative. Parts that overlap were charged
 * twice or counted once too few; between two parts there are receipts that the file does not have.
 */
function sumUp(
  rows: readonly { receipt: Receipt; faults: EvidenceFault[] }[],
): Omit<ChannelSum, 'channelId' | 'config'> {
  const start = ({ cumulative, charged }: Receipt) => cumulative - charged
  const order = (a: Receipt, b: Receipt) =>
    compare(start(a), start(b)) || compare(a.cumulative, b.cumulative) || a.completedAtSec - b.completedAtSec
  let end = 0n
  let missing = 0n
  let charged = 0n
  for (const { receipt, faults } of rows.toSorted((a, b) => order(a.receipt, b.receipt))) {
    charged += receipt.charged
    if (start(receipt) < end) faults.push('cumulative_overlap')
    else missing += start(receipt) - end
    if (receipt.cumulative > end) end = receipt.cumulative
  }
  return { receipts: rows.length, charged, cumulative: end, missing }
}

const compare = (a: bigint, b: bigint) => (a < b ? -1 : Number(a > b))

const isForged = (faults: readonly EvidenceFault[]) => faults.some((fault) => forgeries.has(fault))

function kindOf(faults: readonly EvidenceFault[]): ReceiptVerdict['kind'] {
  if (isForged(faults)) return 'forged'
  return faults.length > 0 ? 'contradicts' : 'valid'
}
