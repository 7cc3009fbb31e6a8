import { OpenSeedError } from '../base/errors.ts'

/** How many requests run at once. A full seller says so before any payment. */
export class Slots {
  readonly limit: number
  #taken = 0

  constructor(limit: number) {
    this.limit = limit
  }

  get taken(): number {
    return this.#taken
  }

  /** Throws `rate_limit_exceeded` when no slot is free. */
  check(): void {
    if (this.#taken < this.limit) return
    throw new OpenSeedError('rate_limit_exceeded', {
      message: `All ${this.limit} slots of this seller are busy.`,
      details: { retryAfterSec: 1 },
    })
  }

  /** Takes a slot; the returned function gives it back, once. Throws `rate_limit_exceeded`. */
  take(): () => void {
    this.check()
    this.#taken += 1
    let released = false
    return () => {
      if (!released) this.#taken -= 1
      released = true
    }
  }
}
