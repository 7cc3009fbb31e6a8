/** When a lookup has heard enough. It never waits for a whole query: that takes as long as its slowest dead node. */

export interface Patience {
  /** Holders that must say the same before the rest is not waited for. 1 takes the first answer. */
  agree: number
  /** The longest wait after the first answer, in milliseconds. */
  afterFirstMs: number
}

export interface Agreement<Answer> {
  answer: Answer
  /** How many different holders gave this answer. */
  holders: number
}

export interface Reply<Answer> {
  from: string
  answer: Answer
  /** Answers are the same when this is. */
  identity: string
  /** Of two answers the higher is believed. */
  rank: number
}

const shortestSettleMs = 150
const longestSettleMs = 500

/**
 * The highest ranking answer. When enough holders agree it listens on for as long again: nobody can forge a
 * higher rank, so one honest holder in time outweighs any number that give, faster, what was true before.
 */
export async function agreeOn<Answer>(
  replies: AsyncIterable<Reply<Answer>>,
  { agree, afterFirstMs }: Patience,
): Promise<Agreement<Answer> | null> {
  const startedAtMs = performance.now()
  const iterator = replies[Symbol.asyncIterator]()
  const holdersOf = new Map<string, Set<string>>()
  let best: Reply<Answer> | null = null
  let endsAtMs = Infinity
  const holders = () => (best === null ? 0 : (holdersOf.get(best.identity)?.size ?? 0))
  for (;;) {
    const reply = await nextBefore(iterator, endsAtMs)
    if (reply === null) break
    const nowMs = performance.now()
    if (best === null) endsAtMs = nowMs + afterFirstMs
    const named = holdersOf.get(reply.identity) ?? new Set()
    holdersOf.set(reply.identity, named.add(reply.from))
    if (best === null || reply.rank > best.rank || (reply.rank === best.rank && named.size > holders())) {
      best = reply
    }
    if (holders() < agree) continue
    if (agree === 1) break
    endsAtMs = Math.min(endsAtMs, nowMs + settleMs(startedAtMs, nowMs))
  }
  return best === null ? null : { answer: best.answer, holders: holders() }
}

/** The next value, or null at the end, after a failure, or when the time has come. */
async function nextBefore<Value>(iterator: AsyncIterator<Value>, atMs: number): Promise<Value | null> {
  const next = iterator.next().then(
    (result) => (result.done ? null : result.value),
    // A query that is aborted, at its deadline or because enough was heard, ends by throwing.
    () => null,
  )
  if (atMs === Infinity) return await next
  const leftMs = atMs - performance.now()
  if (leftMs <= 0) return null
  let timer: NodeJS.Timeout | undefined
  const alarm = new Promise<null>((resolve) => {
    timer = setTimeout(resolve, leftMs, null)
  })
  try {
    return await Promise.race([next, alarm])
  } finally {
    clearTimeout(timer)
  }
}

/**
 * The lists that holders gave, up to the moment when enough of them had and as long again; empty ones do not count.
 */
export async function gatherLists<Item>(
  replies: AsyncIterable<readonly Item[]>,
  { agree, afterFirstMs }: Patience,
): Promise<(readonly Item[])[]> {
  const startedAtMs = performance.now()
  const iterator = replies[Symbol.asyncIterator]()
  const lists: (readonly Item[])[] = []
  let endsAtMs = Infinity
  for (;;) {
    const list = await nextBefore(iterator, endsAtMs)
    if (list === null) return lists
    if (list.length === 0) continue
    const nowMs = performance.now()
    if (lists.length === 0) endsAtMs = nowMs + afterFirstMs
    lists.push(list)
    if (lists.length >= agree) endsAtMs = Math.min(endsAtMs, nowMs + settleMs(startedAtMs, nowMs))
  }
}

function settleMs(startedAtMs: number, nowMs: number): number {
  return Math.min(longestSettleMs, Math.max(shortestSettleMs, nowMs - startedAtMs))
}
