/** How far away a seller is: one small answer over a connection that stands already. */
import type { Duplex } from 'node:stream'
import { guardedLookup, isPublicUrl } from './guarded-lookup.ts'
import { openHttpPool, type HttpPool } from './http-pool.ts'

export type RoundTrip =
  | { kind: 'measured'; rttMs: number }
  /** It leads into a private network, and those are not allowed. */
  | { kind: 'refused' }
  | { kind: 'unreachable' }

export interface TripRules {
  allowPrivate: boolean
  deadlineMs: number
  signal: AbortSignal
}

const maxHeaderBytes = 16 * 1024

/** Asks GET /healthz of a seller's URL twice and times the second. Throws only the signal's reason. */
export async function measureRoundTrip(url: string, rules: TripRules): Promise<RoundTrip> {
  const { allowPrivate } = rules
  if (!allowPrivate && !isPublicUrl(url)) return { kind: 'refused' }
  const { origin, pathname } = new URL(url)
  await using pool = openHttpPool(origin, {
    connections: 1,
    maxHeaderBytes,
    ...(!allowPrivate && { lookup: guardedLookup() }),
  })
  return await timeSecond(pool, pathname.replace(/\/+$/, ''), rules)
}

/** The same over a connection that `connect` gives. */
export async function measurePeerTrip(
  connect: (signal: AbortSignal) => Promise<Duplex>,
  rules: Omit<TripRules, 'allowPrivate'>,
): Promise<RoundTrip> {
  const signal = AbortSignal.any([rules.signal, AbortSignal.timeout(rules.deadlineMs)])
  await using pool = openHttpPool('http://peer.openseed', {
    connections: 1,
    maxHeaderBytes,
    connect: () => connect(signal),
  })
  return await timeSecond(pool, '', rules)
}

async function timeSecond(
  pool: HttpPool,
  prefix: string,
  { deadlineMs, signal }: Omit<TripRules, 'allowPrivate'>,
): Promise<RoundTrip> {
  const within = AbortSignal.any([signal, AbortSignal.timeout(deadlineMs)])
  try {
    await askHealth(pool, prefix, within)
    const startedMs = performance.now()
    const answered = await askHealth(pool, prefix, within)
    return answered === null ? { kind: 'unreachable' } : { kind: 'measured', rttMs: answered - startedMs }
  } catch {
    signal.throwIfAborted()
    return { kind: 'unreachable' }
  }
}
const mostAnswerBytes = 64 * 1024

/** When the answer began, null when it is not well. The rest is read, so that the connection can be used again. */
async function askHealth(pool: HttpPool, prefix: string, signal: AbortSignal): Promise<number | null> {
  const reply = await pool.ask({ method: 'GET', path: `${prefix}/healthz`, signal })
  const atMs = performance.now()
  let bytes = 0
  for await (const chunk of reply) {
    bytes += (chunk as Buffer).length
    if (bytes > mostAnswerBytes) return null
  }
  return reply.statusCode === 200 ? atMs : null
}
