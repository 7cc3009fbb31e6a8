/**
 * How many ids that were never seen may be closed: each is a row for ever, and the question that writes it costs
 * nothing. Whoever lost requests asks about as many as it lost; nobody may fill the disk so. Pure but for its clock.
 */
import type { Clock } from '../base/clock.ts'
import type { Hex } from '../wire/hex.ts'

export interface ClosingLimits {
  /** at once on one channel, and how long until one more of it may be closed */
  perChannel: { most: number; everyMs: number }
  /** the same over all channels together */
  inAll: { most: number; everyMs: number }
  /** so many a channel may have closed whatever others do: nobody keeps the outcomes of others from them */
  always: number
}

/** One question's worth at once; six thousand a day on one channel and ninety thousand on all. */
export const closingLimits: ClosingLimits = {
  perChannel: { most: 256, everyMs: 15_000 },
  inAll: { most: 4096, everyMs: 1000 },
  always: 16,
}

/** What was taken and is not given back yet by time. */
interface Debt {
  taken: number
  atMs: number
}

const sweepAt = 1024

export class ClosingAllowance {
  readonly #now: Clock
  readonly #limits: ClosingLimits
  readonly #channels = new Map<Hex, Debt>()
  readonly #all: Debt

  constructor(now: Clock, limits = closingLimits) {
    this.#now = now
    this.#limits = limits
    this.#all = { taken: 0, atMs: now() }
  }

  /** Takes one. Null when it may be closed, else how long to wait in milliseconds. */
  take(channelId: Hex): number | null {
    const nowMs = this.#now()
    const { perChannel, inAll, always } = this.#limits
    const own = this.#channels.get(channelId) ?? { taken: 0, atMs: nowMs }
    repay(own, perChannel.everyMs, nowMs)
    repay(this.#all, inAll.everyMs, nowMs)
    if (own.taken >= perChannel.most) return own.atMs + perChannel.everyMs - nowMs
    if (this.#all.taken >= inAll.most && own.taken >= always) return this.#all.atMs + inAll.everyMs - nowMs
    own.taken += 1
    this.#all.taken += 1
    this.#channels.set(channelId, own)
    if (this.#channels.size % sweepAt === 0) this.#sweep(nowMs)
    return null
  }

  #sweep(nowMs: number): void {
    for (const [id, debt] of this.#channels) {
      repay(debt, this.#limits.perChannel.everyMs, nowMs)
      if (debt.taken === 0) this.#channels.delete(id)
    }
  }
}

/** A clock that goes back repays nothing, and what it had repaid stays so. */
function repay(debt: Debt, everyMs: number, nowMs: number): void {
  const repaid = Math.max(0, Math.floor((nowMs - debt.atMs) / everyMs))
  if (debt.taken <= repaid || nowMs < debt.atMs) debt.atMs = nowMs
  else debt.atMs += repaid * everyMs
  debt.taken = Math.max(0, debt.taken - repaid)
}
