/** News of sellers as registries pass them on: a batch signed by the registry, around records signed by the sellers. */
import { expectArray, expectInteger, expectObject, expectText, present, refuseMessage } from './fields.ts'
import { asHex, bytesToHex, hexToBytes, type Hex } from './hex.ts'
import { verifyBy, type NodeKey } from './node-key.ts'
import { asPeerId, type PeerId } from './peer-id.ts'

/** News of one seller. Nothing in it is judged: the reader judges each record as if the seller had sent it. */
export interface DeltaItem {
  /** A seller record and its binding; absent when only the heartbeat is new. */
  record?: unknown
  binding?: unknown
  heartbeat?: unknown
  /** Unix milliseconds when some registry heard the seller itself. */
  lastSeenMs: number
}

/** What one registry tells another. */
export interface DeltaBatch {
  /** Names the state after this batch; given back as `since` to get what comes next. */
  version: string
  /** The batch begins a whole list: the `since` that was asked for is not known here any more. */
  reset: boolean
  /** There is more at once. */
  more: boolean
  items: DeltaItem[]
}

/** A batch as sent: the exact text that is signed. */
export interface SignedBatch {
  peer: PeerId
  batch: string
  /** Ed25519 over `openseed/delta/1\n` and the text, 64 bytes. */
  signature: Hex
}

/** The most items of a batch. */
export const mostDeltaItems = 500
/** The most bytes of a signed batch: the records, the bindings and the quoting of JSON inside JSON. */
export const mostBatchBytes = 4 * 1024 * 1024

/** Signs the JSON text of a `DeltaBatch`. */
export function signBatch(key: NodeKey, batch: string): SignedBatch {
  return { peer: key.peerId, batch, signature: bytesToHex(key.sign(signedBytes(batch))) }
}

/** Parses a batch and checks the registry's signature. Throws `invalid_message`. */
export function readBatch(input: unknown): { peer: PeerId; batch: DeltaBatch } {
  const signed = expectObject(input, 'batch')
  const peer = asPeerId(signed.peer)
  const text = expectText(signed.batch, 'batch', mostBatchBytes)
  const signature = asHex(signed.signature, 'signature')
  if (!verifyBy(peer, signedBytes(text), hexToBytes(signature)))
    return refuseMessage('A batch', 'signed by the registry that sends it')
  return { peer, batch: parseBatch(text) }
}

function parseBatch(text: string): DeltaBatch {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch (error) {
    return refuseMessage('A batch', 'JSON', error)
  }
  const { version, reset, more, items } = expectObject(json, 'batch')
  return {
    version: expectText(version, 'version', 64),
    reset: reset === true,
    more: more === true,
    items: expectArray(items, 'items', mostDeltaItems).map(parseItem),
  }
}

function parseItem(input: unknown): DeltaItem {
  const item = expectObject(input, 'item')
  const lastSeenMs = expectInteger(item.lastSeenMs, 'lastSeenMs')
  const { record, binding, heartbeat } = item
  return {
    ...(present(record) !== undefined && { record, binding }),
    ...(present(heartbeat) !== undefined && { heartbeat }),
    lastSeenMs,
  }
}

function signedBytes(text: string): Uint8Array {
  return Buffer.from(`openseed/delta/1\n${text}`)
}
