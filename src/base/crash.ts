declare const OPENSEED_BUNDLE: boolean | undefined

const crashAt =
  typeof OPENSEED_BUNDLE !== 'undefined' && OPENSEED_BUNDLE ? undefined : process.env['OPENSEED_CRASH_AT']

/**
 * A named step of a money path at which a test can kill the process as a power cut would: with SIGKILL, when the
 * environment variable OPENSEED_CRASH_AT equals the name. The build defines OPENSEED_BUNDLE, which leaves it empty.
 */
export function crashPoint(name: string): void {
  if (typeof OPENSEED_BUNDLE !== 'undefined' && OPENSEED_BUNDLE) return
  if (crashAt === name) process.kill(process.pid, 'SIGKILL')
}
