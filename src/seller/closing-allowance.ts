/**
 * How many ids that were never seen may be closed: each is a row for ever, and the question that writes it costs
 * nothing. Whoever lost requests asks about as many as it lost; nobody may fill the disk so. Pure but for its clock.
 */
import type { Clock } from '../base/clock.ts'
import type { Hex } from '../wire/hex.ts'
import { Allowance, type Pace } from './allowance.ts'

export interface ClosingLimits {
  /** on one channel */
  perChannel: Pace
  /** the same over all channels together */
  inAll: Pace
  /** so many a channel may have closed whatever others do: nobody keeps the outcomes of others from them */
  always: number
}

/** One question's worth at once; six thousand a day on one channel and ninety thousand on all. */
export const closingLimits: ClosingLimits = {
  perChannel: { most: 256, everyMs: 15_000 },
  inAll: { most: 4096, everyMs: 1000 },
  always: 16,
}

export class ClosingAllowance {
  readonly #limits: ClosingLimits
  readonly #channels: Allowance<Hex>
  readonly #all: Allowance<'all'>

  constructor(now: Clock, limits = closingLimits) {
    this.#limits = limits
    this.#channels = new Allowance(limits.perChannel, now)
    this.#all = new Allowance(limits.inAll, now)
  }

  /** Takes one. Null when it may be closed, else how long to wait in milliseconds. */
  take(channelId: Hex): number | null {
    const ownMs = this.#channels.waitMs(channelId)
    if (ownMs !== null) return ownMs
    const allMs = this.#all.waitMs('all')
    if (allMs !== null && this.#channels.taken(channelId) >= this.#limits.always) return allMs
    this.#channels.take(channelId)
    this.#all.take('all')
    return null
  }
}
