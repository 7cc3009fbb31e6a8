/** What registries say of sellers, merged: of each node the newest record, whoever repeated it. Pure. */
import type { DialTarget } from '../net/seller-dialer.ts'
import type { Usdc } from '../wire/amount.ts'
import type { Address } from '../wire/hex.ts'
import type { PeerId } from '../wire/peer-id.ts'
import type { HeartbeatRecord, SellerRecord } from '../wire/record.ts'
import type { RecordModel } from '../wire/seller-record.ts'

/** A seller as announced: where it is, who must be paid there, and what it claims to offer. */
export interface AnnouncedSeller {
  peer: PeerId
  /** Its peer's address, or its URL, normalised. */
  url: string
  payTo: Address
  authorizer: Address
  /** null while its catalogue is elsewhere and was not read. */
  models: readonly AnnouncedModel[] | null
  /** It said that no slot is free. */
  isFull: boolean
}

/** Atomic USDC per 1,000,000 tokens. */
export interface AnnouncedModel {
  id: string
  maxContext: number
  maxOutput: number
  priceIn: Usdc
  priceOut: Usdc
}

/** One node as known: its newest record, where that leads, and which registries list it. */
export interface KnownSeller {
  record: SellerRecord
  heartbeat: HeartbeatRecord | null
  /** As in `AnnouncedSeller`. */
  url: string
  /** What of its addresses our policy allows. */
  target: DialTarget
  /** Multiaddrs at which we met it ourselves. */
  metAt: readonly string[]
}

const mostKnown = 20_000

/** All nodes known, by peer id. A record or heartbeat replaces only an older one, so no registry can roll one back. */
export class KnownSellers {
  readonly #sellers = new Map<PeerId, KnownSeller>()
  readonly #listedBy = new Map<PeerId, Set<string>>()

  get size(): number {
    return this.#sellers.size
  }

  get(peer: PeerId): KnownSeller | undefined {
    return this.#sellers.get(peer)
  }

  /** `from` is null for what we remember ourselves. True when something is new. */
  merge(seen: KnownSeller, from: string | null): boolean {
    const { peer } = seen.record
    const known = this.#sellers.get(peer)
    if (known === undefined) {
      if (this.#sellers.size >= mostKnown || isLeaving(seen)) return false
      this.#sellers.set(peer, seen)
      this.#listedBy.set(peer, new Set(from === null ? [] : [from]))
      return true
    }
    if (from !== null) this.#listedBy.get(peer)?.add(from)
    const isMetElsewhere = seen.record.seq === known.record.seq && seen.metAt !== known.metAt
    const isNewer = seen.record.seq > known.record.seq || isMetElsewhere
    const heartbeat = newest(known.heartbeat, seen.heartbeat)
    if (!isNewer && heartbeat === known.heartbeat) return false
    const merged = { ...(isNewer ? seen : known), heartbeat }
    if (isLeaving(merged)) this.#forget(peer)
    else this.#sellers.set(peer, merged)
    return true
  }

  /** A registry lists it no longer; it is forgotten once none does, so that no single one can hide it. */
  unlist(peer: PeerId, registry: string): boolean {
    const listedBy = this.#listedBy.get(peer)
    if (listedBy?.delete(registry) !== true || listedBy.size > 0) return false
    this.#forget(peer)
    return true
  }

  /** Forgets what expired before `sec`; true when something did. */
  forgetExpired(sec: number): boolean {
    const before = this.#sellers.size
    for (const [peer, { record }] of this.#sellers) if (record.expSec <= sec) this.#forget(peer)
    return this.#sellers.size < before
  }

  [Symbol.iterator](): Iterator<KnownSeller> {
    return this.#sellers.values()
  }

  #forget(peer: PeerId): void {
    this.#sellers.delete(peer)
    this.#listedBy.delete(peer)
  }
}

/** `models`: those of its record, or of its catalogue. */
export function announcedOf(
  { url, record, heartbeat }: KnownSeller,
  models: readonly RecordModel[] | null = record.body.models,
): AnnouncedSeller {
  const { payTo, authorizer } = record.body
  return {
    peer: record.peer,
    url,
    payTo,
    authorizer,
    models:
      models?.map((model) => ({
        id: model.id,
        maxContext: model.ctx,
        maxOutput: model.maxOut,
        priceIn: model.in,
        priceOut: model.out,
      })) ?? null,
    isFull: heartbeat !== null && heartbeat.body.free === 0,
  }
}

// A goodbye counts until a newer record says that the seller is back.
function isLeaving({ record, heartbeat }: KnownSeller): boolean {
  return heartbeat?.body.leaving === true && heartbeat.body.recordSeq >= record.seq
}

function newest(a: HeartbeatRecord | null, b: HeartbeatRecord | null): HeartbeatRecord | null {
  if (a === null || b === null) return a ?? b
  return b.seq > a.seq ? b : a
}
