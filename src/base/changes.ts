/** Who waits for something of a thing to change, by the thing's key. */
export class Changes<Key> {
  readonly #waiters = new Map<Key, Set<() => void>>()

  /** Resolves at the next change, or when the signal aborts. */
  next(key: Key, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const waiters = this.#waiters.get(key) ?? new Set()
      this.#waiters.set(key, waiters)
      const done = () => {
        waiters.delete(done)
        if (waiters.size === 0) this.#waiters.delete(key)
        signal.removeEventListener('abort', done)
        resolve()
      }
      waiters.add(done)
      signal.addEventListener('abort', done, { once: true })
      if (signal.aborted) done()
    })
  }

  /** Wakes everybody who waits for this thing. */
  wake(key: Key): void {
    for (const wake of this.#waiters.get(key) ?? []) wake()
  }
}
