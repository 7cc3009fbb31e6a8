import type { Connection } from '@libp2p/interface'
import type { PeerId } from '../../wire/peer-id.ts'
import type { Node } from './libp2p-node.ts'

/** True once a direct connection to the peer has come up; false when the signal comes first. */
export function whenDirect(node: Node, peer: PeerId, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const end = (came: boolean) => {
      node.removeEventListener('connection:open', onOpen)
      signal.removeEventListener('abort', onAbort)
      resolve(came)
    }
    const onAbort = () => end(false)
    const onOpen = ({ detail }: CustomEvent<Connection>) => {
      if (detail.direct && detail.remotePeer.toString() === peer) end(true)
    }
    node.addEventListener('connection:open', onOpen)
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) end(false)
  })
}
