/** Keeps a node that nobody can dial reachable: at two relays, whatever happens to them. */
import type { Connection, Libp2p } from '@libp2p/interface'
import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import { askForPlace, circuitAddr } from './relay-reserve.ts'

export interface RelayKeeper {
  /** Multiaddrs of relays, each with its /p2p/ part; replaces what was wanted before. */
  want(relays: readonly string[]): void
  /** Where this node can be met now: a circuit multiaddr for each relay that holds a place for it. */
  held(): string[]
}

export interface KeeperOptions {
  /** Ends all of it. */
  stopped: AbortSignal
  /** Called when `held()` has changed. */
  onChange: () => void
}

type RelayNode = Pick<
  Libp2p,
  'dial' | 'getConnections' | 'peerId' | 'peerStore' | 'addEventListener' | 'removeEventListener'
>

interface Relay {
  peer: string
  addrs: Multiaddr[]
  failures: number
  tryAtMs: number
  /** When the attempt that runs has begun. */
  tryingSinceMs: number | null
  missingSinceMs: number
}

interface Held {
  connection: Connection
  addr: string
  renewal: ReturnType<typeof setTimeout>
}

const wantedCount = 2
const attemptMs = 3_000
// An attempt that takes longer does not keep another relay from being tried.
const slowMs = 750
const firstWaitMs = 500
const longestWaitMs = 5_000
// A relay that restarts is back within this time, and waited for closely.
const restartMs = 5 * 60_000
// What a relay says of the time, and of how long it keeps a place, is not relied on.
const soonestRenewalMs = 60_000
const latestRenewalMs = 30 * 60_000
const relayTag = 'openseed-relay'

export function openRelayKeeper(node: RelayNode, options: KeeperOptions): RelayKeeper {
  return new Keeper(node, options)
}

class Keeper implements RelayKeeper {
  readonly #node: RelayNode
  readonly #stopped: AbortSignal
  readonly #onChange: () => void
  readonly #held = new Map<string, Held>()
  #wanted = new Map<string, Relay>()
  #timer: ReturnType<typeof setTimeout> | undefined

