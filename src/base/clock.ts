/** Wall-clock time in milliseconds since the epoch. Handed in, so that time is a value in tests. */
export type Clock = () => number

/** The machine's clock. */
export const systemClock: Clock = () => Date.now()
