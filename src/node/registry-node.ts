/** A registry, put together: its index, what may enter it, its peers, its HTTP side. */
import { randomBytes } from 'node:crypto'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { openRegistryClient } from '../net/registry-client.ts'
import { openAdmission } from '../registry/admit.ts'
import { applyDeltas } from '../registry/deltas.ts'
import { openExchange } from '../registry/exchange.ts'
import { openRegistryServer } from '../registry/http.ts'
import { RateLimit } from '../registry/rate-limit.ts'
import { openRoutes } from '../registry/routes.ts'
import { SellerIndex } from '../registry/seller-index.ts'
import { Waiting } from '../registry/waiting.ts'
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
  /** Absent: no part in the DHT. */
  dht?: { listen: readonly string[]; bootstrap: readonly string[]; everyMs?: number }
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

  await using stack = new AsyncDisposableStack()
  // A whole list of another registry takes longer than a client's question.
  const peers = options.peers.map((url) => openRegistryClient(url, { deadlineMs: peerDeadlineMs, now }))
  const { exchangeEveryMs: everyMs } = options
  const exchange = stack.use(
    openExchange({ peers, index, key, apply, now, log, ...(everyMs !== undefined && { everyMs }) }),
  )
  const { requestsPerSec: perSec, trustForwarded } = options
  const server = stack.use(
    await openRegistryServer({
      ...listen,
      routes: openRoutes({
        index,
        admission,
        exchange,
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
  const dht =
    options.dht === undefined
      ? null
      : stack.use(await joinDht({ ...options.dht, key, allowPrivate: options.allowPrivate, index, now, log }))
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
    dhtAddrs: () => dht?.addrs() ?? [],
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  }
}

function wakeOnNews(index: SellerIndex, waiting: Waiting): () => void {
  let seen = index.version
  return () => {
    if (index.version === seen) return
    seen = index.version
    waiting.wakeAll()
  }
}
