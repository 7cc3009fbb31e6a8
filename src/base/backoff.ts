import { setTimeout as sleep } from 'node:timers/promises'

/** How often and how patiently to try again. */
export interface Patience {
  /** Tries in all, the first included. */
  attempts: number
  /** The wait after the first failure, in milliseconds; it doubles each time. */
  baseMs: number
  /** The longest wait, in milliseconds. */
  maxMs: number
  signal?: AbortSignal | undefined
  /** False for a failure that trying again cannot mend. All failures are retried without it. */
  shouldRetry?: ((thrown: unknown) => boolean) | undefined
}

/**
 * Calls `work` until it succeeds, fails for good or the tries are spent; then the last failure is thrown.
 * An abort during a wait throws the signal's reason at once.
 */
export async function retry<T>(work: (attempt: number) => Promise<T>, patience: Patience): Promise<T> {
  const { attempts, signal, shouldRetry } = patience
  for (let attempt = 1; ; attempt += 1) {
    signal?.throwIfAborted()
    try {
      return await work(attempt)
    } catch (thrown) {
      if (attempt >= attempts || signal?.aborted || shouldRetry?.(thrown) === false) throw thrown
    }
    await pause(waitMs(attempt, patience), signal)
  }
}

// Jitter between half and all of the wait: peers that failed together do not come back together.
function waitMs(attempt: number, { baseMs, maxMs }: Patience): number {
  const fullMs = Math.min(maxMs, baseMs * 2 ** (attempt - 1))
  return fullMs * (0.5 + Math.random() / 2)
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await sleep(ms, undefined, signal ? { signal } : {})
  } catch (thrown) {
    signal?.throwIfAborted()
    throw thrown
  }
}
