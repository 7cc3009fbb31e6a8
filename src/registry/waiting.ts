/** Requests that wait for news. They are woken together and not too often, so that many waiting cost little. */
export class Waiting {
  readonly #most: number
  readonly #wake = new Set<() => void>()

  constructor(most: number) {
    this.#most = most
  }

  get isFull(): boolean {
    return this.#wake.size >= this.#most
  }

  /** Resolves at the next waking, at the deadline, or when the signal is aborted. */
  async next(ms: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted || ms <= 0) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, ms)
    this.#wake.add(resolve)
    signal.addEventListener('abort', () => resolve(), { once: true })
    await promise
    clearTimeout(timer)
    this.#wake.delete(resolve)
  }

  wakeAll(): void {
    for (const wake of this.#wake) wake()
  }
}
