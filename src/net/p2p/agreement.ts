/**
 * When a lookup has heard enough. Nobody can forge a newer record than its author signed, so liars can only keep
 * silent or play back what was true before; both fail as soon as one holder that knows better has answered. How many
 * must answer is counted among the nearest peers and not in time: a slow reader is as safe as a quick one.
 */
import { mostOf, type Standing } from './shortlist.ts'
import type { Heard } from './walk.ts'

export interface Claim<Answer> {
  answer: Answer
  /** Answers are the same when this is. */
  identity: string
  /** Of two answers the higher is believed. */
  rank: number
}

export interface Agreement<Answer> {
  answer: Answer
  /** How many different holders gave this answer. */
  holders: number
}

/** What was heard so far, and how much of the neighbourhood that is. */
export interface Hearing<Answer> {
  heard: AsyncIterable<Heard<Answer> | null>
  standing: () => Standing
}

/**
 * Two thirds of the nearest have answered, and none of the nearest two thirds is still to come: whoever was heard first
 * may have been near only as long as nobody nearer was known.
 */
export function isHeard({ known, answered, awaited }: Standing): boolean {
  return known > 0 && awaited === 0 && answered >= mostOf(known)
}

/**
 * The highest ranking claim, when enough have answered or all have; null where nobody made any. With `first` the first
 * claim is taken, and that there is none is believed of enough.
 */
export async function agreeOn<Answer>(
  { heard, standing }: Hearing<Claim<Answer> | null>,
  { first }: { first: boolean },
): Promise<Agreement<Answer> | null> {
  const holdersOf = new Map<string, Set<string>>()
  const count = ({ identity }: Claim<Answer>) => holdersOf.get(identity)?.size ?? 0
  let best: Claim<Answer> | null = null
  for await (const reply of heard) {
    const claim = reply?.answer ?? null
    if (reply !== null && claim !== null) {
      holdersOf.set(claim.identity, (holdersOf.get(claim.identity) ?? new Set()).add(reply.from))
      const isBetter =
        best === null || claim.rank > best.rank || (claim.rank === best.rank && count(claim) > count(best))
      if (isBetter) best = claim
    }
    // Else that there is nothing is believed only when nobody is left to ask.
    if (best === null ? first && isHeard(standing()) : first || isHeard(standing())) break
  }
  return best === null ? null : { answer: best.answer, holders: count(best) }
}

/** The lists that holders gave until enough of them had; empty ones do not count. */
export async function gatherLists<Item>({
  heard,
  standing,
}: Hearing<readonly Item[]>): Promise<(readonly Item[])[]> {
  const lists: (readonly Item[])[] = []
  for await (const reply of heard) {
    if (reply !== null && reply.answer.length > 0) lists.push(reply.answer)
    if (isHeard(standing())) break
  }
  return lists
}
