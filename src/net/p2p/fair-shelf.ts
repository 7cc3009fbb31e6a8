/**
 * A shelf of limited size that strangers fill. When it is full, whoever brought the most gives up the worst of what it
 * brought: a flood from one source displaces only itself, and sources that bring little lose nothing.
 */

export interface Item<Value> {
  value: Value
  /** Who brought it. Sources must cost something, or they are no bound. */
  source: string
  /** The highest goes first. */
  badness: bigint
}

interface Kept<Value> extends Item<Value> {
  name: string
}

export class FairShelf<Value> implements Iterable<[string, Value]> {
  readonly #limit: number
  readonly #onDropped: (name: string, value: Value) => void
  readonly #byName = new Map<string, Kept<Value>>()
  /** What each source brought, the worst last. */
  readonly #bySource = new Map<string, Kept<Value>[]>()

  constructor(limit: number, onDropped: (name: string, value: Value) => void = () => {}) {
    this.#limit = limit
    this.#onDropped = onDropped
  }

  get size(): number {
    return this.#byName.size
  }

  get(name: string): Value | undefined {
    return this.#byName.get(name)?.value
  }

  has(name: string): boolean {
    return this.#byName.has(name)
  }

  /** Adds or replaces; false when it had to go at once. What is here already stays with who brought it first. */
  set(name: string, { value, source, badness }: Item<Value>): boolean {
    const known = this.#byName.get(name)
    if (known !== undefined) {
      known.value = value
      return true
    }
    const kept = { name, value, source, badness }
    this.#byName.set(name, kept)
    const brought = this.#bySource.get(source) ?? []
    this.#bySource.set(source, brought)
    brought.splice(placeOf(kept, brought), 0, kept)
    if (this.size <= this.#limit) return true
    const dropped = this.#worst()
    this.delete(dropped.name)
    if (dropped !== kept) this.#onDropped(dropped.name, dropped.value)
    return dropped !== kept
  }

  delete(name: string): boolean {
    const kept = this.#byName.get(name)
    if (kept === undefined) return false
    this.#byName.delete(name)
    const brought = this.#bySource.get(kept.source) as Kept<Value>[]
    brought.splice(placeOf(kept, brought), 1)
    if (brought.length === 0) this.#bySource.delete(kept.source)
    return true
  }

  *[Symbol.iterator](): Generator<[string, Value]> {
    for (const [name, { value }] of this.#byName) yield [name, value]
  }

  #worst(): Kept<Value> {
    let worst: Kept<Value> | undefined
    let most = 0
    for (const brought of this.#bySource.values()) {
      const last = brought.at(-1) as Kept<Value>
      if (brought.length < most) continue
      if (brought.length > most || worst === undefined || isWorse(last, worst)) worst = last
      most = brought.length
    }
    return worst as Kept<Value>
  }
}

function isWorse<Value>(a: Kept<Value>, b: Kept<Value>): boolean {
  return a.badness === b.badness ? a.name > b.name : a.badness > b.badness
}

/** Where it is, or belongs, among others that are in order. */
function placeOf<Value>(kept: Kept<Value>, brought: readonly Kept<Value>[]): number {
  let from = 0
  let to = brought.length
  while (from < to) {
    const middle = (from + to) >> 1
    if (isWorse(kept, brought[middle] as Kept<Value>)) from = middle + 1
    else to = middle
  }
  return from
}
