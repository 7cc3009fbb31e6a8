/** What stands between this host and the others, judged by how they see its connections. Pure. */
import { isIPv4 } from 'node:net'
import type { Reachability } from './open-host.ts'

export type Nat = Reachability['nat']

export interface Endpoint {
  ip: string
  port: number
}

/** What somebody said about a connection of ours. */
export interface Sighting {
  /** The address of who said it: NATs tell destinations apart by that. */
  witness: string
  /** Where the connection begins on this machine. */
  localPort: number
  seenAs: Endpoint
}

/**
 * One that lies is outvoted by two that agree, and can otherwise only keep connections relayed. A single witness is
 * believed when the port came through unchanged: a NAT that picks anew keeps it once in fifty thousand times.
 */
export function natOf(all: readonly Sighting[], ownIps: ReadonlySet<string>): Nat {
  const sightings = ofOneFamily(all)
  if (sightings.length === 0) return 'unknown'
  if (sightings.every((sighting) => keepsPort(sighting) && ownIps.has(sighting.seenAs.ip))) return 'none'
  const pairs = sightings.flatMap((one, at) =>
    sightings
      .slice(at + 1)
      .filter(({ witness, localPort }) => witness !== one.witness && localPort === one.localPort)
      .map((other) => sameEndpoint(one.seenAs, other.seenAs)),
  )
  if (pairs.includes(true)) return 'cone'
  if (pairs.length > 0) return 'symmetric'
  return sightings.some(keepsPort) ? 'cone' : 'unknown'
}

/** IPv4's where there are any: what stands in the way of one family says nothing of the other. */
export function ofOneFamily(sightings: readonly Sighting[]): readonly Sighting[] {
  const ofIpv4 = sightings.filter(({ seenAs }) => isIPv4(seenAs.ip))
  return ofIpv4.length > 0 ? ofIpv4 : sightings
}

/** The sighting that tells where a connection from its port will be seen to come from: the one most agree with. */
export function bestSighting(all: readonly Sighting[]): Sighting | null {
  const sightings = ofOneFamily(all)
  const votes = (one: Sighting) =>
    sightings.filter((other) => other.localPort === one.localPort && sameEndpoint(other.seenAs, one.seenAs))
      .length
  return sightings.toSorted((a, b) => votes(b) - votes(a))[0] ?? null
}

export interface ReachFacts {
  /** Somebody opened a connection to where this host listens, or its operator says where it is. */
  isPublic: boolean
  /** False for who asks only: nobody needs to reach it. */
  listens: boolean
  nat: Nat
  relays: number
}

export function stateOf({ isPublic, listens, nat, relays }: ReachFacts): Reachability['state'] {
  if (isPublic) return 'public'
  // Holes are agreed on over a relay. Who asks needs none of its own: it uses those of the others.
  const passedOn = relays > 0 || !listens
  if (passedOn && (nat === 'none' || nat === 'cone')) return 'punchable'
  if (relays > 0) return 'relayed'
  if (nat === 'unknown') return 'unknown'
  return listens ? 'unreachable' : 'relayed'
}

export function sameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.ip === b.ip && a.port === b.port
}

function keepsPort({ localPort, seenAs }: Sighting): boolean {
  return seenAs.port === localPort
}
