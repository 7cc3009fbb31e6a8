/** The sellers of one model, cheapest first; kept in order, so that a query only reads. */
import type { PeerId } from '../wire/peer-id.ts'
import type { RecordModel } from '../wire/seller-record.ts'
import type { Entry } from './entry.ts'

export interface Row {
  /** (3 in + out) / 4 in atomic USDC per 1,000,000 tokens; 0 where no model is asked for. */
  price: bigint
  entry: Entry
  /** What the seller offers here; null where no model is asked for. */
  model: RecordModel | null
}

/** Where a row stands: by price, then by peer. */
export interface Place {
  price: bigint
  peer: PeerId
}

/** One price out of two, at the three prompt tokens to one generated that chats come to. */
export function rankPrice(model: RecordModel): bigint {
  return (3n * model.in + model.out) / 4n
}

export class Ranking {
  /** The index's version at the last change of any row. */
  version = 0
  /** The same, of changes other than of load. */
  news = 0
  readonly #rows: Row[] = []

  get rows(): readonly Row[] {
    return this.#rows
  }

  note(version: number, isNews: boolean): void {
    this.version = version
    if (isNews) this.news = version
  }

  add(row: Row): void {
    this.#rows.splice(this.after({ price: row.price, peer: row.entry.peer }), 0, row)
  }

  remove(place: Place): void {
    const at = this.after(place) - 1
    const row = this.#rows[at]
    if (row?.entry.peer === place.peer && row.price === place.price) this.#rows.splice(at, 1)
  }

  /** The index of the first row behind a place. */
  after(place: Place): number {
    let low = 0
    let high = this.#rows.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (isBehind(this.#rows[middle]!, place)) high = middle
      else low = middle + 1
    }
    return low
  }
}

function isBehind({ price, entry }: Row, place: Place): boolean {
  return price === place.price ? entry.peer > place.peer : price > place.price
}
