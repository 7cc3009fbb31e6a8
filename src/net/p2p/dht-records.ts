/** What the DHT holds: documents under their author's key. The same rules for who stores and for who reads. */
import { canonicalJson, type JsonValue } from '../../wire/canonical-json.ts'
import {
  encodeBinding,
  isCountersigned,
  mostBindingSec,
  parseBinding,
  type SignedBinding,
} from '../../wire/peer-binding.ts'
import { peerIdBytes, type PeerId } from '../../wire/peer-id.ts'
import { mostRecordBytes, type IndexRecord, type SellerRecord } from '../../wire/record.ts'
import { clockSkewSec, validateRecord, type RecordRefusal } from '../../wire/validate-record.ts'

/** What each namespace holds. */
export interface DhtDocuments {
  seller: SellerRecord
  index: IndexRecord
  bind: SignedBinding
}

export type DhtKind = keyof DhtDocuments
export type DhtDocument = DhtDocuments[DhtKind]

/**
 * Why a value is refused. `rollback`: a newer one was seen; `too_often`: another one was stored a moment ago; `no_room`:
 * the holder is full of what is nearer to it.
 */
export type DhtRefusal = RecordRefusal | 'foreign_key' | 'too_often' | 'no_room'

export type DhtVerdict =
  | { ok: true; kind: DhtKind; peer: PeerId; seq: number; document: DhtDocument }
  | { ok: false; reason: DhtRefusal }

export function dhtKey(kind: DhtKind, peer: PeerId): Uint8Array {
  return Buffer.from(`/openseed/${kind}/${peer}`)
}

/** Judges a value under its key. Pure and total, but for the memory of newer ones, which is the caller's. */
export function judgeValue(key: Uint8Array, value: Uint8Array, nowMs: number): DhtVerdict {
  const place = readKey(key)
  if (place === null) return { ok: false, reason: 'foreign_key' }
  if (value.length > mostRecordBytes) return { ok: false, reason: 'oversize' }
  if (place.kind === 'bind') return judgeBinding(value, place.peer, nowMs)
  const nowSec = Math.floor(nowMs / 1000)
  const verdict = validateRecord(value, { nowSec, lastSeq: null, type: place.kind, peer: place.peer })
  if (!verdict.ok) return verdict
  return { ok: true, ...place, seq: verdict.record.seq, document: verdict.record }
}

/** A binding as the DHT holds it: signed by its node as well, or any wallet could put its own in a node's place. */
export function encodeBindingValue(binding: SignedBinding): Uint8Array {
  return Buffer.from(canonicalJson(encodeBinding(binding) as JsonValue))
}

// Whether the wallet signed it is for the reader to ask: a holder knows no chain.
function judgeBinding(value: Uint8Array, peer: PeerId, nowMs: number): DhtVerdict {
  const binding = readBinding(value)
  if (binding === null) return { ok: false, reason: 'malformed' }
  const nowSec = nowMs / 1000
  if (binding.peer !== peer) return { ok: false, reason: 'wrong_peer' }
  if (nowSec >= binding.notAfterSec + clockSkewSec) return { ok: false, reason: 'expired' }
  if (binding.notAfterSec - binding.notBeforeSec > mostBindingSec)
    return { ok: false, reason: 'too_long_lived' }
  const latestSec = nowSec + clockSkewSec
  if (binding.notBeforeSec > latestSec || binding.seq > latestSec * 1000)
    return { ok: false, reason: 'future' }
  if (!isCountersigned(binding)) return { ok: false, reason: 'forged' }
  return { ok: true, kind: 'bind', peer, seq: binding.seq, document: binding }
}

function readBinding(value: Uint8Array): SignedBinding | null {
  try {
    return parseBinding(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(value)))
  } catch {
    return null
  }
}

function readKey(key: Uint8Array): { kind: DhtKind; peer: PeerId } | null {
  const [root, protocol, kind, peer, ...more] = Buffer.from(key).toString('utf8').split('/')
  if (root !== '' || protocol !== 'openseed' || more.length > 0) return null
  if (kind !== 'seller' && kind !== 'index' && kind !== 'bind') return null
  return peer !== undefined && peerIdBytes(peer) !== null ? { kind, peer } : null
}
