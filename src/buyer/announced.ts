/** What registries say of sellers, merged: of each node the newest record, whoever repeated it. Pure. */
import type { Usdc } from '../wire/amount.ts'
import type { Address } from '../wire/hex.ts'
import type { PeerId } from '../wire/peer-id.ts'
import type { HeartbeatRecord, SellerRecord } from '../wire/record.ts'

/** A seller as announced: where it is, who must be paid there, and what it claims to offer. */
export interface AnnouncedSeller {
  peer: PeerId
  /** Normalised. */
  url: string
  payTo: Address
  authorizer: Address
  /** null when its catalogue is elsewhere. */
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
  /** Normalised, and allowed by our policy. */
  url: string
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

  /** `registry` is null for what we remember ourselves. True when something is new. */
  merge(seen: KnownSeller, registry: string | null): boolean {
    const { peer } = seen.record
    const known = this.#sellers.get(peer)
    if (known === undefined) {
      if (this.#sellers.size >= mostKnown || isLeaving(seen)) return false
      this.#sellers.set(peer, seen)
      this.#listedBy.set(peer, new Set(registry === null ? [] : [registry]))
      return true
    }
    if (registry !== null) this.#listedBy.get(peer)?.add(registry)
    const isNewer = seen.record.seq > known.record.seq
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

export function announcedOf({ url, record, heartbeat }: KnownSeller): AnnouncedSeller {
  const { payTo, authorizer, models } = record.body
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
