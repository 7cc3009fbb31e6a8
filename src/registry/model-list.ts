/** All models on sale, summed up over their live sellers. */
import type { Clock } from '../base/clock.ts'
import type { Ranking } from './ranking.ts'
import type { SellerIndex } from './seller-index.ts'

export interface ListedModel {
  id: string
  sellers: number
  live: number
  minIn: string | null
  minOut: string | null
  maxContext: number | null
}

const freshMs = 1_000

/** A list that is made at most once a second: everybody asks for the same one. */
export function openModelList(index: SellerIndex, now: Clock): () => readonly ListedModel[] {
  let made: { list: ListedModel[]; version: number; atMs: number } | null = null
  return () => {
    const { version } = index
    if (made !== null && (made.version === version || now() - made.atMs < freshMs)) return made.list
    const list = [...index.models]
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([id, ranking]) => sumUp(id, ranking))
    made = { list, version, atMs: now() }
    return list
  }
}

function sumUp(id: string, { rows }: Ranking): ListedModel {
  let sellers = 0
  let live = 0
  let minIn: bigint | null = null
  let minOut: bigint | null = null
  let maxContext: number | null = null
  for (const { entry, model } of rows) {
    if (model === null) continue
    sellers += 1
    if (entry.state !== 'live') continue
    live += 1
    if (minIn === null || model.in < minIn) minIn = model.in
    if (minOut === null || model.out < minOut) minOut = model.out
    if (maxContext === null || model.ctx > maxContext) maxContext = model.ctx
  }
  return {
    id,
    sellers,
    live,
    minIn: minIn?.toString() ?? null,
    minOut: minOut?.toString() ?? null,
    maxContext,
  }
}
