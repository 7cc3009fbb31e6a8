/** The one judge of records: registries, DHT nodes and buyers all ask it, so that none accepts what another refuses. */
import { hasCode } from '../base/errors.ts'
import { hexToBytes } from './hex.ts'
import { verifyBy } from './node-key.ts'
import type { PeerId } from './peer-id.ts'
import { mostRecordBytes, mostSignedBytes, parseRecord, recordBytes } from './record.ts'
import type { AnyRecord, RecordOf, RecordType } from './record.ts'

/** Why a record is refused. `replayed`: the very sequence that is known; `rollback`: a lower one. */
export type RecordRefusal =
  | 'malformed'
  | 'unsupported'
  | 'oversize'
  | 'wrong_type'
  | 'wrong_peer'
  | 'expired'
  | 'future'
  | 'too_long_lived'
  | 'replayed'
  | 'rollback'
  | 'forged'

/** What the reader knows and demands. */
export interface RecordRules<T extends RecordType = RecordType> {
  nowSec: number
  /** How far clocks may differ, in seconds; 120 unless told. */
  skewSec?: number
  /** The highest `seq` of this peer and type that was accepted; null when none was. */
  lastSeq: number | null
  /** The longest life of each type in seconds; `mostTtlSec` unless told. */
  maxTtlSec?: Readonly<Record<RecordType, number>>
  /** The only type that is acceptable here. */
  type?: T
  /** The only author that is acceptable here. */
  peer?: PeerId
}

export type RecordVerdict<T extends RecordType = RecordType> =
  | { ok: true; record: RecordOf<T> }
  | { ok: false; reason: RecordRefusal }

/** How far clocks may differ, in seconds. */
export const clockSkewSec = 120

/**
 * The latest time at which a signer was heard, by the sequence (its own milliseconds) of what it signed. Anybody may
 * bring that again at any later time.
 */
export function heardByMs(seq: number, skewSec = clockSkewSec): number {
  return seq + skewSec * 1_000
}

/** The longest life of each type of record, in seconds. */
export const mostTtlSec: Readonly<Record<RecordType, number>> = { seller: 1_200, heartbeat: 90, index: 3_600 }

/** Judges a record given as bytes, as JSON text or as a parsed value. Pure and total: anything else is refused, nothing throws. */
export function validateRecord<T extends RecordType = RecordType>(
  input: unknown,
  rules: RecordRules<T>,
): RecordVerdict<T> {
  const json = readJson(input)
  if (!json.ok) return json
  const read = readRecord(json.value)
  if (!read.ok) return read
  const { record } = read
  // The signature comes last: it costs most, and a flood of garbage is the ordinary case.
  const reason = judgeClaims(record, rules) ?? judgeSignature(record)
  if (reason !== null) return refuse(reason)
  return { ok: true, record: record as RecordOf<T> }
}

type Refused = { ok: false; reason: RecordRefusal }

function readJson(input: unknown): { ok: true; value: unknown } | Refused {
  if (!(input instanceof Uint8Array) && typeof input !== 'string') return { ok: true, value: input }
  if (input.length > mostRecordBytes) return refuse('oversize')
  try {
    const text = typeof input === 'string' ? input : new TextDecoder('utf-8', { fatal: true }).decode(input)
    return { ok: true, value: JSON.parse(text) }
  } catch {
    return refuse('malformed')
  }
}

function readRecord(value: unknown): { ok: true; record: AnyRecord } | Refused {
  if (isNewer(value)) return refuse('unsupported')
  try {
    return { ok: true, record: parseRecord(value) }
  } catch (thrown) {
    if (hasCode(thrown, 'invalid_message')) return refuse('malformed')
    throw thrown
  }
}

function isNewer(value: unknown): boolean {
  const v = typeof value === 'object' && value !== null && 'v' in value ? value.v : undefined
  return Number.isSafeInteger(v) && (v as number) > 1
}

function judgeClaims(record: AnyRecord, rules: RecordRules): RecordRefusal | null {
  const { nowSec, skewSec = clockSkewSec, lastSeq, maxTtlSec = mostTtlSec } = rules
  if (rules.type !== undefined && record.type !== rules.type) return 'wrong_type'
  if (rules.peer !== undefined && record.peer !== rules.peer) return 'wrong_peer'
  const signedAtSec = Math.ceil(record.seq / 1_000)
  if (nowSec >= record.expSec + skewSec || record.expSec < signedAtSec) return 'expired'
  if (signedAtSec > nowSec + skewSec) return 'future'
  // Measured on the author's own clock, so that a clock behind ours does not shorten a life nor one ahead lengthen it.
  if (record.expSec - signedAtSec > maxTtlSec[record.type]) return 'too_long_lived'
  if (lastSeq === null || record.seq > lastSeq) return null
  return record.seq === lastSeq ? 'replayed' : 'rollback'
}

function judgeSignature(record: AnyRecord): RecordRefusal | null {
  const bytes = recordBytes(record)
  if (bytes.length > mostSignedBytes) return 'oversize'
  return verifyBy(record.peer, bytes, hexToBytes(record.signature)) ? null : 'forged'
}

function refuse(reason: RecordRefusal): Refused {
  return { ok: false, reason }
}
