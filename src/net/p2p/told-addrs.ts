/** Which public addresses of its own libp2p tells others: none that nobody vouches for. */
import { multiaddr } from '@multiformats/multiaddr'
import { judgeMultiaddr } from '../../wire/address-policy.ts'
import { endpointOf } from './endpoint.ts'
import { internalsOf, type Node } from './libp2p-node.ts'
import { sameEndpoint } from './nat-type.ts'

/**
 * To be called when `entrances` gives something else than before: multiaddrs at which others got in. Who `serves` and
 * listens at a public address of this machine is there for others: its operator vouches for that.
 */
export function vouchFor(
  node: Node,
  { entrances, serves }: { entrances: () => readonly string[]; serves: boolean },
): () => void {
  const { addressManager, transportManager } = internalsOf(node)
  let vouched: ReadonlySet<string> = new Set()

  function confirm(addr: string): void {
    const at = endpointOf(addr)
    const listening = transportManager.getAddrs().map((own) => endpointOf(own.toString()))
    const isOwn = listening.some((own) => own !== null && at !== null && sameEndpoint(own, at))
    addressManager.confirmObservedAddr(multiaddr(addr), { type: isOwn ? 'transport' : 'observed' })
  }

  return () => {
    const own = serves ? transportManager.getAddrs().map(String) : []
    const isPublic = (addr: string) => endpointOf(addr) !== null && judgeMultiaddr(addr) === 'public'
    const open = new Set([...entrances(), ...own.filter(isPublic)])
    for (const addr of open) if (!vouched.has(addr)) confirm(addr)
    for (const addr of vouched) if (!open.has(addr)) addressManager.removeObservedAddr(multiaddr(addr))
    vouched = open
  }
}
