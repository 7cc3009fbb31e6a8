/** The settlement engine: one turn after the other, claims what is due, and settles first what is still unknown. */
import { setTimeout as wait } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { crashPoint } from '../base/crash.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Usdc } from '../wire/amount.ts'
import type { Hex } from '../wire/hex.ts'
import type { ChannelBook } from './channel-book.ts'
import type { ChainFacts, Entry } from './channel-entry.ts'
import { openStuck } from './settle-stuck.ts'
import {
  chooseClaims,
  claimOrder,
  freeOfCharge,
  intoBatches,
  valueOf,
  type ClaimOrder,
  type ClaimPrice,
  type Occasion,
  type SettlePolicy,
} from './settle-policy.ts'

/**
 * What became of a batch. `failed`: it moved nothing and never will; the rows may be claimed otherwise. `unknown`: it
 * may still be mined; until its outcome is known nothing else is claimed.
 */
export type ClaimOutcome =
  | { kind: 'settled' }
  | { kind: 'failed'; reason: string }
  | { kind: 'unknown'; reason: string }

export interface SettleParts {
  book: ChannelBook
  policy: SettlePolicy
  /** Claims the rows and sweeps to the receiver, in one transaction. Throws when nothing can be sent at all. */
  sendClaims: (orders: ClaimOrder[]) => Promise<ClaimOutcome>
  /** Brings earlier claims to their outcome, and again those that a reorg undid. Throws while one stays unknown. */
  reconcile: () => Promise<void>
  readChain: (ids: Hex[]) => Promise<ChainFacts[]>
  claimPrice: () => Promise<ClaimPrice>
  /** the time between a withdrawal's begin and the money being gone */
  withdrawDelayMs: number
  now: Clock
  log: Log
}

export interface Settler {
  /** Claims what the occasion asks for; gives what reached the chain. Throws while the chain cannot be reached. */
  settle(occasion: Occasion): Promise<Usdc>
  /** Asks the loop for a turn at once: something urgent came up. */
  wake(): void
  /** Takes a turn now and then until the signal aborts. A failure is tried again at the next one. */
  run(everyMs: number, signal: AbortSignal): Promise<void>
  /** Whether the channel's charges could not be claimed for so long that no more should be earned on it. */
  isStuck(channelId: Hex): boolean
}

