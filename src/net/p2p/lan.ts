/**
 * Peers on the same local network, by multicast DNS. Only where the user wants it: whoever is on that network hears
 * that this node exists. What is heard is a hint of where to knock; who is there is proved by the connection.
 */
import type { PeerDiscovery, PeerInfo, Startable } from '@libp2p/interface'
import { mdns, type MulticastDNSInit } from '@libp2p/mdns'
import { judgeMultiaddr } from '../../wire/address-policy.ts'
import { isPeerId, type PeerId } from '../../wire/peer-id.ts'
import { internalsOf, type Node } from './libp2p-node.ts'
import type { PeerTarget } from './open-host.ts'
import { RecentMap } from './recent-map.ts'

export interface LanParts {
  self: PeerId
  onPeer: (target: PeerTarget) => void
  /** Loopback counts as well: several nodes of one machine. */
  allowPrivate: boolean
}

export interface Lan {
  /** Begins to announce the node and to look for others. */
  start(node: Node): Promise<void>
  /** Whether somebody on this network said to be there, a short while ago. */
  mentioned(addr: string): boolean
  close(): Promise<void>
}

const service: MulticastDNSInit = { serviceTag: '_openseed._udp.local', interval: 10_000 }
const mostAddrs = 1_024
const addrsPerPeer = 8
const validMs = 2 * 60_000

export function openLan({ self, onPeer, allowPrivate }: LanParts): Lan {
  const heardMs = new RecentMap<string, number>(mostAddrs)
  let discovery: (PeerDiscovery & Startable) | null = null

  const isNear = (addr: string) =>
    !addr.includes('/p2p-circuit') &&
    judgeMultiaddr(addr) === 'private' &&
    (allowPrivate || !/^\/(?:ip4\/127\.|ip6\/::1\/)/.test(addr))

  function meet({ id, multiaddrs }: PeerInfo): void {
    const peer = id.toString()
    const addrs = multiaddrs
      .map((addr) => bare(addr.toString()))
      .filter(isNear)
      .slice(0, addrsPerPeer)
    if (peer === self || !isPeerId(peer) || addrs.length === 0) return
    for (const addr of addrs) heardMs.set(addr, performance.now())
    onPeer({ peer, addrs })
  }

  return {
    async start(node) {
      const { transportManager } = internalsOf(node)
      const getAddresses = () =>
        transportManager
          .getAddrs()
          .filter((addr) => isNear(addr.toString()))
          .map((addr) => addr.encapsulate(`/p2p/${self}`))
      const { addressManager } = internalsOf(node)
      // Where it listens, and not what it tells the world: that may be somewhere else.
      const near = Object.create(addressManager, { getAddresses: { value: getAddresses } })
      const components = { logger: node.logger, addressManager: near as typeof addressManager }
      discovery = mdns(service)(components) as PeerDiscovery & Startable
      discovery.addEventListener('peer', ({ detail }) => meet(detail))
      await discovery.start()
    },
    mentioned(addr) {
      const atMs = heardMs.get(bare(addr))
      return atMs !== undefined && performance.now() - atMs < validMs
    },
    async close() {
      await discovery?.stop()
    },
  }
}

function bare(addr: string): string {
  return addr.replace(/\/p2p\/[^/]+$/, '')
}
