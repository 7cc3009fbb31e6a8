import { after } from './after.ts'

/** Runs a piece of work when its turn comes; gives what the work gives. */
export type InTurn = <T>(work: () => Promise<T>) => Promise<T>

/**
 * Lets at most `most` pieces of work run at the same time; the others wait in the order in which they came. Work that
 * takes longer than `patienceMs` goes on, and its place is given to the next: slow pieces do not hold up the others.
 */
export function atOnce(most: number, patienceMs?: number): InTurn {
  const waiting: (() => void)[] = []
  let running = 0
  // Whoever is next takes over the place, so that nobody who comes meanwhile can.
  const giveOn = () => {
    const next = waiting.shift()
    if (next === undefined) running -= 1
    else next()
  }
  return async (work) => {
    if (running < most) running += 1
    else await new Promise<void>((resolve) => waiting.push(resolve))
    let isHeld = true
    const leave = () => {
      if (isHeld) giveOn()
      isHeld = false
    }
    const inTime = patienceMs === undefined ? null : after(patienceMs, leave)
    try {
      return await work()
    } finally {
      inTime?.()
      leave()
    }
  }
}
