/** One seller as the index keeps it: its documents as text, to be repeated, and the few facts that queries look at. */
import { encodeBinding, type SignedBinding } from '../wire/peer-binding.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { encodeRecord, type SellerRecord } from '../wire/record.ts'
import type { RecordModel } from '../wire/seller-record.ts'
import { clockSkewSec } from '../wire/validate-record.ts'
import { measuredHealth, type Health } from './health.ts'

/** `left`: it said goodbye. It is listed no more, but its sequence still guards against old records. */
export type EntryState = 'live' | 'stale' | 'left'

export interface Entry {
  readonly peer: PeerId
  recordText: string
  recordSeq: number
  bindingText: string
  bindingSeq: number
  /** Unix milliseconds from which its record counts for nobody any more. */
  goneAtMs: number
  models: readonly RecordModel[]
  region: string | null
  /** Has a public URL. */
  direct: boolean
  /** Has addresses among the peers. */
  isPeer: boolean
  beatText: string | null
  beatSeq: number | null
  state: EntryState
  readonly firstSeenMs: number
  lastSeenMs: number
  heartbeats: number
  /** How long it was live before the present stretch, which began at `liveFromMs`. */
  wasLiveMs: number
  liveFromMs: number
  /** The index's version when its record changed last. */
  recordVersion: number
  /** The registry that the last change came from; null when the seller told it itself. */
  from: PeerId | null
  /** When this registry last asked the seller itself, or meant to; 0 when it never did. */
  askedMs: number
  /** What came of it; null when nothing did yet. */
  health: Health | null
}

/** What a record says, in the fields of an entry. */
export function recordFields(record: SellerRecord, binding: SignedBinding) {
  const { body, expSec, seq } = record
  return {
    recordText: encodeRecord(record),
    recordSeq: seq,
    bindingText: JSON.stringify(encodeBinding(binding)),
    bindingSeq: binding.seq,
    // As long as the validator would still accept it.
    goneAtMs: (expSec + clockSkewSec) * 1_000,
    models: body.models ?? [],
    region: body.region,
    direct: body.url !== null,
    isPeer: body.addrs.length > 0,
  }
}

/** How much of the time since it was first seen it was live, 0 to 1. */
export function uptimeOf(entry: Entry, nowMs: number): number {
  const known = nowMs - entry.firstSeenMs
  if (known <= 0) return 1
  const live = entry.wasLiveMs + (entry.state === 'live' ? nowMs - entry.liveFromMs : 0)
  return Math.min(1, Math.round((live / known) * 10_000) / 10_000)
}

/** A listing as JSON text: signed documents word for word, and what the registry `by` saw itself. */
export function listingText(entry: Entry, by: PeerId, nowMs: number): string {
  const { recordText, bindingText, beatText, lastSeenMs, state, firstSeenMs, heartbeats, health } = entry
  const measured = JSON.stringify({
    by,
    sinceMs: firstSeenMs,
    uptime: uptimeOf(entry, nowMs),
    heartbeats,
    ...(health !== null && measuredHealth(health)),
  })
  return (
    `{"record":${recordText},"binding":${bindingText},"heartbeat":${beatText ?? 'null'},` +
    `"lastSeenMs":${lastSeenMs},"state":"${state}","measured":${measured}}`
  )
}