  constructor(node: RelayNode, { stopped, onChange }: KeeperOptions) {
    this.#node = node
    this.#stopped = stopped
    this.#onChange = onChange
    node.addEventListener('connection:close', this.#onGone)
    stopped.addEventListener('abort', () => this.#end(), { once: true })
  }

  want(relays: readonly string[]): void {
    const wanted = new Map<string, Relay>()
    for (const { peer, addr } of relays.flatMap(relayOf)) {
      if (peer === this.#node.peerId.toString()) continue
      const listed = wanted.get(peer)
      if (listed === undefined)
        wanted.set(peer, { ...unknown(peer), ...this.#wanted.get(peer), addrs: [addr] })
      else listed.addrs.push(addr)
    }
    this.#wanted = wanted
    const dropped = [...this.#held.keys()].filter((peer) => !wanted.has(peer))
    for (const peer of dropped) this.#forget(peer)
    if (dropped.length > 0) this.#onChange()
    this.#fill()
  }

  held(): string[] {
    return [...this.#held.values()].map(({ addr }) => addr)
  }

  #end(): void {
    clearTimeout(this.#timer)
    this.#node.removeEventListener('connection:close', this.#onGone)
    for (const peer of this.#held.keys()) this.#forget(peer)
  }

  /** Tries as many relays as places are missing, the most reliable first. */
  #fill(): void {
    clearTimeout(this.#timer)
    if (this.#stopped.aborted || this.#held.size >= wantedCount) return
    const nowMs = performance.now()
    const missing = [...this.#wanted.values()].filter(({ peer }) => !this.#held.has(peer))
    const idle = missing.filter(({ tryingSinceMs }) => tryingSinceMs === null)
    const trying = missing.filter(
      ({ tryingSinceMs }) => tryingSinceMs !== null && tryingSinceMs + slowMs > nowMs,
    )
    const ready = idle.filter(({ tryAtMs }) => tryAtMs <= nowMs).toSorted((a, b) => a.failures - b.failures)
    for (const relay of ready.slice(0, Math.max(0, wantedCount - this.#held.size - trying.length))) {
      relay.tryingSinceMs = nowMs
      trying.push(relay)
      void this.#try(relay)
    }
    const next = [
      ...idle.filter(({ tryAtMs }) => tryAtMs > nowMs).map(({ tryAtMs }) => tryAtMs),
      ...trying.map(({ tryingSinceMs }) => (tryingSinceMs ?? nowMs) + slowMs),
    ]
    if (next.length === 0) return
    this.#timer = setTimeout(() => this.#fill(), Math.min(...next) - nowMs)
    this.#timer.unref()
  }

  async #try(relay: Relay): Promise<void> {
    let reached = false
    try {
      const signal = AbortSignal.any([this.#stopped, AbortSignal.timeout(attemptMs)])
      const connection = await this.#reach(relay, signal)
      reached = true
      if (await this.#reserve(relay.peer, connection, signal)) this.#onChange()
    } catch {
      // It counts as a failure below, as a refusal does.
    }
    this.#tried(relay.peer, reached)
    this.#fill()
  }

  #tried(peer: string, reached: boolean): void {
    const relay = this.#wanted.get(peer)
    if (relay === undefined) return
    relay.tryingSinceMs = null
    if (this.#held.has(peer)) {
      relay.failures = 0
      return
    }
    relay.failures += 1
    const nowMs = performance.now()
    const doubled = Math.min(longestWaitMs, firstWaitMs * 2 ** (relay.failures - 1))
    // One that refuses is there, and will not soon think otherwise.
    const waitMs = !reached && nowMs - relay.missingSinceMs < restartMs ? firstWaitMs : doubled
    // Those that lost a relay together do not come back together.
    relay.tryAtMs = nowMs + waitMs * (0.7 + Math.random() / 2)
  }

  /** Dials first: reserving at a relay that cannot be reached is what the stock client does not recover from. */
  async #reach({ peer, addrs }: Relay, signal: AbortSignal): Promise<Connection> {
    const connections = this.#node.getConnections().filter(({ remotePeer }) => remotePeer.toString() === peer)
    const direct = connections.find(({ status, limits }) => status === 'open' && limits === undefined)
    return direct ?? this.#node.dial(addrs, { signal, force: connections.length > 0 })
  }

  /** True when there is a new place, or an old one is at another address. */
  async #reserve(peer: string, connection: Connection, signal: AbortSignal): Promise<boolean> {
    const place = await askForPlace(connection, signal)
    const wanted = this.#wanted.get(peer)?.addrs
    const known = this.#held.get(peer)
    if (
      wanted === undefined ||
      this.#stopped.aborted ||
      (known === undefined && this.#held.size >= wantedCount)
    ) {
      return false
    }
    if (place === null || connection.status !== 'open') throw new Error('no place at this relay')
    const addr = circuitAddr(connection, { wanted, told: place.addrs, self: this.#node.peerId.toString() })
    clearTimeout(known?.renewal)
    const halfMs = (place.endsAtMs - Date.now()) / 2
    const renewal = setTimeout(
      () => void this.#renew(peer, connection),
      Math.min(latestRenewalMs, Math.max(soonestRenewalMs, halfMs)),
    )
    renewal.unref()
    this.#held.set(peer, { connection, addr, renewal })
    this.#tag(connection, 100)
    return known?.addr !== addr
  }

  async #renew(peer: string, connection: Connection): Promise<void> {
    try {
      const signal = AbortSignal.any([this.#stopped, AbortSignal.timeout(attemptMs)])
      if (await this.#reserve(peer, connection, signal)) this.#onChange()
    } catch {
      this.#lose(peer, connection)
    }
  }

  readonly #onGone = ({ detail }: CustomEvent<Connection>): void => {
    this.#lose(detail.remotePeer.toString(), detail)
  }

  #lose(peer: string, connection: Connection): void {
    if (this.#held.get(peer)?.connection !== connection) return
    this.#forget(peer)
    const relay = this.#wanted.get(peer)
    if (relay !== undefined) Object.assign(relay, { tryAtMs: 0, missingSinceMs: performance.now() })
    this.#onChange()
    this.#fill()
  }

  #forget(peer: string): void {
    const held = this.#held.get(peer)
    if (held === undefined) return
    clearTimeout(held.renewal)
    this.#held.delete(peer)
    this.#tag(held.connection, undefined)
  }

  /** When there are too many connections, those to relays are the last to be closed. */
  #tag({ remotePeer }: Connection, value: number | undefined): void {
    const tags = { [relayTag]: value === undefined ? undefined : { value } }
    this.#node.peerStore.merge(remotePeer, { tags }).catch(() => {})
  }
}

function unknown(peer: string): Relay {
  return { peer, addrs: [], failures: 0, tryAtMs: 0, tryingSinceMs: null, missingSinceMs: performance.now() }
}

function relayOf(text: string): { peer: string; addr: Multiaddr }[] {
  try {
    const addr = multiaddr(text)
    const peer = addr.getComponents().findLast(({ name }) => name === 'p2p')?.value
    return peer === undefined || text.includes('/p2p-circuit') ? [] : [{ peer, addr }]
  } catch {
    return []
  }
}
