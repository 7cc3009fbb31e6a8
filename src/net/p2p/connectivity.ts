/** How others reach a host, and what it does to be reached better. */
import { once } from 'node:events'
import type { Connection } from '@libp2p/interface'
import { answerReach } from './reach.ts'
import { endpointOf, multiaddrText, socketText } from './endpoint.ts'
import type { DialPort } from './fixed-port.ts'
import { internalsOf, type Node } from './libp2p-node.ts'
import { stateOf } from './nat-type.ts'
import type { HostOptions, Reachability } from './open-host.ts'
import { openPortMapping } from './port-mapping.ts'
import { openPunch } from './punch.ts'
import { openReachClient } from './reach-client.ts'

export interface ConnectivityParts {
  node: Node
  port: DialPort
  options: HostOptions
  /** Circuit multiaddrs, one for each relay that holds a place for this host. */
  relays: () => readonly string[]
  stopped: AbortSignal
  onChange: () => void
}

export interface Connectivity {
  reachability(): Reachability
  /** Multiaddrs at which others got in. */
  entrances(): string[]
  /** Makes a relayed connection that this host opened direct, in the background, if it can be. */
  improve(connection: Connection): void
  /** Settles when the host has stopped and what was asked of routers is taken back. */
  done: Promise<unknown>
}

/** To be opened before the node starts: peers that connect at once are told what it answers to. */
export async function openConnectivity(parts: ConnectivityParts): Promise<Connectivity> {
  const { node, port, options, relays, stopped, onChange } = parts
  const { allowPrivate = false, announce = [], bootstrap } = options
  const self = node.peerId.toString()
  const listenPorts = () => [
    ...new Set(
      internalsOf(node)
        .transportManager.getAddrs()
        .flatMap((addr) => endpointOf(addr.toString())?.port ?? []),
    ),
  ]
  const started = once(node, 'start', { signal: stopped }).catch(() => {})
  const mapping = openPortMapping({
    ports: () => (options.portMapping === true ? listenPorts() : []),
    started,
    stopped,
    allowPrivate,
    onChange: () => reach.recheck(),
  })
  const reach = openReachClient({
    node,
    port,
    witnesses: () => [...bootstrap, ...relays().map((addr) => addr.split('/p2p-circuit', 1)[0]!)],
    openPorts: () => [...new Set([...listenPorts(), ...mapping.mapped().map((outside) => outside.port)])],
    allowPrivate,
    started,
    stopped,
    onChange,
  })
  if (options.relay) await answerReach({ node, allowPrivate, stopped })
  const punch = options.punch === false ? null : await openPunch({ node, reach, allowPrivate, stopped })
  return {
    reachability() {
      const nat = reach.nat()
      const [mapped] = mapping.mapped()
      const isPublic = reach.entrances().length > 0 || announce.length > 0
      const listens = listenPorts().length > 0
      return {
        state: stateOf({ isPublic, listens, nat, relays: relays().length }),
        nat,
        observed: [...new Set(reach.sightings().map(({ seenAs }) => socketText(seenAs)))],
        mapped: mapped === undefined ? null : multiaddrText(mapped, self),
        relays: relays().map((addr) => addr.split('/p2p-circuit', 1)[0]!),
      }
    },
    entrances: () => reach.entrances().map((entrance) => multiaddrText(entrance, self)),
    improve: (connection) => punch?.improve(connection),
    done: Promise.all([reach.done, mapping.done]),
  }
}
