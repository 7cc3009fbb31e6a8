/** What a seller says of itself to registries: its record and its heartbeats, made of its offers and its slots. */
import { hasCode } from '../base/errors.ts'
import { batchSettlement } from '../wire/batch-settlement.ts'
import type { Address, Hex } from '../wire/hex.ts'
import type { NodeKey } from '../wire/node-key.ts'
import type { SignedOffer } from '../wire/offer.ts'
import { signRecord, type HeartbeatRecord, type SellerRecord } from '../wire/record.ts'
import { catalogHash, catalogText, type RecordHardware, type RecordModel } from '../wire/seller-record.ts'
import type { Slots } from './slots.ts'

/** What does not change while the seller runs. */
export interface SellerProfile {
  payTo: Address
  authorizer: Address
  /** Where buyers reach it over HTTP, without a trailing slash; null when over its addresses only. */
  url: string | null
  region: string | null
  hardware: RecordHardware | null
  /** CAIP-2. */
  network: string
  concurrency: number
  maxBodyBytes: number
}

/** Path of the document with all models, for sellers whose record cannot hold them. */
export const catalogPath = '/openseed/v1/catalog'

const recordTtlSec = 900
const heartbeatTtlSec = 90
const mostModels = 32
const leastAddrs = 2
const mostWarmBytes = 1_024

export function announcedModels(offers: readonly SignedOffer[]): RecordModel[] {
  return offers.map(({ offer, details }) => ({
    id: details.model,
    quant: details.quantization ?? null,
    ctx: offer.maxContext,
    maxOut: offer.maxOutput,
    in: offer.priceIn,
    cached: offer.priceCached,
    out: offer.priceOut,
    caps: [],
  }))
}

export interface RecordDraftParts {
  profile: SellerProfile
  models: readonly RecordModel[]
  /** Multiaddrs, the best ones first. */
  addrs: readonly string[]
  bindingHash: Hex
  /** Unix milliseconds. */
  seq: number
}

/**
 * The record with its models in it, or with their catalogue's hash when they are too many. A model that is not in the
 * record is found by nobody who searches, so that further addresses give way first.
 */
export function makeRecord(key: NodeKey, parts: RecordDraftParts): SellerRecord {
  const { models, addrs, profile } = parts
  if (models.length <= mostModels) {
    const offered = { models: [...models], catalog: null }
    const made =
      tryToSign(key, parts, offered) ??
      tryToSign(key, { ...parts, addrs: addrs.slice(0, leastAddrs) }, offered)
    if (made !== null) return made
  }
  const base = profile.url ?? `http://${key.peerId}.openseed`
  const catalog = { hash: catalogHash(catalogText(models)), url: base + catalogPath }
  return sign(key, parts, { models: null, catalog })
}

type Offered = Pick<SellerRecord['body'], 'models' | 'catalog'>

function tryToSign(key: NodeKey, parts: RecordDraftParts, offered: Offered): SellerRecord | null {
  try {
    return sign(key, parts, offered)
  } catch (error) {
    if (hasCode(error, 'invalid_message')) return null
    throw error
  }
}

function sign(
  key: NodeKey,
  { profile, addrs, bindingHash, seq }: RecordDraftParts,
  offered: Offered,
): SellerRecord {
  const { payTo, authorizer, url, region, hardware, network, concurrency, maxBodyBytes } = profile
  return signRecord(key, {
    type: 'seller',
    seq,
    expSec: expiry(seq, recordTtlSec),
    body: {
      ...offered,
      payTo,
      authorizer,
      bindingHash,
      url,
      addrs: [...addrs],
      region,
      hardware,
      networks: [network],
      schemes: [batchSettlement],
      dialects: ['openai-chat'],
      limits: { concurrency, maxBodyBytes },
    },
  })
}

export interface Beat {
  slots: Pick<Slots, 'taken' | 'limit'>
  /** Tokens per second lately; null when nothing ran. */
  tps: number | null
  /** Ids of loaded models. */
  warm: readonly string[]
  /** `seq` of the record that the load belongs to. */
  recordSeq: number
  /** Unix milliseconds. */
  seq: number
  leaving: boolean
}

export function makeHeartbeat(key: NodeKey, beat: Beat): HeartbeatRecord {
  const { slots, tps, warm, recordSeq, seq, leaving } = beat
  const { taken, limit } = slots
  return signRecord(key, {
    type: 'heartbeat',
    seq,
    expSec: expiry(seq, heartbeatTtlSec),
    body: {
      running: taken,
      // A full seller refuses; nothing waits here.
      queued: 0,
      free: Math.max(0, limit - taken),
      tps,
      warm: fitting(warm),
      recordSeq,
      ...(leaving && { leaving }),
    },
  })
}

// A heartbeat has the same limit of bytes as a record.
function fitting(ids: readonly string[]): string[] {
  let bytes = 0
  return ids.slice(0, mostModels).filter((id) => (bytes += JSON.stringify(id).length * 2) <= mostWarmBytes)
}

// From the sequence, not the clock: after a clock went back the two differ, and a record must outlive its signing.
function expiry(seq: number, ttlSec: number): number {
  return Math.floor(seq / 1000) + ttlSec
}
