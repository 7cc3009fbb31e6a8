/** Several ways to one place, the better ones with a head start. */

export interface Contender<Value> {
  /** 0 is the best way; each rank starts a head start after the one before it. */
  rank: number
  open: (signal: AbortSignal) => Promise<Value>
}

export interface RaceOptions<Value> {
  headStartMs: number
  /** Ends all of them. */
  signal: AbortSignal
  /** Takes whatever opens besides the winner: ways better than it go on, the others are called off. */
  onLate: (value: Value, rank: number) => void
}

/**
 * Resolves with the first way that opens. A rank starts when its head start is over, or at once when all better ways
 * have failed. Throws the signal's reason, or an AggregateError when none opens.
 */
export async function raceDials<Value>(
  contenders: readonly Contender<Value>[],
  { headStartMs, signal, onLate }: RaceOptions<Value>,
): Promise<Value> {
  signal.throwIfAborted()
  const { promise, resolve, reject } = Promise.withResolvers<Value>()
  const ranks = [...new Set(contenders.map(({ rank }) => rank))].toSorted((a, b) => a - b)
  const errors: unknown[] = []
  const opening = new Map<AbortController, number>()
  let over = false

  const finish = (rank: number, reason: unknown) => {
    over = true
    signal.removeEventListener('abort', onAbort)
    for (const [stop, other] of opening) if (other >= rank) stop.abort(reason)
  }
  const onAbort = () => {
    finish(0, signal.reason)
    reject(signal.reason)
  }
  const run = async ({ rank, open }: Contender<Value>) => {
    const stop = new AbortController()
    opening.set(stop, rank)
    try {
      const value = await open(stop.signal)
      opening.delete(stop)
      if (over) return onLate(value, rank)
      resolve(value)
      finish(rank, new Error('another way was faster'))
    } catch (error) {
      opening.delete(stop)
      errors.push(error)
    }
  }

  signal.addEventListener('abort', onAbort, { once: true })
  const running: Promise<void>[] = []
  for (const [at, rank] of ranks.entries()) {
    running.push(...contenders.filter((contender) => contender.rank === rank).map(run))
    if (at === ranks.length - 1) break
    await headStart(headStartMs, [promise.catch(() => {}), Promise.all(running)])
    if (over) return await promise
  }
  // None of them rejects; when all are through and none has won, none will.
  await Promise.race([promise, Promise.all(running)])
  if (over) return await promise
  finish(0, null)
  throw new AggregateError(errors, 'no way opened')
}

/** Ends when one of the others settles, or when the time is over. */
async function headStart(ms: number, others: readonly Promise<unknown>[]): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, ms)
  await Promise.race([promise, ...others])
  clearTimeout(timer)
}
