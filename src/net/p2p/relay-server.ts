/**
 * The relay that every registry is: connects buyers to sellers that nobody can dial. What passes is encrypted between
 * the two. Speaks libp2p's circuit relay v2, so stock clients can use it; the stock server neither counts circuits nor
 * slows them down, keeps places of who has left, and states its limits in the wrong unit.
 */
import { RELAY_V2_HOP_CODEC, RELAY_V2_STOP_CODEC } from '@libp2p/circuit-relay-v2'
import type {
  Connection,
  Libp2pEvents,
  PeerId,
  PeerStore,
  Startable,
  Stream,
  TypedEventTarget,
} from '@libp2p/interface'
import type { AddressManager, Registrar } from '@libp2p/interface-internal'
import { lpStream, type LengthPrefixedStream } from '@libp2p/utils'
import { systemClock, type Clock } from '../../base/clock.ts'
import type { RelayLimits, RelayOptions } from './open-host.ts'
import { joinStreams } from './relay-circuit.ts'
import { defaultRelayLimits, openRelayBook, reservationMs, type RelayBook } from './relay-limits.ts'
import {
  decodeHopRequest,
  decodeStopReply,
  encodeHopReply,
  encodeStopRequest,
  relayStatus,
  type CircuitLimit,
  type RelayStatus,
} from './relay-messages.ts'
import { openThrottle, type Throttle } from './relay-throttle.ts'

interface Parts {
  peerId: PeerId
  registrar: Registrar
  addressManager: AddressManager
  peerStore: PeerStore
  events: TypedEventTarget<Libp2pEvents>
}

const sellerTag = 'openseed-relayed'
const handshakeMs = 10_000
// Of one connection: a buyer opens few circuits, a seller reserves once in half an hour.
const requestsPerSec = 10
const requestBurst = 64
// What passes at once after a rest, in seconds of the full rate: requests and answers of ordinary size never wait.
const burstSec = 2

const framed = (stream: Stream) => lpStream(stream, { maxDataLength: 4_096, maxBufferSize: 64 * 1024 })

/** A service for libp2p's `services`. */
export function relayServer(options: RelayOptions & { now?: Clock }): (parts: Parts) => Startable {
  return (parts) => new RelayServer(parts, options)
}

class RelayServer implements Startable {
  readonly #parts: Parts
  readonly #now: Clock
  readonly #mayReserve: RelayOptions['mayReserve']
  readonly #limits: RelayLimits
  readonly #stated: CircuitLimit
  readonly #book: RelayBook<Connection>
  readonly #requests = new WeakMap<Connection, Throttle>()
  #stopping = new AbortController()

  constructor(parts: Parts, { mayReserve, limits, now = systemClock }: RelayOptions & { now?: Clock }) {
    this.#parts = parts
    this.#now = now
    this.#mayReserve = mayReserve
    this.#limits = { ...defaultRelayLimits, ...limits }
    this.#stated = { durationSec: Math.ceil(this.#limits.durationMs / 1000), bytes: this.#limits.bytes }
    this.#book = openRelayBook(this.#limits, now)
  }

