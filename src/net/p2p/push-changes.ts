/** Tells the peers that a host is connected to what has changed of it: its addresses, and what it serves. */
import type { Node } from './libp2p-node.ts'

const togetherMs = 1_000

/**
 * Once for changes that come together. Stopping is a change as well: the stock timer for it keeps each process a second
 * longer, so this one keeps none. Ends with the signal.
 */
export function pushChanges(node: Node, stopped: AbortSignal): void {
  let timer: NodeJS.Timeout | undefined
  const push = () => void node.services.identifyPush.push().catch(() => {})
  const onChange = () => {
    clearTimeout(timer)
    timer = setTimeout(push, togetherMs).unref()
  }
  const stop = () => {
    clearTimeout(timer)
    node.removeEventListener('self:peer:update', onChange)
  }
  node.addEventListener('self:peer:update', onChange)
  stopped.addEventListener('abort', stop, { once: true })
}
