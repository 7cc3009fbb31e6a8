/** What a registry repeats about one seller: the signed documents as they were signed, and what it saw itself. */
import { hasCode } from '../base/errors.ts'
import { expectInteger, expectNumber, expectObject, present } from './fields.ts'
import { parseBinding, type SignedBinding } from './peer-binding.ts'
import { isPeerId, type PeerId } from './peer-id.ts'
import type { HeartbeatRecord, SellerRecord } from './record.ts'
import { heardByMs, validateRecord } from './validate-record.ts'

/** A heartbeat this young makes a seller live; older, it is stale until its record expires. In milliseconds. */
export const liveMs = 90_000

const longestRttMs = 600_000

/** `live`: heard of within 90 s. `stale`: its record is valid, but it is silent. */
export type ListingState = 'live' | 'stale'

/** Seen by the registry, declared by nobody: hearsay of whoever signed none of it. */
export interface Measured {
  /** The registry that says so. */
  by?: PeerId
  /** Unix milliseconds since when this registry knows the seller. */
  sinceMs: number
  /** Share of the time since then in which it was live, 0 to 1. */
  uptime: number
  /** Heartbeats accepted since then. */
  heartbeats: number
  /** Unix milliseconds when the registry last asked the seller whether it is there; absent until it did. */
  atMs?: number
  /** Share of such questions that were answered, 0 to 1, of about the last day: what is 12 hours old counts half. */
  success?: number
  /** Which way the last answer came: over its URL, or from peer to peer; absent when the last one was not answered. */
  via?: 'url' | 'p2p'
  /** Round trip from the registry in milliseconds, smoothed; absent when the last question was not answered. */
  rttMs?: number
}

/** One seller as a registry lists it. Record, binding and heartbeat are signed; all else is the registry's word. */
export interface SellerListing {
  record: SellerRecord
  /** Parsed and not verified: who pays by it verifies it. */
  binding: SignedBinding
  /** Null when there was none, or none that is still valid. */
  heartbeat: HeartbeatRecord | null
  /** Unix milliseconds; never in the future, and no more than two minutes after what the seller signed last. */
  lastSeenMs: number
  state: ListingState
  measured: Measured
}

/** What the reader of a listing knows. */
export interface ListingRules {
  nowMs: number
  /** How far clocks may differ, in seconds; 120 unless told. */
  skewSec?: number
}

/** Parses one listing and judges its record. Null for whatever is not to be believed; never throws. */
export function parseListing(input: unknown, { nowMs, skewSec }: ListingRules): SellerListing | null {
  try {
    const listing = expectObject(input, 'listing')
    const rules = {
      nowSec: Math.floor(nowMs / 1_000),
      lastSeq: null,
      ...(skewSec !== undefined && { skewSec }),
    }
    const record = validateRecord(listing.record, { ...rules, type: 'seller' })
    if (!record.ok) return null
    const { peer, body } = record.record
    const binding = parseBinding(listing.binding)
    if (binding.peer !== peer || binding.payTo !== body.payTo) return null
    const heartbeat =
      present(listing.heartbeat) === undefined
        ? null
        : validateRecord(listing.heartbeat, { ...rules, type: 'heartbeat', peer })
    const beatMs = heartbeat?.ok ? heartbeat.record.seq : spokenAtMs(listing.heartbeat, peer)
    const spokeMs = Math.max(record.record.seq, beatMs)
    // Heard of later than it spoke, as clocks differ: that is how far a registry's word goes.
    const latestMs = Math.min(nowMs, heardByMs(spokeMs, skewSec))
    const lastSeenMs = Math.min(expectInteger(listing.lastSeenMs, 'lastSeenMs'), latestMs)
    return {
      record: record.record,
      binding,
      // An expired heartbeat is what a silent seller has; the rest still stands.
      heartbeat: heartbeat?.ok ? heartbeat.record : null,
      lastSeenMs,
      state: nowMs - lastSeenMs < liveMs ? 'live' : 'stale',
      measured: parseMeasured(listing.measured, nowMs),
    }
  } catch (thrown) {
    if (hasCode(thrown, 'invalid_message')) return null
    throw thrown
  }
}

/** When the seller signed its heartbeat, be it expired by now; 0 when it signed none. */
function spokenAtMs(input: unknown, peer: PeerId): number {
  const seq = typeof input === 'object' && input !== null && 'seq' in input ? input.seq : null
  if (typeof seq !== 'number') return 0
  const verdict = validateRecord(input, {
    nowSec: Math.floor(seq / 1_000),
    lastSeq: null,
    type: 'heartbeat',
    peer,
  })
  return verdict.ok ? verdict.record.seq : 0
}

function parseMeasured(input: unknown, nowMs: number): Measured {
  const { by, sinceMs, uptime, heartbeats, atMs, success, via, rttMs } = expectObject(input, 'measured')
  return {
    ...(isPeerId(by) && { by }),
    sinceMs: expectInteger(sinceMs, 'sinceMs'),
    uptime: expectNumber(uptime, 'uptime', 1),
    heartbeats: expectInteger(heartbeats, 'heartbeats'),
    // Not worth losing a seller for: what makes no sense was not measured.
    ...(isWithin(atMs, nowMs) && { atMs }),
    ...(isWithin(success, 1) && { success }),
    ...((via === 'url' || via === 'p2p') && { via }),
    ...(isWithin(rttMs, longestRttMs) && { rttMs }),
  }
}

function isWithin(input: unknown, most: number): input is number {
  return typeof input === 'number' && input >= 0 && input <= most
}
