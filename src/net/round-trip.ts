/** How far away a seller is: one small answer over a connection that stands already. */
import { Pool } from 'undici'
import { guardedLookup, isPublicUrl } from './guarded-lookup.ts'

export type RoundTrip =
  | { kind: 'measured'; rttMs: number }
  /** It leads into a private network, and those are not allowed. */
  | { kind: 'refused' }
  | { kind: 'unreachable' }

const mostAnswerBytes = 64 * 1024

/** Asks GET /healthz twice and times the second. Throws only the signal's reason. */
export async function measureRoundTrip(
  url: string,
  { allowPrivate, deadlineMs, signal }: { allowPrivate: boolean; deadlineMs: number; signal: AbortSignal },
): Promise<RoundTrip> {
  if (!allowPrivate && !isPublicUrl(url)) return { kind: 'refused' }
  const { origin, pathname } = new URL(url)
  const pool = new Pool(origin, {
    connections: 1,
    connect: { timeout: deadlineMs, ...(allowPrivate ? {} : { lookup: guardedLookup() }) },
    headersTimeout: 0,
    bodyTimeout: 0,
  })
  const request = {
    method: 'GET',
    path: `${pathname.replace(/\/+$/, '')}/healthz`,
    signal: AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)]),
  } as const
  try {
    const first = await pool.request(request)
    await first.body.dump({ limit: mostAnswerBytes })
    const startedMs = performance.now()
    const second = await pool.request(request)
    const rttMs = performance.now() - startedMs
    await second.body.dump({ limit: mostAnswerBytes })
    return second.statusCode === 200 ? { kind: 'measured', rttMs } : { kind: 'unreachable' }
  } catch {
    signal.throwIfAborted()
    return { kind: 'unreachable' }
  } finally {
    await pool.destroy()
  }
}
