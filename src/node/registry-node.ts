/** A registry, put together: its index, what may enter it, its peers, its HTTP side. */
import { randomBytes } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { openRegistryClient, type RegistryClient, type RegistryIndexes } from '../net/registry-client.ts'
import type { Host } from '../net/p2p/open-host.ts'
import { openProbe } from '../net/seller-probe.ts'
import { openAdmission } from '../registry/admit.ts'
import { applyDeltas } from '../registry/deltas.ts'
import { openExchange } from '../registry/exchange.ts'
import { openRegistryServer } from '../registry/http.ts'
import { IndexBook } from '../registry/index-book.ts'
import { openProber } from '../registry/prober.ts'
import { RateLimit } from '../registry/rate-limit.ts'
import { openRoutes } from '../registry/routes.ts'
import { SellerIndex } from '../registry/seller-index.ts'
import { Waiting } from '../registry/waiting.ts'
import { judgeMultiaddr } from '../wire/address-policy.ts'
import type { DeltaItem } from '../wire/delta-batch.ts'
import { curve } from '../wire/curve.ts'
import { openDigests } from '../wire/digests.ts'
import type { NetworkTerms } from '../wire/network.ts'
import type { NodeKey } from '../wire/node-key.ts'
import type { IsValidSignature } from '../wire/peer-binding.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { joinDht } from './registry-dht.ts'

export interface RegistryNodeOptions {
  key: NodeKey
  network: NetworkTerms
  listen: { host: string; port: number }
  /** Told to others instead of where it listens. */
  publicUrl?: string | null
  /** URLs of registries to exchange news with. */
  peers: readonly string[]
  /** Lists sellers at private addresses too. */
  allowPrivate: boolean
  requestsPerSec: number
  trustForwarded: boolean
  /** Absent: wallets that are contracts are refused. */
  isValidSignature?: IsValidSignature
  build: string
  now: Clock
  log: Log
  exchangeEveryMs?: number
  /** Absent or null: no part among the peers: no DHT, no relay. */
  dht?: {
    listen: readonly string[]
    announce?: readonly string[]
    bootstrap: readonly string[]
    everyMs?: number
  } | null
  /** Whether sellers are asked if they are there; false unless told. */
  probe?: boolean
  /** How often each seller is asked. */
  probeEveryMs?: number
}

export interface RegistryNode extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly peerId: PeerId
  readonly index: SellerIndex
  /** Multiaddrs through which others join the DHT; none without a part in it. */
  dhtAddrs(): string[]
}

const burstSec = 5
const wakeEveryMs = 250
const sweepEveryMs = 1_000
const mostWaiting = 2_000
const peerDeadlineMs = 10_000
const probeDeadlineMs = 5_000
// Of one network: records choose whom a registry turns to.
const probesPerSec = 0.5
const probeBurst = 10
const meetingMs = 2_000
const addrsOfPeer = 4

/** Listens at once. Throws `port_in_use`. */
export async function startRegistryNode(options: RegistryNodeOptions): Promise<RegistryNode> {
  const { key, network, listen, now, log, build } = options
  // Short and without a dash: it stands in versions, before the number.
  const index = new SellerIndex({ now, epoch: randomBytes(6).toString('hex') })
  const admission = openAdmission({
    index,
    network: network.caip2,
    digests: openDigests(network),
    curve,
    isValidSignature: options.isValidSignature,
    allowPrivate: options.allowPrivate,
    now,
    log,
  })
  const apply = (items: readonly DeltaItem[], from: PeerId) =>
    applyDeltas(items, from, { index, admission, now })
  const waiting = new Waiting(mostWaiting)
  const book = new IndexBook({ key, build, allowPrivate: options.allowPrivate, now })

  await using stack = new AsyncDisposableStack()
  const learn = (from: string, indexes: RegistryIndexes) => book.learn(from, indexes)
  // A whole list of another registry takes longer than a client's question.
  const peers = options.peers.map((url) => openRegistryClient(url, { deadlineMs: peerDeadlineMs, now }))
  const { exchangeEveryMs: everyMs } = options
  const exchange = stack.use(
    openExchange({ peers, index, key, apply, learn, now, log, ...(everyMs !== undefined && { everyMs }) }),
  )
  const { requestsPerSec: perSec, trustForwarded } = options
  const server = stack.use(
    await openRegistryServer({
      ...listen,
      routes: openRoutes({
        index,
        admission,
        exchange,
        book,
        applyDeltas: apply,
        key,
        network: network.caip2,
        build,
        startedMs: now(),
        waiting,
        now,
      }),
      rateLimit: new RateLimit({ perSec, burst: perSec * burstSec, now }),
      trustForwarded,
      log,
    }),
  )
  book.setUrl(options.publicUrl ?? server.url)
  const { dht, allowPrivate } = options
  const joined = dht
    ? stack.use(
        await joinDht({
          ...dht,
          bootstrap: [...dht.bootstrap, ...(await addrsOf(peers, allowPrivate))],
          key,
          allowPrivate,
          index,
          book,
          now,
          log,
        }),
      )
    : null
  if (options.probe === true) stack.use(startProbing(options, index, joined?.host ?? null))
  for (const timer of [
    setInterval(() => index.sweep(), sweepEveryMs),
    setInterval(wakeOnNews(index, waiting), wakeEveryMs),
  ])
    stack.defer(() => clearInterval(timer))
  const parts = stack.move()
  return {
    url: server.url,
    port: server.port,
    peerId: key.peerId,
    index,
    dhtAddrs: () => joined?.host.addrs() ?? [],
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}

/** Where the peers are met, of those that answer now: whoever is started first is found by the others. */
async function addrsOf(peers: readonly RegistryClient[], allowPrivate: boolean): Promise<string[]> {
  const signal = AbortSignal.timeout(meetingMs)
  const records = await Promise.allSettled(peers.map((peer) => peer.index(signal)))
  return records.flatMap((record) => {
    if (record.status === 'rejected') return []
    const { peer, body } = record.value
    const isUsable = (addr: string) => {
      const verdict = judgeMultiaddr(addr)
      return (
        addr.endsWith(`/p2p/${peer}`) && (verdict === 'public' || (verdict === 'private' && allowPrivate))
      )
    }
    return body.addrs.filter(isUsable).slice(0, addrsOfPeer)
  })
}

function startProbing(options: RegistryNodeOptions, index: SellerIndex, host: Host | null): AsyncDisposable {
  const { allowPrivate, now, probeEveryMs } = options
  const asked = new RateLimit({ perSec: probesPerSec, burst: probeBurst, now })
  const mayAsk = (ip: string) => asked.take(ip, 1).ok
  const probe = openProbe({ host, allowPrivate, mayAsk, deadlineMs: probeDeadlineMs })
  return openProber({ index, probe, now, ...(probeEveryMs !== undefined && { everyMs: probeEveryMs }) })
}

function wakeOnNews(index: SellerIndex, waiting: Waiting): () => void {
  let seen = index.version
  return () => {
    if (index.version === seen) return
    seen = index.version
    waiting.wakeAll()
  }
}
