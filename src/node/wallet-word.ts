/** The binding that a running seller announces with: renewed where the wallet's key is here, watched where it is not. */
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import type { Address, Hex } from '../wire/hex.ts'
import type { NodeKey } from '../wire/node-key.ts'
import { countersign, type SignedBinding } from '../wire/peer-binding.ts'
import { dayOf, openBinding } from './binding.ts'

export interface WalletWordOptions {
  node: NodeKey
  payTo: Address
  digests: Digests
  /** The payout wallet's key; null, or another wallet's, when it is not here. */
  key: Hex | null
  now: Clock
  log: Log
}

const warnBeforeSec = 14 * 86_400
const warnEveryMs = 86_400_000

/** Gives the binding and its digest each time it is asked. Throws `binding_missing`. */
export function openWalletWord(
  folder: string,
  { node, payTo, digests, key, now, log }: WalletWordOptions,
): () => Promise<{ signed: SignedBinding; hash: Hex }> {
  const isHere = key !== null && curve.addressOf(key) === payTo
  const sign = isHere ? (digest: Hex) => curve.sign(digest, key) : null
  let warnedAtMs = -Infinity
  return async () => {
    const signed = await openBinding(folder, { peer: node.peerId, payTo, digests, nowMs: now(), sign })
    const leftSec = signed.notAfterSec - now() / 1000
    if (leftSec < warnBeforeSec && now() - warnedAtMs >= warnEveryMs) {
      warnedAtMs = now()
      log.warn(
        { wallet: payTo, until: dayOf(signed.notAfterSec) },
        'what the payout wallet signed for this node runs out soon: openseed wallet bind',
      )
    }
    // With the node's own signature registries may pass it on under the node's name.
    return { signed: countersign(node, signed), hash: digests.peerBinding(signed) }
  }
}
