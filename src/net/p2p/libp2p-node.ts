/** A libp2p node as the parts of a host see it. */
import type { Identify, IdentifyPush } from '@libp2p/identify'
import type {
  ComponentLogger,
  Connection,
  ConnectionGater,
  Libp2p,
  Logger,
  MessageStream,
  StreamMuxer,
  Upgrader,
} from '@libp2p/interface'
import type { AddressManager, Registrar, TransportManager } from '@libp2p/interface-internal'
import type { KadDHT } from '@libp2p/kad-dht'
import type { Ping } from '@libp2p/ping'
import { OpenSeedError } from '../../base/errors.ts'

export type Services = { identify: Identify; identifyPush: IdentifyPush; ping: Ping; dht: KadDHT }

export type Node = Libp2p<Services>

/** What has no public way in. libp2p's versions are pinned exactly because of these. */
export interface NodeInternals {
  addressManager: AddressManager
  registrar: Registrar
  transportManager: TransportManager
  upgrader: Upgrader
}

export function internalsOf(node: Node): NodeInternals {
  const { components } = node as Node & { components?: NodeInternals }
  if (components === undefined) throw new OpenSeedError('internal_error', { message: 'libp2p has changed.' })
  return components
}

/**
 * After the stop: a listener that closes is a change of addresses, which stock code writes down a second later and keeps
 * the process for.
 */
export function dropTimers(node: Node): void {
  const { addressManager } = internalsOf(node) as { addressManager: { _updatePeerStoreAddresses?: unknown } }
  const { stop } = (addressManager._updatePeerStoreAddresses ?? {}) as { stop?: () => void }
  stop?.()
}

const silent: Logger = Object.assign(() => {}, {
  error() {},
  trace() {},
  enabled: false,
  newScope: () => silent,
})

/** The stock one makes loggers for every stream, which are a sixth of it, and looks for a terminal each time. */
export const silentLogger: ComponentLogger = { forComponent: () => silent }

type Hook = keyof ConnectionGater
type Question = (...about: unknown[]) => boolean | Promise<boolean>

const refusals = [
  'denyDialPeer',
  'denyDialMultiaddr',
  'denyInboundConnection',
  'denyOutboundConnection',
  'denyInboundEncryptedConnection',
  'denyOutboundEncryptedConnection',
  'denyInboundUpgradedConnection',
  'denyOutboundUpgradedConnection',
  'denyInboundRelayReservation',
  'denyOutboundRelayedConnection',
  'denyInboundRelayedConnection',
] as const satisfies Hook[]

/** One gater of several: what any of them denies is denied. */
export function joinGaters(gaters: readonly ConnectionGater[]): ConnectionGater {
  const joined: Partial<Record<Hook, Question>> = {}
  for (const name of refusals) {
    const asked = gaters.flatMap((gater) => (gater[name] as Question | undefined)?.bind(gater) ?? [])
    if (asked.length === 0) continue
    joined[name] = async (...about) => {
      for (const denies of asked) if (await denies(...about)) return true
      return false
    }
  }
  return joined
}

/** What carries the streams of a connection. */
export interface Muxer extends StreamMuxer {
  ping(options: { signal: AbortSignal }): Promise<number>
  maConn: MessageStream
  /** Called for each stream that the other side begins, also for those that are too many. What it throws ends the connection. */
  incomingStream(id: number): void
  /** What has come of a frame that is not whole yet. */
  decoder: { buffer: { byteLength: number } }
}

export function muxerOf(connection: Connection): Muxer {
  const { muxer } = connection as Connection & { muxer?: Muxer }
  if (muxer === undefined) throw new OpenSeedError('internal_error', { message: 'libp2p has changed.' })
  return muxer
}