  async start(): Promise<void> {
    this.#stopping = new AbortController()
    this.#parts.events.addEventListener('connection:close', this.#onGone)
    await this.#parts.registrar.handle(
      RELAY_V2_HOP_CODEC,
      (stream, connection) => this.#hop(stream, connection),
      {
        maxInboundStreams: this.#limits.circuitsPerBuyer + 8,
        // A circuit through a circuit gets an answer, too.
        runOnLimitedConnection: true,
      },
    )
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#parts.events.removeEventListener('connection:close', this.#onGone)
    await this.#parts.registrar.unhandle(RELAY_V2_HOP_CODEC)
  }

  readonly #onGone = ({ detail: connection }: CustomEvent<Connection>): void => {
    this.#book.release(nameOf(connection.remotePeer), connection)
  }

  async #hop(stream: Stream, connection: Connection): Promise<void> {
    const signal = AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(handshakeMs)])
    const hop = framed(stream)
    try {
      const request = decodeHopRequest((await hop.read({ signal })).subarray())
      if (this.#tooOften(connection)) await refuse(hop, relayStatus.full, signal)
      else if (connection.limits !== undefined) await refuse(hop, relayStatus.denied, signal)
      else if (request === null) await refuse(hop, relayStatus.malformed, signal)
      else if (request.type === 'reserve') await this.#reserve(hop, connection, signal)
      else await this.#connect(hop, connection, request.peer, signal)
    } catch (error) {
      stream.abort(error as Error)
    }
  }

  #tooOften(connection: Connection): boolean {
    const fresh = () => openThrottle({ perSec: requestsPerSec, burst: requestBurst, now: this.#now })
    const requests = this.#requests.get(connection) ?? fresh()
    this.#requests.set(connection, requests)
    return requests.take(1) > 0
  }

  async #reserve(hop: Hop, connection: Connection, signal: AbortSignal): Promise<void> {
    if (!this.#mayReserve(connection.remotePeer.toString())) return refuse(hop, relayStatus.denied, signal)
    // Asked over a connection that has closed meanwhile, the place would never be freed.
    const endsAtMs =
      connection.status === 'open' ? this.#book.reserve(nameOf(connection.remotePeer), connection) : null
    if (endsAtMs === null) return refuse(hop, relayStatus.full, signal)
    // When there are too many connections, those of strangers are closed first.
    const tags = { [sellerTag]: { value: 50, ttl: reservationMs } }
    await this.#parts.peerStore.merge(connection.remotePeer, { tags }, { signal })
    const addrs = this.#parts.addressManager
      .getAddresses()
      .filter((addr) => !addr.toString().includes('/p2p-circuit'))
    const reservation = { endsAtSec: Math.floor(endsAtMs / 1000), addrs: addrs.map(({ bytes }) => bytes) }
    await hop.write(encodeHopReply(relayStatus.ok, { reservation, limit: this.#stated }), { signal })
    await hop.unwrap().close({ signal })
  }

  async #connect(hop: Hop, buyer: Connection, wanted: Uint8Array, signal: AbortSignal): Promise<void> {
    const seller = this.#book.wayTo(Buffer.from(wanted).toString('hex'))
    if (seller === null) return refuse(hop, relayStatus.noReservation, signal)
    const leave = this.#book.openCircuit(nameOf(buyer.remotePeer), nameOf(seller.remotePeer))
    if (leave === null) return refuse(hop, relayStatus.full, signal)
    let joined = false
    try {
      const stop = await this.#stopAt(seller, buyer, signal).catch(() => null)
      if (stop === null) return await refuse(hop, relayStatus.connectionFailed, signal)
      try {
        await hop.write(encodeHopReply(relayStatus.ok, { limit: this.#stated }), { signal })
      } catch (error) {
        stop.unwrap().abort(error as Error)
        throw error
      }
      joined = true
      joinStreams(hop.unwrap(), stop.unwrap(), {
        bytes: this.#limits.bytes,
        durationMs: this.#limits.durationMs,
        throttle: openThrottle({
          perSec: this.#limits.bytesPerSec,
          burst: this.#limits.bytesPerSec * burstSec,
          now: this.#now,
        }),
        onClose: leave,
      })
    } finally {
      if (!joined) leave()
    }
  }

  /** The stream on which the seller has agreed to meet the buyer; null when it would not. */
  async #stopAt(seller: Connection, buyer: Connection, signal: AbortSignal): Promise<Hop | null> {
    const stream = await seller.newStream(RELAY_V2_STOP_CODEC, {
      signal,
      maxOutboundStreams: this.#limits.circuits,
    })
    const stop = framed(stream)
    try {
      await stop.write(encodeStopRequest(buyer.remotePeer.toMultihash().bytes, this.#stated), { signal })
      if (decodeStopReply((await stop.read({ signal })).subarray()) === relayStatus.ok) return stop
      stream.abort(new Error('the peer does not take the circuit'))
    } catch (error) {
      stream.abort(error as Error)
    }
    return null
  }
}

type Hop = LengthPrefixedStream<Stream>

async function refuse(hop: Hop, status: RelayStatus, signal: AbortSignal): Promise<void> {
  await hop.write(encodeHopReply(status), { signal })
  await hop.unwrap().close({ signal })
}

function nameOf(peer: PeerId): string {
  return Buffer.from(peer.toMultihash().bytes).toString('hex')
}
