/** Runs a piece of work when its turn comes; gives what the work gives. */
export type InTurn = <T>(work: () => Promise<T>) => Promise<T>

/** Lets at most `most` pieces of work run at the same time; the others wait in the order in which they came. */
export function atOnce(most: number): InTurn {
  const waiting: (() => void)[] = []
  let running = 0
  return async (work) => {
    if (running < most) running += 1
    else await new Promise<void>((resolve) => waiting.push(resolve))
    try {
      return await work()
    } finally {
      // Whoever is next takes over this place, so that nobody who comes meanwhile can.
      const next = waiting.shift()
      if (next === undefined) running -= 1
      else next()
    }
  }
}
