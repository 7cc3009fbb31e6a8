/**
 * What watchtowers have to know, newest last: the latest stored state of each channel that has something to claim. Kept
 * in memory, because every start stores all channels anew; its cursors are good for one run.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Changes } from '../base/changes.ts'
import type { SellerChannelRow } from '../store/rows.ts'
import type { Usdc } from '../wire/amount.ts'
import type { Curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import type { Hex } from '../wire/hex.ts'
import { mostUpdates, type TowerPage, type TowerUpdate } from '../wire/tower.ts'

export interface TowerFeedParts {
  /** names this run */
  epoch: string
  digests: Digests
  curve: Curve
  /** of the receiverAuthorizer */
  key: Hex
  /** what else changes in this time shares an answer */
  gatherMs?: number
}

interface Held {
  row: SellerChannelRow
  at: number
  signed: TowerUpdate | null
}

const usualGatherMs = 100

/** What a claim may take of a stored channel; null when nothing is due, or the chain alone proves the voucher. */
export function claimOfRow(row: SellerChannelRow): { totalClaimed: Usdc; voucher: Hex } | null {
  const totalClaimed = row.charged < row.balance ? row.charged : row.balance
  if (row.signature === null || totalClaimed <= row.totalClaimed) return null
  return { totalClaimed, voucher: row.signature }
}

export class TowerFeed {
  readonly #parts: TowerFeedParts
  /** in the order of their last change */
  readonly #held = new Map<Hex, Held>()
  readonly #changes = new Changes<'feed'>()
  #head = 0

  constructor(parts: TowerFeedParts) {
    this.#parts = parts
  }

  /** A channel was committed. Costs nothing but a note: signatures are made when a tower asks. */
  stored(row: SellerChannelRow): void {
    const known = this.#held.get(row.id)
    if (known !== undefined && known.row.rev >= row.rev) return
    const claim = claimOfRow(row)
    const before = known === undefined ? null : claimOfRow(known.row)
    if (claim?.totalClaimed === before?.totalClaimed && claim?.voucher === before?.voucher) {
      if (known !== undefined) known.row = row
      return
    }
    this.#held.delete(row.id)
    if (claim === null) return
    this.#head += 1
    this.#held.set(row.id, { row, at: this.#head, signed: null })
    this.#changes.wake('feed')
  }

  /** Waits for something newer than the cursor, or for the signal; then gives it, or an empty page. */
  async next(since: string, signal: AbortSignal): Promise<TowerPage> {
    if (this.behind(since) === 0) {
      await this.#changes.next('feed', signal)
      await sleep(this.#parts.gatherMs ?? usualGatherMs, undefined, { signal }).catch(() => undefined)
    }
    return this.#page(since)
  }

  /** How many channels have changed since the cursor. */
  behind(since: string): number {
    const at = this.#place(since)
    let count = 0
    for (const held of this.#held.values()) if (held.at > at) count += 1
    return count
  }

  #page(since: string): TowerPage {
    const at = this.#place(since)
    const news = [...this.#held.values()].filter((held) => held.at > at)
    const page = news.slice(0, mostUpdates)
    const last = page.at(-1)?.at ?? Math.max(at, 0)
    return {
      updates: page.map((held) => this.#sign(held)),
      cursor: `${this.#parts.epoch}.${last}`,
      more: news.length > page.length,
    }
  }

  /** Where a cursor of this run stands; a cursor of another run knows nothing. */
  #place(since: string): number {
    const [epoch, at] = since.split('.')
    return epoch === this.#parts.epoch ? Number(at) || 0 : 0
  }

  #sign(held: Held): TowerUpdate {
    const { digests, curve, key } = this.#parts
    if (held.signed !== null) return held.signed
    const { id: channelId, config, signed: maxClaimable } = held.row
    const claim = claimOfRow(held.row)
    if (claim === null) throw new Error('what is held has something to claim')
    const digest = digests.claimBatch([{ channelId, maxClaimable, totalClaimed: claim.totalClaimed }])
    held.signed = { config, maxClaimable, ...claim, claim: curve.sign(digest, key) }
    return held.signed
  }
}
