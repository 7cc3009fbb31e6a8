/** What the last day cost and what runs may still cost, against the caps. In memory, so that a request decides at once. */
import type { Usdc } from '../wire/amount.ts'

const hourMs = 3_600_000
const dayHours = 24

/** What the store answers to "since when". */
export interface SpentSince {
  charged: Usdc
  openCeilings: Usdc
  deposited: Usdc
}

interface Hour {
  charged: Usdc
  deposited: Usdc
}

/**
 * The last 24 hours, counted by the hour: an hour counts until all of it is a day old, so the sum is never too low.
 */
export class Spending {
  readonly #hours = new Map<number, Hour>()
  #held: Usdc = 0n

  /** Rebuilds the last day from the store, which answers sums since a moment. */
  static async load(
    spentSince: (since: { sinceMs: number }) => Promise<SpentSince>,
    nowMs: number,
  ): Promise<Spending> {
    const spending = new Spending()
    const newest = hourOf(nowMs)
    const starts = Array.from({ length: dayHours + 1 }, (_, back) => newest - back)
    const sums = await Promise.all(starts.map((hour) => spentSince({ sinceMs: hour * hourMs })))
    let later: Hour = { charged: 0n, deposited: 0n }
    sums.forEach((sum, back) => {
      spending.#hours.set(newest - back, {
        charged: sum.charged - later.charged,
        deposited: sum.deposited - later.deposited,
      })
      later = sum
    })
    spending.#held = sums[0]?.openCeilings ?? 0n
    return spending
  }

  /** A request may cost this much from now on. */
  hold(ceiling: Usdc): void {
    this.#held += ceiling
  }

  /** A request that was held for ended. */
  settle(ceiling: Usdc, charged: Usdc, atMs: number): void {
    this.#held -= ceiling
    this.#hour(atMs).charged += charged
  }

  deposited(amount: Usdc, atMs: number): void {
    this.#hour(atMs).deposited += amount
  }

  /** Charges of the last day and ceilings of what has no final yet. */
  spent(nowMs: number): Usdc {
    return this.#sum(nowMs, 'charged') + this.#held
  }

  /** Deposits of the last day. */
  depositedToday(nowMs: number): Usdc {
    return this.#sum(nowMs, 'deposited')
  }

  #sum(nowMs: number, name: keyof Hour): Usdc {
    const oldest = hourOf(nowMs) - dayHours
    let sum = 0n
    for (const [hour, entry] of this.#hours) {
      if (hour < oldest) this.#hours.delete(hour)
      else sum += entry[name]
    }
    return sum
  }

  #hour(atMs: number): Hour {
    const hour = hourOf(atMs)
    const entry = this.#hours.get(hour) ?? { charged: 0n, deposited: 0n }
    this.#hours.set(hour, entry)
    return entry
  }
}

const hourOf = (atMs: number) => Math.floor(atMs / hourMs)
