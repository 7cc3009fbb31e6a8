/**
 * Guards the claims: looks at the chain when something happened to a channel, when a head start is over, and at all of
 * them from time to time; and claims what a withdrawal would take away.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { crashPoint } from '../base/crash.ts'
import type { Log } from '../base/log.ts'
import { agreedChannels } from '../chain/agree.ts'
import type { Escrow } from '../chain/escrow.ts'
import type { TowerClaimRow } from '../store/tower-operations.ts'
import type { Usdc } from '../wire/amount.ts'
import type { Hex } from '../wire/hex.ts'
import type { ClaimBook } from './claim-book.ts'
import { judgeClaim } from './judge-claim.ts'
import type { ClaimSender } from './send-claims.ts'

export interface GuardParts {
  escrow: Escrow
  book: ClaimBook
  sender: ClaimSender
  /** seconds; null for a quarter of each channel's withdraw delay */
  headStartSec: number | null
  /** what a claim must bring */
  least: () => Promise<Usdc>
  /** how often all channels are looked at */
  everyMs?: number
  /** the shortest time between two looks */
  paceMs?: number
  now: Clock
  log: Log
}

export interface SeenChannel {
  withdrawing: boolean
  totalClaimed: Usdc
}

export interface Guard {
  /** Something happened on the chain to these channels; maybe to all of them without any. */
  look(ids?: Iterable<Hex>): void
  /** There are newer claims of these channels. */
  renewed(ids: Iterable<Hex>): void
  /** A block as some RPC showed it: the chain's clock may be ahead of ours. */
  saw(timestampSec: number): void
  /** The channel as it was when it was looked at last; undefined before that. */
  seen(id: Hex): SeenChannel | undefined
  /** What was mined from this block on may be undone. */
  reorged(fromBlock: number): void
  /** Resolves when the signal aborts. */
  run(signal: AbortSignal): Promise<void>
}

const usualEveryMs = 5 * 60_000
const usualPaceMs = 1_000
const retryMs = 5_000
// Until every RPC shows what was mined.
const lookAgainSec = 5
// A claim that the chain has had for so long is not undone any more.
const settledMs = 60 * 60_000
const mostAtOnce = 200

