/** Sellers met on the local network: each is asked, over a connection that proves who it is, what it says of itself. */
import { atOnce } from '../base/at-once.ts'
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { parseJsonBody } from '../wire/chat.ts'
import type { PeerId } from '../wire/peer-id.ts'
import type { PeerTarget } from './p2p/open-host.ts'
import { readBody } from './read-body.ts'
import type { SellerClient } from './seller-client.ts'
import { parseSellerNews, type SellerNews } from './seller-news.ts'

export interface LanFeedParts {
  /** Connections to whoever was met there; the feed closes what it opens. */
  clientOf: (target: PeerTarget) => Pick<SellerClient, 'request' | 'close'>
  onFound: (news: readonly SellerNews[]) => Promise<unknown>
  now: Clock
  log: Log
}

export interface LanFeed extends AsyncDisposable {
  /** Asks the peer what it sells, unless it was asked a moment ago. */
  met(target: PeerTarget): void
}

const recordPath = '/openseed/v1/record'
const mostPeers = 256
const mostAsked = 4
const againMs = 60_000
const retryMs = 10_000
const answerWithinMs = 5_000
const maxAnswerBytes = 16 * 1024

export function openLanFeed({ clientOf, onFound, now, log }: LanFeedParts): LanFeed {
  const stop = new AbortController()
  const askAgainMs = new Map<PeerId, number>()
  const running = new Set<Promise<void>>()
  const inTurn = atOnce(mostAsked)

  async function ask(target: PeerTarget): Promise<SellerNews> {
    const client = clientOf(target)
    try {
      const { status, body } = await client.request({
        method: 'GET',
        path: recordPath,
        headers: { accept: 'application/json' },
        signal: AbortSignal.any([stop.signal, AbortSignal.timeout(answerWithinMs)]),
        firstByteTimeoutMs: answerWithinMs,
        idleTimeoutMs: answerWithinMs,
      })
      const bytes = await readBody(body, maxAnswerBytes)
      const { peer } = target
      const news = status === 200 ? parseSellerNews(parseJsonBody(bytes), { peer, nowMs: now() }) : null
      if (news !== null) return { ...news, metAt: target.addrs }
      throw new OpenSeedError('seller_failed', { message: `${peer} does not say what it sells (${status}).` })
    } finally {
      await client.close()
    }
  }

  async function meet(target: PeerTarget): Promise<void> {
    if (stop.signal.aborted) return
    try {
      await onFound([await ask(target)])
      askAgainMs.set(target.peer, now() + againMs)
    } catch (err) {
      // Buyers and registries announce themselves as well.
      log.debug({ peer: target.peer, err }, 'a neighbour is no seller')
    }
  }

  return {
    met(target) {
      const { peer } = target
      if (stop.signal.aborted || (askAgainMs.get(peer) ?? 0) > now()) return
      askAgainMs.delete(peer)
      askAgainMs.set(peer, now() + retryMs)
      const [oldest] = askAgainMs.keys()
      if (askAgainMs.size > mostPeers && oldest !== undefined) askAgainMs.delete(oldest)
      const work: Promise<void> = inTurn(() => meet(target)).finally(() => running.delete(work))
      running.add(work)
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      await Promise.all(running)
    },
  }
}
