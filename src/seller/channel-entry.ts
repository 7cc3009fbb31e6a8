/** One channel as the seller's memory holds it, and its way from and to its row. */
import type { SellerChannelRow, SellerRequestRow } from '../store/rows.ts'
import type { Usdc } from '../wire/amount.ts'
import type { ChannelConfig } from '../wire/channel.ts'
import type { Hex } from '../wire/hex.ts'
import type { Receipt, SignedReceipt } from '../wire/receipt.ts'
import { emptyLedger, type ChainState, type SellerLedger } from './ledger.ts'

/** What the chain says of a channel. */
export interface ChainFacts extends ChainState {
  /** rises with every reading: what was asked for earlier must not replace what was asked for later */
  reading: number
  withdrawInitiatedAtSec: number
  refundNonce: bigint
}

/** A closed request that may still be asked about or repeated. */
export interface ClosedRequest {
  bodyHash: Hex
  streamed: boolean
  receipt: SignedReceipt
  forgetAtSec: number
  /** resolves once it is on disk; rejects when it is not, and the request is open again */
  stored: Promise<unknown>
}

export interface Entry {
  readonly id: Hex
  readonly config: ChannelConfig
  ledger: SellerLedger
  /** by the payerAuthorizer, over `ledger.signed`; null when the chain alone proves it */
  signature: Hex | null
  withdrawInitiatedAtSec: number
  refundNonce: bigint
  rev: number
  /** a refund is being executed now; `ledger.refunding` without it is one whose outcome is not known yet */
  refundRunning: boolean
  /** the newest reading of the chain that was taken over */
  chainReading: number
  /** what that reading says is claimed; unlike the ledger's total it falls when a reorg undoes a claim */
  claimedOnChain: Usdc
  readonly running: Map<Hex, SellerRequestRow>
  readonly closed: Map<Hex, ClosedRequest>
  /** set while the channel is read back after a failed commit */
  reloading: Promise<void> | null
  /** when the oldest charge that no claim covers was made */
  unclaimedSinceMs: number | null
}

/** What a finished request delivered. */
export type Delivered = Pick<Receipt, 'responseHash' | 'inputTokens' | 'cachedTokens' | 'outputTokens'>

export const nothingDelivered: Delivered = {
  responseHash: `0x${'0'.repeat(64)}`,
  inputTokens: 0,
  cachedTokens: 0,
  outputTokens: 0,
}

/** A channel that the chain knows and the store does not. */
export function newEntry(id: Hex, config: ChannelConfig, chain: ChainFacts): Entry {
  return {
    id,
    config,
    ledger: emptyLedger(),
    signature: null,
    withdrawInitiatedAtSec: chain.withdrawInitiatedAtSec,
    refundNonce: chain.refundNonce,
    rev: 0,
    refundRunning: false,
    chainReading: chain.reading,
    claimedOnChain: chain.totalClaimed,
    running: new Map(),
    closed: new Map(),
    reloading: null,
    unclaimedSinceMs: null,
  }
}

/** The row of an entry as it stands. */
export function toRow(entry: Entry): SellerChannelRow {
  const { id, config, ledger, signature, withdrawInitiatedAtSec, refundNonce, rev } = entry
  const { balance, totalClaimed, charged, signed, told, refunding, withdrawing } = ledger
  const amounts = { balance, totalClaimed, charged, signed, told, refunding, withdrawing }
  return { id, config, ...amounts, signature, withdrawInitiatedAtSec, refundNonce, rev }
}

/** An entry as the store has it, open requests included. */
export function fromRow(row: SellerChannelRow): Entry {
  const open = row.openRequests ?? []
  return {
    id: row.id,
    config: row.config,
    ledger: {
      ...emptyLedger(),
      balance: row.balance,
      totalClaimed: row.totalClaimed,
      charged: row.charged,
      signed: row.signed,
      told: row.told,
      refunding: row.refunding,
      withdrawing: row.withdrawing,
      open: new Map(open.map((request) => [request.id, { ceiling: request.ceiling, meter: request.meter }])),
    },
    signature: row.signature,
    withdrawInitiatedAtSec: row.withdrawInitiatedAtSec,
    refundNonce: row.refundNonce,
    rev: row.rev,
    refundRunning: false,
    chainReading: 0,
    claimedOnChain: row.totalClaimed,
    running: new Map(open.map((request) => [request.id, request])),
    closed: new Map(),
    reloading: null,
    unclaimedSinceMs: row.charged > row.totalClaimed ? 0 : null,
  }
}

/** The row of an id that was asked about and never seen, closed at 0. */
export function unknownRequest(entry: Entry, id: Hex, nowMs: number): SellerRequestRow {
  return {
    channelId: entry.id,
    id,
    stock: false,
    ceiling: 0n,
    meter: 0n,
    bodyHash: nothingDelivered.responseHash,
    offerHash: nothingDelivered.responseHash,
    admitBySec: 0,
    signature: null,
    openedAtMs: nowMs,
    state: 'closed',
    charged: 0n,
    cumulative: entry.ledger.charged,
    receipt: null,
    streamed: false,
    closedAtMs: nowMs,
  }
}