export function openGuard(parts: GuardParts): Guard {
  const { escrow, book, sender, everyMs = usualEveryMs, paceMs = usualPaceMs, now, log } = parts
  const suspects = new Set<Hex>()
  const seen = new Map<Hex, SeenChannel>()
  /** since when the chain has had the claims */
  const doneSince = new Map<Hex, number>()
  /** channels to be looked at again, and when: mostly when a head start is over */
  const waiting = new Map<Hex, number>()
  /** claims that the chain refused, and when to try again */
  const refused = new Map<Hex, number>()
  let roused = Promise.withResolvers<void>()
  let chainSec = 0
  let allAtMs = -Infinity

  const nowSec = () => Math.max(Math.floor(now() / 1000), chainSec)

  async function takeTurn(): Promise<void> {
    await sender.reconcile()
    if (now() >= allAtMs) {
      for (const id of book.ids()) suspects.add(id)
      allAtMs = now() + everyMs
    }
    for (const [id, atSec] of waiting) if (atSec <= nowSec()) suspects.add(id)
    const ids = [...suspects].filter((id) => book.find(id) !== undefined)
    suspects.clear()
    if (ids.length === 0) return
    try {
      await claim(await choose(ids))
    } catch (error) {
      // What was not finished is looked at again.
      for (const id of ids) suspects.add(id)
      throw error
    }
  }

  async function choose(ids: readonly Hex[]): Promise<TowerClaimRow[]> {
    const due: TowerClaimRow[] = []
    const done: TowerClaimRow[] = []
    const least = await parts.least()
    for (let at = 0; at < ids.length; at += mostAtOnce) {
      const some = ids.slice(at, at + mostAtOnce)
      const facts = await agreedChannels(escrow, some)
      for (const [index, id] of some.entries()) {
        const row = book.find(id)
        const chain = facts[index]
        if (row === undefined || chain === undefined) continue
        seen.set(id, { withdrawing: chain.withdrawAmount > 0n, totalClaimed: chain.totalClaimed })
        const held = { totalClaimed: row.totalClaimed, withdrawDelay: row.config.withdrawDelay }
        const moment = { nowSec: nowSec(), headStartSec: parts.headStartSec, least }
        const verdict = judgeClaim(held, chain, moment)
        if (verdict.kind === 'wait') noteWithdrawal(id, verdict.untilSec)
        else waiting.delete(id)
        if (verdict.kind === 'claim' && now() >= (refused.get(id) ?? 0)) due.push(row)
        if (verdict.kind !== 'done') doneSince.delete(id)
        else if (isSettled(id)) done.push(row)
        if (verdict.kind === 'short')
          log.error(
            { channel: id },
            'a channel holds less than was charged on it; only its seller can claim the rest',
          )
      }
    }
    for (const { channelId } of done) {
      seen.delete(channelId)
      doneSince.delete(channelId)
    }
    await book.forget(done)
    return due
  }

  function isSettled(id: Hex): boolean {
    const sinceMs = doneSince.get(id) ?? now()
    doneSince.set(id, sinceMs)
    return now() - sinceMs > settledMs
  }

  function noteWithdrawal(id: Hex, untilSec: number): void {
    if (waiting.get(id) !== untilSec)
      log.warn({ channel: id, untilSec }, 'a buyer withdraws; its seller has until then to claim')
    waiting.set(id, untilSec)
  }

  async function claim(rows: readonly TowerClaimRow[]): Promise<void> {
    if (rows.length === 0) return
    crashPoint('tower.claim-chosen')
    const bad = new Set(await sender.send(rows))
    crashPoint('tower.claim-sent')
    for (const { channelId } of bad) {
      refused.set(channelId, now() + everyMs)
      log.error({ channel: channelId }, 'the chain refused a claim; it is tried again')
    }
    const claimed = rows.filter((row) => !bad.has(row))
    for (const { channelId } of claimed) {
      refused.delete(channelId)
      log.info({ channel: channelId }, 'claimed for a seller')
    }
    // Whether the chain has them is for a later look to say.
    for (const { channelId } of claimed) waiting.set(channelId, nowSec() + lookAgainSec)
  }

  function pauseMs(): number {
    const nextSec = Math.min(...waiting.values())
    return Math.max(paceMs, Math.min(allAtMs - now(), (nextSec - nowSec()) * 1000, everyMs))
  }

  async function run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      roused = Promise.withResolvers()
      const failed = await takeTurn().then(
        () => false,
        (err: unknown) => {
          if (!signal.aborted) log.error({ err }, 'guarding failed; it is tried again')
          return true
        },
      )
      if (signal.aborted) return
      const pause = new AbortController()
      const either = AbortSignal.any([signal, pause.signal])
      const rest = (ms: number) => sleep(ms, undefined, { signal: either, ref: false }).catch(() => undefined)
      await rest(failed ? retryMs : paceMs)
      if (!failed) await Promise.race([rest(pauseMs() - paceMs), roused.promise])
      pause.abort()
    }
  }

  return {
    look(ids) {
      const known = ids === undefined ? null : [...ids].filter((id) => book.find(id) !== undefined)
      if (known === null) allAtMs = -Infinity
      else for (const id of known) suspects.add(id)
      if (known === null || known.length > 0) roused.resolve()
    },
    renewed(ids) {
      const open = [...ids].filter((id) => seen.get(id)?.withdrawing !== false)
      if (open.length === 0) return
      for (const id of open) suspects.add(id)
      roused.resolve()
    },
    saw(timestampSec) {
      if (timestampSec <= chainSec) return
      chainSec = timestampSec
      if ([...waiting.values()].some((untilSec) => untilSec <= chainSec)) roused.resolve()
    },
    seen: (id) => seen.get(id),
    reorged: (fromBlock) => sender.reorged(fromBlock),
    run,
  }
}
