import type { OpenSeedError } from './errors.ts'

/**
 * Waits for `work` at most `ms` milliseconds, then rejects with the error that `makeError` names the cause by.
 * The work itself is not stopped: hand it an AbortSignal for that. The timer never outlives the wait.
 */
export function withDeadline<T>(work: Promise<T>, ms: number, makeError: () => OpenSeedError): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(makeError()), ms)
    work.finally(() => clearTimeout(timer)).then(resolve, reject)
  })
}
