/** The envelope of everything nodes publish: signed by the node key, short-lived, with a sequence that only rises. */
import { canonicalJson, type JsonValue } from './canonical-json.ts'
import { expectInteger, expectObject, expectTimeSec, refuseMessage } from './fields.ts'
import { asHex, bytesToHex, type Hex } from './hex.ts'
import type { NodeKey } from './node-key.ts'
import { asPeerId, type PeerId } from './peer-id.ts'
import {
  encodeHeartbeatBody,
  encodeIndexBody,
  encodeSellerBody,
  parseHeartbeatBody,
  parseIndexBody,
  parseSellerBody,
  type HeartbeatBody,
  type IndexBody,
  type SellerBody,
} from './seller-record.ts'

/** The body of each type of record. */
export interface RecordBodies {
  seller: SellerBody
  heartbeat: HeartbeatBody
  index: IndexBody
}

/** Types of records. */
export type RecordType = keyof RecordBodies

/** A record as published. Built by `signRecord` and `parseRecord` only: `text` and the fields must agree. */
export interface SignedRecord<B, T extends RecordType = RecordType> {
  v: 1
  type: T
  /** Who signed it. */
  peer: PeerId
  /** Unix milliseconds when it was signed; strictly rising per peer and type. */
  seq: number
  /** Unix seconds. */
  expSec: number
  body: B
  /** Ed25519, 64 bytes. */
  signature: Hex
  /** The canonical JSON that is signed, with members of the body that this version does not know. */
  text: string
}

export type SellerRecord = SignedRecord<SellerBody, 'seller'>
export type HeartbeatRecord = SignedRecord<HeartbeatBody, 'heartbeat'>
export type IndexRecord = SignedRecord<IndexBody, 'index'>
/** A record of any type. */
export type AnyRecord = SellerRecord | HeartbeatRecord | IndexRecord
/** The record of one type, or of one of several. */
export type RecordOf<T extends RecordType> = T extends RecordType ? SignedRecord<RecordBodies[T], T> : never

/** The most bytes that may be signed: prefix and canonical JSON. */
export const mostSignedBytes = 2_048
/** The most bytes of a record as sent: what is signed, and the signature in hex. */
export const mostRecordBytes = mostSignedBytes + 160

const encoders: { [T in RecordType]: (body: RecordBodies[T]) => JsonValue } = {
  seller: encodeSellerBody,
  heartbeat: encodeHeartbeatBody,
  index: encodeIndexBody,
}
const parsers: { [T in RecordType]: (input: unknown) => RecordBodies[T] } = {
  seller: parseSellerBody,
  heartbeat: parseHeartbeatBody,
  index: parseIndexBody,
}

/** What a node wants to publish. */
export interface RecordDraft<T extends RecordType> {
  type: T
  /** Unix milliseconds; `nextSeq` gives one. */
  seq: number
  /** Unix seconds. */
  expSec: number
  body: RecordBodies[T]
}

/** Signs a record. Throws `invalid_message` when a field is impossible or more than 2,048 bytes would be signed. */
export function signRecord<T extends RecordType>(key: NodeKey, draft: RecordDraft<T>): RecordOf<T> {
  const { type, seq, expSec } = draft
  const body = encoders[type](draft.body)
  const text = canonicalJson({ v: 1, type, peer: key.peerId, seq, exp: expSec, body })
  const bytes = signedBytes(type, text)
  if (bytes.length > mostSignedBytes)
    return refuseMessage('A record', `at most ${mostSignedBytes} bytes; this one has ${bytes.length}`)
  // Parsed as every reader will, so that nothing is published that they refuse.
  return parseRecord({
    ...(JSON.parse(text) as object),
    signature: bytesToHex(key.sign(bytes)),
  }) as RecordOf<T>
}

/** The next sequence number: the clock, or one above the last where the clock went back. */
export function nextSeq(last: number | null, nowMs: number): number {
  return last === null ? nowMs : Math.max(nowMs, last + 1)
}

/** The JSON text of a record: what was signed and the signature, with nothing lost. */
export function encodeRecord(record: AnyRecord): string {
  return `${record.text.slice(0, -1)},"signature":"${record.signature}"}`
}

/** Reads a parsed JSON value as a record: structure only, neither size nor time nor signature. Throws `invalid_message`. */
export function parseRecord(input: unknown): AnyRecord {
  const { v, type, peer, seq, exp, body, signature } = expectObject(input, 'record')
  if (v !== 1) return refuseMessage('v', '1')
  if (!isRecordType(type)) return refuseMessage('type', 'a type of record')
  const common = {
    v,
    peer: asPeerId(peer),
    seq: expectInteger(seq, 'seq'),
    expSec: expectTimeSec(exp, 'exp'),
    signature: asSignature(signature),
    text: canonicalJson({ v, type, peer, seq, exp, body } as JsonValue),
  }
  return { ...common, type, body: parsers[type](body) } as AnyRecord
}

/** The bytes that a record's signature covers. */
export function recordBytes(record: AnyRecord): Uint8Array {
  return signedBytes(record.type, record.text)
}

// The prefix keeps a signature over one kind of document from being shown as one over another.
function signedBytes(type: RecordType, text: string): Uint8Array {
  return Buffer.from(`openseed/${type}/1\n${text}`)
}

function isRecordType(input: unknown): input is RecordType {
  return typeof input === 'string' && Object.hasOwn(parsers, input)
}

function asSignature(input: unknown): Hex {
  const signature = asHex(input, 'signature')
  if (signature.length !== 130) return refuseMessage('signature', '64 bytes')
  return signature
}
