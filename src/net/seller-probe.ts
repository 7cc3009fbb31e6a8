/** Whether a seller answers, and how fast: one small question on the way that a buyer would take. */
import { lookup as systemLookup } from 'node:dns'
import { isIP, type LookupFunction } from 'node:net'
import { judgeMultiaddr } from '../wire/address-policy.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { guardedLookup, isPublicUrl, type Resolve } from './guarded-lookup.ts'
import { openHttpPool, type HttpPool } from './http-pool.ts'
import type { Host } from './p2p/open-host.ts'

export interface ProbeTarget {
  peer: PeerId
  url: string | null
  addrs: readonly string[]
}

export type ProbeOutcome =
  | { kind: 'answered'; via: 'url' | 'p2p'; rttMs: number }
  | { kind: 'silent' }
  /** Not asked: there is no place where it could be, or too much was asked there lately. */
  | { kind: 'spared' }

export type Probe = (target: ProbeTarget, signal: AbortSignal) => Promise<ProbeOutcome>

export interface ProbeParts {
  /** Null: sellers without a URL are spared. */
  host: Pick<Host, 'connect' | 'pathTo'> | null
  allowPrivate: boolean
  /** Whether this address may be asked once more now; records choose whom we turn to, so this is what bounds it. */
  mayAsk: (ip: string) => boolean
  deadlineMs: number
  /** The system's unless told. */
  resolve?: Resolve
}

const systemResolve: Resolve = (hostname, options, done) => systemLookup(hostname, options, done)
const mostAnswerBytes = 16 * 1024
const maxHeaderBytes = 8 * 1024

/** Never throws but the signal's reason. */
export function openProbe(parts: ProbeParts): Probe {
  return async (target, signal) => {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(parts.deadlineMs)])
    const ways = [overUrl(target, parts, limit), overHost(target, parts, limit)].filter((way) => way !== null)
    let outcome: ProbeOutcome = { kind: 'spared' }
    for (const { via, ask } of ways) {
      try {
        return { kind: 'answered', via, rttMs: await ask() }
      } catch (error) {
        signal.throwIfAborted()
        if (!(error instanceof Spared)) outcome = { kind: 'silent' }
      }
    }
    return outcome
  }
}

interface Way {
  via: 'url' | 'p2p'
  /** The round trip in milliseconds; throws when there is none. */
  ask: () => Promise<number>
}

class Spared extends Error {}

function overUrl({ url }: ProbeTarget, parts: ProbeParts, signal: AbortSignal): Way | null {
  const { allowPrivate, mayAsk, resolve = systemResolve } = parts
  if (url === null || (!allowPrivate && !isPublicUrl(url))) return null
  const { origin, pathname, hostname } = new URL(url)
  const ip = hostname.replace(/^\[|\]$/g, '')
  return {
    via: 'url',
    async ask() {
      // A name is judged when it is looked up.
      if (isIP(ip) !== 0 && !mayAsk(ip)) throw new Spared()
      await using pool = openHttpPool(origin, {
        connections: 1,
        maxHeaderBytes,
        lookup: sparing(allowPrivate ? resolve : guardedLookup(resolve), mayAsk),
      })
      return await timeAnswer(pool, pathname.replace(/\/+$/, ''), signal)
    },
  }
}

function overHost({ peer, addrs }: ProbeTarget, parts: ProbeParts, signal: AbortSignal): Way | null {
  const { host, allowPrivate, mayAsk } = parts
  const usable = addrs.filter((addr) => {
    const verdict = judgeMultiaddr(addr)
    return ipOf(addr) !== null && (verdict === 'public' || (verdict === 'private' && allowPrivate))
  })
  if (host === null || usable.length === 0) return null
  return {
    via: 'p2p',
    async ask() {
      const isMet = host.pathTo(peer) !== null
      const ips = new Set(usable.map(ipOf))
      const open = new Set([...ips].filter((ip) => ip !== null && (isMet || mayAsk(ip))))
      if (open.size === 0) throw new Spared()
      const target = { peer, addrs: usable.filter((addr) => open.has(ipOf(addr))) }
      await using pool = openHttpPool('http://seller.invalid', {
        connections: 1,
        maxHeaderBytes,
        connect: () => host.connect(target, { signal, brief: true }),
      })
      return await timeAnswer(pool, '', signal)
    },
  }
}

/** The second answer is timed: the first one waits for the connection. */
async function timeAnswer(pool: HttpPool, prefix: string, signal: AbortSignal): Promise<number> {
  const question = { method: 'GET', path: `${prefix}/healthz`, signal } as const
  await ask(pool, question)
  const startedMs = performance.now()
  await ask(pool, question)
  return performance.now() - startedMs
}

async function ask(pool: HttpPool, question: Parameters<HttpPool['ask']>[0]): Promise<void> {
  const reply = await pool.ask(question)
  let bytes = 0
  for await (const chunk of reply) {
    bytes += (chunk as Buffer).length
    if (bytes > mostAnswerBytes) throw new Error('too long an answer')
  }
  if (reply.statusCode !== 200) throw new Error(`answered ${reply.statusCode}`)
}

/** Of a name's addresses the first of each family, as far as they may be asked: a name may have any number. */
function sparing(lookup: Resolve | LookupFunction, mayAsk: (ip: string) => boolean): LookupFunction {
  return (hostname, options, done) => {
    lookup(hostname, { family: 0, all: true }, (error, found) => {
      if (error !== null) return done(error, [])
      const all = typeof found === 'string' ? [] : found
      const first = [4, 6].flatMap((family) => all.find((one) => one.family === family) ?? [])
      const open = first.filter(({ address }) => mayAsk(address))
      if (open[0] === undefined) return done(new Spared(), [])
      if (options.all === true) done(null, open)
      else done(null, open[0].address, open[0].family)
    })
  }
}

/** The first host of a multiaddr: the relay's, where there is one. */
function ipOf(addr: string): string | null {
  return /^\/ip[46]\/([^/]+)\//.exec(addr)?.[1] ?? null
}
