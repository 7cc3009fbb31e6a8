/** A map that forgets what was longest not touched: whatever strangers can add to has a size. */
export class RecentMap<Key, Value> implements Iterable<[Key, Value]> {
  readonly #entries = new Map<Key, Value>()
  readonly #limit: number
  readonly #onForgotten: (key: Key, value: Value) => void

  constructor(limit: number, onForgotten: (key: Key, value: Value) => void = () => {}) {
    this.#limit = limit
    this.#onForgotten = onForgotten
  }

  get size(): number {
    return this.#entries.size
  }

  /** Reading is touching. */
  get(key: Key): Value | undefined {
    const value = this.#entries.get(key)
    if (value === undefined) return undefined
    this.#entries.delete(key)
    this.#entries.set(key, value)
    return value
  }

  has(key: Key): boolean {
    return this.#entries.has(key)
  }

  set(key: Key, value: Value): void {
    this.#entries.delete(key)
    this.#entries.set(key, value)
    if (this.#entries.size <= this.#limit) return
    for (const [oldest, forgotten] of this.#entries) {
      this.#entries.delete(oldest)
      this.#onForgotten(oldest, forgotten)
      return
    }
  }

  delete(key: Key): boolean {
    return this.#entries.delete(key)
  }

  /** What is there now: what is touched on the way moves to the end, and would be met again for ever. */
  [Symbol.iterator](): IterableIterator<[Key, Value]> {
    return [...this.#entries].values()
  }
}
