/** Follows one seller: takes its updates, judges them, stores them, and only then says so. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { crashPoint } from '../base/crash.ts'
import type { Log } from '../base/log.ts'
import type { Curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import type { Hex } from '../wire/hex.ts'
import type { TowerPage, TowerPairing, TowerUpdate } from '../wire/tower.ts'
import type { ClaimBook } from './claim-book.ts'
import { judgeUpdate } from './judge-update.ts'
import type { SellerSource } from './seller-source.ts'

export interface FollowParts {
  /** its address */
  seller: string
  pairing: TowerPairing
  /** where the last run stopped; empty for the beginning */
  cursor: string
  source: SellerSource
  book: ClaimBook
  digests: Digests
  curve: Curve
  /** These channels have new claims. */
  onNews: (ids: Hex[]) => void
  now: Clock
  log: Log
  /** The shortest time between two questions. */
  paceMs?: number
}

export interface Following {
  /** When the seller answered last; null: not yet. */
  heardMs(): number | null
  /** Up to where its updates are stored. */
  cursor(): string
  /** Resolves when the signal aborts. */
  run(signal: AbortSignal): Promise<void>
}

// So a seller that always has news takes a tenth of a core at most.
const usualPaceMs = 100
const firstRetryMs = 1_000
const longestRetryMs = 60_000

export function openFollowing(parts: FollowParts): Following {
  const { seller, pairing, source, book, log, now, paceMs = usualPaceMs } = parts
  let { cursor } = parts
  let heardMs: number | null = null

  async function take(page: TowerPage): Promise<void> {
    const taken = new Map<Hex, TowerUpdate>()
    const refused = new Map<string, number>()
    let room = book.room(seller)
    for (const update of page.updates) {
      const verdict = judgeUpdate(update, {
        ...parts,
        seller: pairing,
        find: (id) => taken.get(id) ?? book.find(id),
      })
      if (verdict.kind === 'known') continue
      const isNew = verdict.kind === 'take' && book.find(verdict.channelId) === undefined
      const reason = verdict.kind === 'refuse' ? verdict.reason : isNew && room <= 0 ? 'too many' : null
      if (reason !== null) refused.set(reason, (refused.get(reason) ?? 0) + 1)
      else if (verdict.kind === 'take') {
        if (isNew) room -= 1
        taken.set(verdict.channelId, update)
      }
    }
    if (refused.size > 0)
      log.warn({ seller, ...Object.fromEntries(refused) }, 'updates of a seller were refused')
    const news = [...taken].map(([channelId, update]) => ({ channelId, update }))
    if (news.length > 0 || page.cursor !== cursor) await book.save(seller, page.cursor, news)
    crashPoint('tower.stored')
    cursor = page.cursor
    if (news.length > 0) parts.onNews(news.map(({ channelId }) => channelId))
  }

  async function run(signal: AbortSignal): Promise<void> {
    let failures = 0
    while (!signal.aborted) {
      try {
        await take(await source.updates(pairing, cursor, signal))
        if (failures > 0 || heardMs === null) log.info({ seller }, 'following a seller')
        heardMs = now()
        failures = 0
        await pause(paceMs, signal)
      } catch (err) {
        if (signal.aborted) return
        if (failures === 0) log.warn({ seller, err }, 'a seller cannot be followed; trying again')
        await pause(Math.min(longestRetryMs, firstRetryMs * 2 ** failures), signal)
        failures += 1
      }
    }
  }

  return { heardMs: () => heardMs, cursor: () => cursor, run }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal, ref: false }).catch(() => undefined)
}
