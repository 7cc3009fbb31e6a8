/** Which announced sellers to keep signed terms of: enough that a request never waits, few enough to ask. Pure. */
import type { AnnouncedSeller } from './announced.ts'

const mostWarm = 64
const perModel = 3
const perWantedModel = 8

/**
 * All sellers of a small market. Of a large one the cheapest of each model, more of those models that were asked for,
 * and of those that announce no models as many as there is room for. Those that fail come after all others: else a
 * few that only look cheap would keep everybody else out.
 */
export function chooseWarm(
  sellers: readonly AnnouncedSeller[],
  wanted: ReadonlySet<string>,
  fails: (url: string) => boolean,
): AnnouncedSeller[] {
  if (sellers.length <= mostWarm) return [...sellers]
  const chosen = new Set<AnnouncedSeller>()
  const byModel = rankByModel(sellers, fails)
  for (const model of wanted) {
    for (const seller of (byModel.get(model) ?? []).slice(0, perWantedModel)) chosen.add(seller)
  }
  for (let rank = 0; rank < perModel; rank += 1) {
    for (const ranked of byModel.values()) {
      const seller = ranked[rank]
      if (seller !== undefined && chosen.size < mostWarm) chosen.add(seller)
    }
  }
  for (const seller of sellers) {
    if (chosen.size >= mostWarm) break
    if (seller.models === null) chosen.add(seller)
  }
  return [...chosen]
}

interface Priced {
  seller: AnnouncedSeller
  isFailing: boolean
  price: bigint
}

function rankByModel(
  sellers: readonly AnnouncedSeller[],
  fails: (url: string) => boolean,
): Map<string, AnnouncedSeller[]> {
  const priced = new Map<string, Priced[]>()
  for (const seller of sellers) {
    const isFailing = fails(seller.url)
    for (const { id, priceIn, priceOut } of seller.models ?? []) {
      const ranked = priced.get(id) ?? []
      ranked.push({ seller, isFailing, price: priceIn + priceOut })
      priced.set(id, ranked)
    }
  }
  const order = ({ seller, isFailing, price }: Priced) =>
    [isFailing, seller.isFull, price, seller.peer] as const
  return new Map(
    [...priced].map(([model, ranked]) => [
      model,
      ranked.toSorted((a, b) => compare(order(a), order(b))).map(({ seller }) => seller),
    ]),
  )
}

type Order = readonly [isFailing: boolean, isFull: boolean, price: bigint, peer: string]

function compare(a: Order, b: Order): number {
  const at = a.findIndex((value, index) => value !== b[index])
  if (at < 0) return 0
  return a[at]! < b[at]! ? -1 : 1
}
