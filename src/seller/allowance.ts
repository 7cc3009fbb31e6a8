/** How often something may be had that costs this seller and not who asks for it. Pure but for its clock. */
import type { Clock } from '../base/clock.ts'

export interface Pace {
  /** so many at once */
  most: number
  /** and then one more every so often */
  everyMs: number
}

/** What was taken and is not given back by time yet. */
interface Debt {
  taken: number
  atMs: number
}

const sweepAt = 1024

export class Allowance<Key> {
  readonly #pace: Pace
  readonly #now: Clock
  readonly #debts = new Map<Key, Debt>()

  constructor(pace: Pace, now: Clock) {
    this.#pace = pace
    this.#now = now
  }

  /** How long to wait for the next one, in milliseconds; null when there is one now. */
  waitMs(key: Key): number | null {
    const nowMs = this.#now()
    const debt = this.#debts.get(key)
    if (debt === undefined) return null
    this.#repay(debt, nowMs)
    return debt.taken < this.#pace.most ? null : debt.atMs + this.#pace.everyMs - nowMs
  }

  /** Takes one, whether or not there is one. */
  take(key: Key): void {
    const nowMs = this.#now()
    const debt = this.#debts.get(key) ?? { taken: 0, atMs: nowMs }
    this.#repay(debt, nowMs)
    debt.taken += 1
    this.#debts.set(key, debt)
    if (this.#debts.size % sweepAt === 0) this.#sweep(nowMs)
  }

  /** How many were taken that time has not given back. */
  taken(key: Key): number {
    const debt = this.#debts.get(key)
    if (debt === undefined) return 0
    this.#repay(debt, this.#now())
    return debt.taken
  }

  // A clock that goes back gives nothing back.
  #repay(debt: Debt, nowMs: number): void {
    const { everyMs } = this.#pace
    const repaid = Math.max(0, Math.floor((nowMs - debt.atMs) / everyMs))
    if (debt.taken <= repaid || nowMs < debt.atMs) debt.atMs = nowMs
    else debt.atMs += repaid * everyMs
    debt.taken = Math.max(0, debt.taken - repaid)
  }

  #sweep(nowMs: number): void {
    for (const [key, debt] of this.#debts) {
      this.#repay(debt, nowMs)
      if (debt.taken === 0) this.#debts.delete(key)
    }
  }
}
