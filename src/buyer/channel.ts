/** One channel in the buyer's memory, and its way to and from the stored row. */
import type { BuyerChannelRow, BuyerRequestRow } from '../store/rows.ts'
import type { Usdc } from '../wire/amount.ts'
import type { ChannelConfig } from '../wire/channel.ts'
import { asHex32, type Hex } from '../wire/hex.ts'
import type { SignedOffer } from '../wire/offer.ts'
import type { SignedReceipt } from '../wire/receipt.ts'
import type { RequestBounds } from './check.ts'
import { loseRequest, type BuyerLedger } from './ledger.ts'
import type { PendingDeposit } from './pending-deposit.ts'
import { parsePendingDeposit, encodePendingDeposit } from './pending-deposit.ts'

/** What is known of a request without a final; `terms` when its offer is known. */
export interface OpenRequest {
  row: BuyerRequestRow
  terms: { signedOffer: SignedOffer; bounds: RequestBounds } | null
  /** false once its reply ended without a final */
  running: boolean
}

export interface Channel {
  readonly id: Hex
  readonly config: ChannelConfig
  readonly index: number
  /** where its seller was last paid, or is announced now; stored with whatever is stored next */
  sellerUrl: string
  ledger: BuyerLedger
  /** by the payerAuthorizer over `ledger.signed`; null while nothing was signed, or when the chain alone proves it */
  signature: Hex | null
  /** signed and stored, outcome unknown */
  deposit: PendingDeposit | null
  /** asked back, not yet seen on the chain */
  refunding: Usdc
  state: BuyerChannelRow['state']
  /** when it was noticed that the store knows less than was signed; null when it knows all */
  lostAtSec: number | null
  /** the receipt with the highest cumulative: proof for a seller that was restored from a backup */
  proof: SignedReceipt | null
  rev: number
  readonly requests: Map<Hex, OpenRequest>
  /** in this run, the seller's sum was once exactly ours with nothing open: neither has forgotten anything */
  agreed: boolean
  /** set by a failed write: what is here may not be what is on disk */
  stale: boolean
  /** one deposit at a time */
  depositing: boolean
  resyncing: Promise<void> | null
}

/** Channels to sellers that speak x402 alone count from here: their salts are a space of their own. */
export const firstLaneIndex = 2 ** 52

/** True for such a channel: it has one request at a time, and nobody can be asked what became of one. */
export const isLane = ({ index }: Pick<Channel, 'index'>): boolean => index >= firstLaneIndex

/** What is remembered of a channel beside its row. */
export interface ChannelNotes {
  lostAtSec: number | null
  proof: SignedReceipt | null
}

/** What a channel has beside its row when it is made. */
export const newState = (): Pick<Channel, 'requests' | 'agreed' | 'stale' | 'depositing' | 'resyncing'> => ({
  requests: new Map(),
  agreed: false,
  stale: false,
  depositing: false,
  resyncing: null,
})

export function toRow(channel: Channel): BuyerChannelRow {
  const { ledger, deposit } = channel
  return {
    id: channel.id,
    sellerUrl: channel.sellerUrl,
    config: channel.config,
    index: channel.index,
    balance: ledger.balance,
    charged: ledger.charged,
    signed: ledger.signed,
    signature: channel.signature,
    deposit: deposit === null ? null : encodePendingDeposit(deposit),
    refunding: channel.refunding,
    state: channel.state,
    rev: channel.rev,
  }
}

export function fromRow(row: BuyerChannelRow, notes: ChannelNotes): Channel {
  const channel: Channel = {
    ...mutableParts(row, notes),
    id: row.id,
    config: row.config,
    index: row.index,
    sellerUrl: row.sellerUrl,
    ...newState(),
  }
  for (const request of row.openRequests ?? []) {
    channel.requests.set(request.id, { row: request, terms: null, running: false })
    loseRequest(channel.ledger, request.id)
  }
  return channel
}

/** Makes the channel what the store says, except that what runs goes on running. Returns what is not open there. */
export function refresh(channel: Channel, row: BuyerChannelRow, notes: ChannelNotes): OpenRequest[] {
  Object.assign(channel, mutableParts(row, notes))
  const stored = new Map((row.openRequests ?? []).map((request) => [request.id, request]))
  const gone = [...channel.requests.values()].filter((request) => !stored.has(request.row.id))
  for (const request of gone) channel.requests.delete(request.row.id)
  for (const [id, request] of stored) {
    const known = channel.requests.get(id)
    if (known === undefined) channel.requests.set(id, { row: request, terms: null, running: false })
    if (known?.running !== true) loseRequest(channel.ledger, id)
  }
  channel.agreed = false
  channel.stale = false
  return gone
}

function mutableParts(row: BuyerChannelRow, { lostAtSec, proof }: ChannelNotes) {
  const proven = proof === null ? row.charged : proof.receipt.cumulative
  const ledger: BuyerLedger = {
    balance: row.balance,
    charged: row.charged,
    signed: row.signed,
    proven: proven > row.charged ? proven : row.charged,
    open: new Map(
      (row.openRequests ?? []).map(({ id, ceiling, admitBySec }) => [
        asHex32(id),
        { ceiling, admitBySec, lost: false },
      ]),
    ),
  }
  return {
    ledger,
    signature: row.signature,
    deposit: row.deposit === null ? null : parsePendingDeposit(row.deposit),
    refunding: row.refunding,
    state: row.state,
    lostAtSec,
    proof,
    rev: row.rev,
  }
}
