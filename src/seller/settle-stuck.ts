/** Claims that fail: when to try them again, and when to stop earning what cannot be claimed. */
import type { Clock } from '../base/clock.ts'
import type { Usdc } from '../wire/amount.ts'
import type { Hex } from '../wire/hex.ts'

export interface Stuck {
  /** A whole turn came to nothing: no RPC, no gas, or an outcome that stays unknown. */
  turnFailed(): void
  turnDone(): void
  /** The chain refused this claim as such: the same one is left alone for a while, longer each time. */
  refused(id: Hex, totalClaimed: Usdc): void
  settled(id: Hex): void
  mayTry(id: Hex, totalClaimed: Usdc): boolean
  /** How long the channel's claims have been failing, in milliseconds; 0 when they are not. */
  sinceMs(id: Hex): number
}

// Short: what the chain refused while a reorg had undone the deposit succeeds once the deposit is back.
const firstPauseMs = 1000
const longestPauseMs = 3_600_000

export function openStuck(now: Clock): Stuck {
  let turnsFailSinceMs: number | null = null
  const refusals = new Map<Hex, { totalClaimed: Usdc; sinceMs: number; untilMs: number; pauseMs: number }>()

  return {
    turnFailed: () => void (turnsFailSinceMs ??= now()),
    turnDone: () => void (turnsFailSinceMs = null),
    refused(id, totalClaimed) {
      const before = refusals.get(id)
      const pauseMs = Math.min(longestPauseMs, (before?.pauseMs ?? firstPauseMs / 2) * 2)
      refusals.set(id, { totalClaimed, sinceMs: before?.sinceMs ?? now(), untilMs: now() + pauseMs, pauseMs })
    },
    settled: (id) => void refusals.delete(id),
    mayTry(id, totalClaimed) {
      const refusal = refusals.get(id)
      return refusal === undefined || refusal.totalClaimed !== totalClaimed || now() >= refusal.untilMs
    },
    sinceMs(id) {
      const since = Math.min(turnsFailSinceMs ?? Infinity, refusals.get(id)?.sinceMs ?? Infinity)
      return since === Infinity ? 0 : now() - since
    },
  }
}
