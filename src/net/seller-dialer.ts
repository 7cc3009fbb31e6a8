/** Ways to a seller that is met by its peer id: its URL, its peer straight, its peer through a relay. */
import { OpenSeedError } from '../base/errors.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { raceDials, type Contender } from './dial-race.ts'
import { guardedLookup } from './guarded-lookup.ts'
import type { Host } from './p2p/open-host.ts'
import type { SellerPath, SellerSocket } from './seller-lines.ts'
import { openUrlSocket } from './url-socket.ts'

/** Where a seller's record leads; addresses that may not be dialled are gone already. */
export interface DialTarget {
  url: string | null
  addrs: readonly string[]
}

export interface SellerDialerOptions {
  /** Opens the host when it is needed first. */
  host: () => Promise<Pick<Host, 'connect' | 'pathTo' | 'onBetterPath'>>
  /** null when nothing is known of the peer. */
  targetOf: (peer: PeerId) => Promise<DialTarget | null>
  /** The names in URLs may lead into private networks. */
  allowPrivate: boolean
  /** A better way was found than the one in use. */
  onBetterPath: (peer: PeerId) => void
  connectTimeoutMs?: number
  /** While a seller is reached through a relay: how often something better is tried. */
  lookAgainMs?: number
}

export interface SellerDialer extends AsyncDisposable {
  dial(peer: PeerId, signal: AbortSignal): Promise<SellerSocket>
  /** The way that worked last; null when none did yet. */
  remembered(peer: PeerId): SellerPath | null
}

const headStartMs = 150

export function openSellerDialer(options: SellerDialerOptions): SellerDialer {
  const { targetOf, connectTimeoutMs = 5_000, lookAgainMs = 60_000 } = options
  const won = new Map<PeerId, SellerPath>()
  const looking = new Map<PeerId, NodeJS.Timeout>()
  const closed = new AbortController()
  const lookup = options.allowPrivate ? {} : { lookup: guardedLookup() }
  let opened: ReturnType<SellerDialerOptions['host']> | null = null
  let stopListening = () => {}

  async function openHost() {
    opened ??= options.host().then((host) => {
      stopListening = host.onBetterPath(better)
      return host
    })
    try {
      return await opened
    } catch (error) {
      opened = null
      throw error
    }
  }

  async function openUrl(url: string, signal: AbortSignal): Promise<SellerSocket> {
    return { socket: await openUrlSocket(url, { ...lookup, signal }), path: 'url', base: url }
  }

  async function openPeer(
    peer: PeerId,
    addrs: readonly string[],
    signal: AbortSignal,
  ): Promise<SellerSocket> {
    const host = await openHost()
    const socket = await host.connect({ peer, addrs }, { signal })
    return { socket, path: socket.path }
  }

  async function dial(peer: PeerId, signal: AbortSignal): Promise<SellerSocket> {
    const target = await targetOf(peer)
    const ways: Contender<SellerSocket>[] = []
    // What worked last goes first; the other way follows when it does not work at once.
    const last = won.get(peer)
    const urlRank = last === 'direct' || last === 'relayed' ? 1 : 0
    const { url = null, addrs = [] } = target ?? {}
    if (url !== null) ways.push({ rank: urlRank, open: (stop) => openUrl(url, stop) })
    if (addrs.length > 0) ways.push({ rank: 1 - urlRank, open: (stop) => openPeer(peer, addrs, stop) })
    if (ways.length === 0)
      throw unreachable(peer, target === null ? 'nothing is known of it' : 'no way to it may be taken')
    const socket = await race(peer, ways, signal)
    won.set(peer, socket.path)
    if (socket.path === 'relayed') lookAgain(peer)
    return socket
  }

  async function race(
    peer: PeerId,
    ways: Contender<SellerSocket>[],
    signal: AbortSignal,
  ): Promise<SellerSocket> {
    try {
      return await raceDials(ways, {
        headStartMs,
        signal: AbortSignal.any([signal, closed.signal]),
        onLate: ({ socket }) => socket.destroy(),
      })
    } catch (error) {
      signal.throwIfAborted()
      if (!(error instanceof AggregateError)) throw error
      const [first, ...others] = error.errors as unknown[]
      // It says already whom it is about.
      if (others.length === 0 && first instanceof OpenSeedError) throw first
      const reasons = error.errors.map((each) => (each instanceof Error ? each.message : String(each)))
      throw unreachable(peer, reasons.map((reason) => reason.replace(/\.$/, '')).join('; '), error)
    }
  }

  function lookAgain(peer: PeerId): void {
    if (looking.has(peer) || closed.signal.aborted) return
    const timer = setTimeout(() => {
      looking.delete(peer)
      void lookNow(peer).catch(() => {})
    }, lookAgainMs)
    looking.set(peer, timer.unref())
  }

  async function lookNow(peer: PeerId): Promise<void> {
    const host = await openHost()
    if (won.get(peer) !== 'relayed' || host.pathTo(peer) === null) return
    const { url = null, addrs = [] } = (await targetOf(peer)) ?? {}
    const signal = AbortSignal.any([closed.signal, AbortSignal.timeout(connectTimeoutMs)])
    if (url !== null) {
      const reached = await openUrl(url, signal).catch(() => null)
      reached?.socket.destroy()
      if (reached !== null) return better(peer, 'url')
    }
    // Makes the host try the straight way; it says so when that comes up.
    const asked = await host.connect({ peer, addrs }, { signal }).catch(() => null)
    asked?.destroy()
    lookAgain(peer)
  }

  function better(peer: PeerId, path: SellerPath = 'direct'): void {
    if (won.get(peer) !== 'relayed') return
    won.set(peer, path)
    options.onBetterPath(peer)
  }

  return {
    dial,
    remembered: (peer) => won.get(peer) ?? null,
    async [Symbol.asyncDispose]() {
      closed.abort(new OpenSeedError('request_aborted', { message: 'The connections were closed.' }))
      for (const timer of looking.values()) clearTimeout(timer)
      stopListening()
    },
  }
}

function unreachable(peer: PeerId, reason: string, cause?: unknown): OpenSeedError {
  return new OpenSeedError('seller_unreachable', { message: `${peer} cannot be reached: ${reason}.`, cause })
}
