import { randomFillSync } from 'node:crypto'

const poolWords = 128

/** Gives 32 random bytes as hex at a time. Filled in bulk: one system call for each id costs more than a signature. */
export function openRandomWords(): () => `0x${string}` {
  const pool = Buffer.alloc(poolWords * 32)
  let at = pool.length
  return () => {
    if (at === pool.length) {
      randomFillSync(pool)
      at = 0
    }
    const word = pool.toString('hex', at, at + 32)
    // What was handed out is not kept.
    pool.fill(0, at, at + 32)
    at += 32
    return `0x${word}`
  }
}
