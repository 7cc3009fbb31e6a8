/** How a seller stands with being reached, and what would improve it. Pure. */
import type { Host, Reachability } from '../net/p2p/open-host.ts'
import type { PeerId } from '../wire/peer-id.ts'

/** `off`: peer-to-peer is switched off. `starting`: it is not up yet. The others are those of the host. */
export type NetState = Reachability['state'] | 'off' | 'starting'

export interface NetReport {
  state: NetState
  /** Null for a seller that is not announced. */
  peer: PeerId | null
  nat: Reachability['nat']
  /** As others see it: ip:port. */
  observed: string[]
  /** A port that the router opened: its outside multiaddr. */
  mapped: string | null
  /** Relays that hold a place for it. */
  relays: string[]
  /** What buyers are told. */
  addrs: string[]
  /** DHT servers that it knows. */
  dhtServers: number
  /** Of what it tells the DHT: how much others hold, and how much there is. */
  dht: { told: number; of: number } | null
  /** What would improve it; empty when nothing has to. */
  advice: string[]
}

export interface NetFacts {
  peer: PeerId
  addrs: readonly string[]
  /** Whether peer-to-peer is switched on. */
  isOn: boolean
  dht: { told: number; of: number } | null
  /** Looked at without selling: no relay keeps a place for it, though one would for a seller. */
  isTrial?: true
}

/** `facts` is null for a seller that is not announced, `host` where none is up. */
export function netReport(
  host: Pick<Host, 'reachability' | 'peerCount'> | null,
  facts: NetFacts | null,
): NetReport {
  const seen = (facts?.isOn === true ? host?.reachability() : null) ?? notUp(facts?.isOn === true)
  const isTrial = facts?.isTrial === true
  const report = {
    state: isTrial && seen.state === 'unreachable' ? overRelay(seen.nat) : seen.state,
    peer: facts?.peer ?? null,
    nat: seen.nat,
    observed: [...seen.observed],
    mapped: seen.mapped,
    relays: [...seen.relays],
    addrs: [...(facts?.addrs ?? [])],
    dhtServers: host?.peerCount() ?? 0,
    dht: facts?.dht ?? null,
  }
  return { ...report, advice: adviceFor(report, isTrial) }
}

function notUp(isOn: boolean): Omit<Reachability, 'state'> & { state: NetState } {
  return { state: isOn ? 'starting' : 'off', nat: 'unknown', observed: [], mapped: null, relays: [] }
}

/** How a node behind such a NAT is reached once a relay keeps a place for it. */
function overRelay(nat: Reachability['nat']): NetState {
  return nat === 'symmetric' ? 'relayed' : 'punchable'
}

const openPort =
  'let your router pass the TCP port of sell.p2p_listen on to this machine and name the outside with sell.p2p_announce'

const advices: Record<NetState, readonly string[]> = {
  off: [
    'Buyers come by a URL only. Name a registry and leave sell.announce and sell.p2p_listen on to be found by name.',
  ],
  starting: [],
  unknown: [
    'Nobody has told yet how this machine looks from outside: name a registry (--registry) or a node (--bootstrap).',
  ],
  public: [],
  punchable: [`Buyers begin over a relay and go on directly. To be reached directly at once, ${openPort}.`],
  relayed: [`Everything goes over a relay, which limits speed. To be reached directly, ${openPort}.`],
  unreachable: [
    `No relay keeps a place for this seller: name a registry that relays, give it a --public-url, or ${openPort}.`,
  ],
}

const needsRelays: readonly NetState[] = ['punchable', 'relayed']

function adviceFor({ state, relays, dhtServers }: Omit<NetReport, 'advice'>, isTrial: boolean): string[] {
  const advice = [...advices[state]]
  if (needsRelays.includes(state) && relays.length < 2 && !isTrial) {
    advice.push(
      'Fewer than two relays keep a place for this seller: with another registry it stays reachable when one is down.',
    )
  }
  if (state !== 'off' && state !== 'starting' && dhtServers === 0)
    advice.push('No DHT server is known: without registries buyers could not find this seller.')
  return advice
}
