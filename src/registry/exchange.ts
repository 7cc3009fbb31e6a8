/** Keeps this registry and its peers of one mind: every two seconds each hears the other's news. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { asOpenSeedError, hasCode } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { RegistryClient, RegistryIndexes } from '../net/registry-client.ts'
import { signBatch, type DeltaItem } from '../wire/delta-batch.ts'
import type { NodeKey } from '../wire/node-key.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { deltaText } from './deltas.ts'
import type { SellerIndex } from './seller-index.ts'

export interface ExchangeParts {
  peers: readonly RegistryClient[]
  index: SellerIndex
  key: NodeKey
  apply: (items: readonly DeltaItem[], from: PeerId) => Promise<void>
  /** Takes what a peer says about itself and the registries it knows. */
  learn: (url: string, indexes: RegistryIndexes) => void
  now: Clock
  log: Log
  everyMs?: number
}

export interface PeerStatus {
  url: string
  /** Null until it answered. */
  peer: PeerId | null
  lastOkMs: number | null
  /** Failures in a row. */
  failures: number
}

export interface Exchange extends AsyncDisposable {
  readonly peers: readonly Readonly<PeerStatus>[]
  /** True for a registry that is a configured peer and has answered. */
  isPeer(peer: PeerId): boolean
}

const usualEveryMs = 2_000
const longestPauseMs = 60_000
const indexEveryMs = 5 * 60_000
// More than the longest list has: a peer that always knows more is heard at the usual pace.
const mostPieces = 200

/** Starts exchanging. Runs until it is disposed of. */
export function openExchange(parts: ExchangeParts): Exchange {
  const { everyMs = usualEveryMs, log } = parts
  const stop = new AbortController()
  const lanes = parts.peers.map((client) => new Lane(client, parts))
  const running = Promise.all(lanes.map((lane) => lane.run(everyMs, stop.signal, log)))
  return {
    peers: lanes.map(({ status }) => status),
    isPeer: (peer) => lanes.some(({ status }) => status.peer === peer),
    async [Symbol.asyncDispose]() {
      stop.abort()
      await Promise.all(parts.peers.map((client) => client.close()))
      await running
    },
  }
}

class Lane {
  readonly status: PeerStatus
  readonly #client: RegistryClient
  readonly #parts: ExchangeParts
  /** What the other has of ours, and we of it. */
  #sent: string | null = null
  #taken: string | undefined
  #indexAtMs: number | null = null

  constructor(client: RegistryClient, parts: ExchangeParts) {
    this.#client = client
    this.#parts = parts
    this.status = { url: client.url, peer: null, lastOkMs: null, failures: 0 }
  }

  async run(everyMs: number, signal: AbortSignal, log: Log): Promise<void> {
    let pieces = 0
    while (!signal.aborted) {
      const waitMs = await this.#round(signal, log).then(
        (more) => {
          pieces = more ? pieces + 1 : 0
          return more && pieces < mostPieces ? 0 : everyMs
        },
        (error: unknown) =>
          allowedInMs(error) ?? Math.min(longestPauseMs, everyMs * 2 ** Math.min(this.status.failures, 8)),
      )
      await pause(waitMs, undefined, { signal }).catch(() => undefined)
    }
  }

  async #round(signal: AbortSignal, log: Log): Promise<boolean> {
    const { status } = this
    try {
      const more = await this.#swap()
      await this.#askIndex(signal)
      if (status.failures > 0) log.info({ registry: status.url }, 'a peer registry is back')
      status.failures = 0
      status.lastOkMs = this.#parts.now()
      return more
    } catch (thrown) {
      if (allowedInMs(thrown) !== null) throw thrown
      status.failures += 1
      const error = asOpenSeedError(thrown)
      if (status.failures === 1 && !signal.aborted)
        log.warn({ registry: status.url, err: error }, 'a peer registry does not answer; trying on')
      throw error
    }
  }

  async #askIndex(signal: AbortSignal): Promise<void> {
    const { learn, now } = this.#parts
    if (this.#indexAtMs !== null && now() - this.#indexAtMs < indexEveryMs) return
    this.#indexAtMs = now()
    // News of sellers do not depend on it.
    const indexes = await this.#client.indexes(signal).catch(() => null)
    if (indexes?.record.peer === this.status.peer) learn(this.status.url, indexes)
  }

  /** One exchange. True when either side has more at once. */
  async #swap(): Promise<boolean> {
    const { index, key, apply } = this.#parts
    const mine = deltaText(index, this.#sent, this.status.peer)
    const { peer, batch } = await this.#client.exchange(signBatch(key, mine.text), this.#taken)
    this.status.peer = peer
    await apply(batch.items, peer)
    // Having forgotten what it told us, it has forgotten what we told it.
    this.#sent = batch.reset ? null : mine.version
    this.#taken = batch.version
    return mine.more || batch.more || batch.reset
  }
}

// A long list is taken in the pieces that the other one's limit allows.
function allowedInMs(error: unknown): number | null {
  if (!hasCode(error, 'rate_limit_exceeded')) return null
  const { retryAfterSec } = error.details ?? {}
  return typeof retryAfterSec === 'number' ? Math.min(longestPauseMs, retryAfterSec * 1_000) : longestPauseMs
}