export function openSettler(parts: SettleParts): Settler {
  const { book, policy, now, log } = parts
  const stuck = openStuck(now)
  let last: Promise<unknown> = Promise.resolve()
  let roused = Promise.withResolvers<void>()

  // One turn at a time: two that choose the same rows would pay for them twice.
  function settle(occasion: Occasion): Promise<Usdc> {
    const turn = last.then(() => takeTurn(occasion))
    last = turn.catch(() => undefined)
    return turn
  }

  async function takeTurn(occasion: Occasion): Promise<Usdc> {
    try {
      await parts.reconcile()
      const orders = await choose(occasion)
      let moved = 0n
      for (const batch of intoBatches(orders, policy.maxBatchGas)) moved += await claimBatch(batch)
      stuck.turnDone()
      return moved
    } catch (error) {
      stuck.turnFailed()
      throw error
    }
  }

  async function choose(occasion: Occasion): Promise<ClaimOrder[]> {
    const candidates = [...book.entries()].filter((entry) => mayTry(entry, occasion))
    if (candidates.length === 0) return []
    const moment = { nowMs: now(), price: await priceFor(occasion), occasion }
    const chosen = new Set(chooseClaims(candidates, policy, moment).map(({ channelId }) => channelId))
    // Somebody else may have claimed meanwhile, or the balance may have fallen: the chain decides what is left.
    await adopt([...chosen])
    return chooseClaims(
      candidates.filter((entry) => chosen.has(entry.id) && mayTry(entry, occasion)),
      policy,
      moment,
    )
  }

  function mayTry(entry: Entry, occasion: Occasion): boolean {
    const order = claimOrder(entry)
    return order !== null && (occasion === 'all' || stuck.mayTry(entry.id, order.totalClaimed))
  }

  const priceFor = (occasion: Occasion): Promise<ClaimPrice> =>
    occasion === 'all' || policy.coinPrice === 0n ? Promise.resolve(freeOfCharge) : parts.claimPrice()

  async function claimBatch(orders: ClaimOrder[]): Promise<Usdc> {
    if (orders.length === 0) return 0n
    crashPoint('seller.claim-chosen')
    const outcome = await parts.sendClaims(orders)
    crashPoint('seller.claim-sent')
    if (outcome.kind === 'failed') return splitBatch(orders, outcome.reason)
    if (outcome.kind === 'unknown') throw unknownOutcome(outcome.reason)
    return bookClaims(orders)
  }

  // One bad row undoes the whole batch: halve it until the bad one stands alone.
  async function splitBatch(orders: ClaimOrder[], reason: string): Promise<Usdc> {
    const [only] = orders
    if (orders.length > 1) {
      const half = Math.ceil(orders.length / 2)
      return (await claimBatch(orders.slice(0, half))) + (await claimBatch(orders.slice(half)))
    }
    if (only !== undefined) {
      stuck.refused(only.channelId, only.totalClaimed)
      log.error({ channel: only.channelId, reason }, 'a claim was refused by the chain')
      await adopt([only.channelId])
    }
    return 0n
  }

  async function bookClaims(orders: ClaimOrder[]): Promise<Usdc> {
    await adopt(orders.map(({ channelId }) => channelId))
    const arrived = orders.filter(
      ({ channelId, totalClaimed }) => (book.find(channelId)?.claimedOnChain ?? 0n) >= totalClaimed,
    )
    for (const { channelId } of arrived) stuck.settled(channelId)
    const moved = valueOf(arrived)
    log.info({ channels: arrived.length, atomicUsdc: moved.toString() }, 'claimed')
    return moved
  }

  async function adopt(ids: Hex[]): Promise<void> {
    if (ids.length === 0) return
    const facts = await parts.readChain(ids)
    for (const [index, id] of ids.entries()) {
      const entry = book.find(id)
      const chain = facts[index]
      if (entry !== undefined && chain !== undefined) await book.adoptChain(entry, chain)
    }
  }

  async function run(everyMs: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const pause = new AbortController()
      const paused = wait(everyMs, undefined, { signal: AbortSignal.any([signal, pause.signal]), ref: false })
      await Promise.race([paused.catch(() => undefined), roused.promise])
      pause.abort()
      roused = Promise.withResolvers<void>()
      if (signal.aborted) return
      await settle('routine').catch((error: unknown) => {
        log.warn({ error }, 'settling failed; it is tried again')
      })
      warnOfOld()
    }
  }

  let warnedAtMs = -Infinity
  function warnOfOld(): void {
    if (now() - warnedAtMs < policy.intervalMs) return
    const old = [...book.entries()].filter((entry) => stuck.sinceMs(entry.id) >= policy.intervalMs)
    if (old.length === 0) return
    warnedAtMs = now()
    const value = valueOf(old.flatMap((entry) => claimOrder(entry) ?? []))
    log.error(
      { channels: old.length, atomicUsdc: value.toString() },
      'earnings cannot be claimed for a long time',
    )
  }

  // A withdrawal that began now would be over before a claim is likely to succeed.
  const isStuck = (id: Hex): boolean => stuck.sinceMs(id) > parts.withdrawDelayMs / 2

  return { settle, wake: () => roused.resolve(), run, isStuck }
}

// It ends the turn: nothing else is claimed before `reconcile` knows.
const unknownOutcome = (reason: string) =>
  new OpenSeedError('chain_unavailable', {
    message: `The outcome of a claim is not known yet: ${reason}`,
    hint: 'It is looked up again at the next turn, and at the next start.',
  })
