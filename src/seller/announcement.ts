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
  /** Where buyers reach it, without a trailing slash. */
  url: string
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
  bindingHash: Hex
  /** Unix milliseconds. */
  seq: number
}

/** The record with its models in it, or with their catalogue's hash when they are too many. */
export function makeRecord(key: NodeKey, parts: RecordDraftParts): SellerRecord {
  if (parts.models.length <= mostModels) {
    try {
      return sign(key, parts, { models: [...parts.models], catalog: null })
    } catch (error) {
      if (!hasCode(error, 'invalid_message')) throw error
    }
  }
  const hash = catalogHash(catalogText(parts.models))
  return sign(key, parts, { models: null, catalog: { hash, url: parts.profile.url + catalogPath } })
}

function sign(
  key: NodeKey,
  { profile, bindingHash, seq }: RecordDraftParts,
  offered: Pick<SellerRecord['body'], 'models' | 'catalog'>,
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
      addrs: [],
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
  /** `seq` of the record that the load belongs to. */
  recordSeq: number
  /** Unix milliseconds. */
  seq: number
  leaving: boolean
}

export function makeHeartbeat(key: NodeKey, { slots, recordSeq, seq, leaving }: Beat): HeartbeatRecord {
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
      // Engines tell neither their speed nor what they have loaded.
      tps: null,
      warm: [],
      recordSeq,
      ...(leaving && { leaving }),
    },
  })
}

// From the sequence, not the clock: after a clock went back the two differ, and a record must outlive its signing.
function expiry(seq: number, ttlSec: number): number {
  return Math.floor(seq / 1000) + ttlSec
}
