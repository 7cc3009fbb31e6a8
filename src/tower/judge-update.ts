/** Whether what a seller sent is a claim that the tower could send. Pure. */
import type { Usdc } from '../wire/amount.ts'
import type { Curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import type { Hex } from '../wire/hex.ts'
import type { TowerPairing, TowerUpdate } from '../wire/tower.ts'

/**
 * `known`: exactly that is held. `old`: more is held already. `stranger`: a channel of somebody else. `amounts`: a claim
 * of nothing, or of more than the buyer signed for.
 */
export type UpdateVerdict =
  | { kind: 'take'; channelId: Hex }
  | { kind: 'known' }
  | { kind: 'refuse'; reason: 'stranger' | 'amounts' | 'old' | 'voucher' | 'claim' }

export interface UpdateRules {
  digests: Digests
  curve: Curve
  seller: TowerPairing
  /** What is held of a channel. */
  find: (channelId: Hex) => { maxClaimable: Usdc; totalClaimed: Usdc } | undefined
}

export function judgeUpdate(
  update: TowerUpdate,
  { digests, curve, seller, find }: UpdateRules,
): UpdateVerdict {
  const { config, maxClaimable, totalClaimed } = update
  const isOurs =
    config.receiver === seller.payTo &&
    config.receiverAuthorizer === seller.receiverAuthorizer &&
    config.token === seller.asset
  if (!isOurs) return { kind: 'refuse', reason: 'stranger' }
  if (totalClaimed === 0n || totalClaimed > maxClaimable) return { kind: 'refuse', reason: 'amounts' }
  const channelId = digests.channelId(config)
  const held = find(channelId)
  if (held !== undefined) {
    if (totalClaimed < held.totalClaimed || maxClaimable < held.maxClaimable)
      return { kind: 'refuse', reason: 'old' }
    if (totalClaimed === held.totalClaimed && maxClaimable === held.maxClaimable) return { kind: 'known' }
  }
  if (curve.recover(digests.voucher(channelId, maxClaimable), update.voucher) !== config.payerAuthorizer)
    return { kind: 'refuse', reason: 'voucher' }
  const batch = digests.claimBatch([{ channelId, maxClaimable, totalClaimed }])
  if (curve.recover(batch, update.claim) !== seller.receiverAuthorizer)
    return { kind: 'refuse', reason: 'claim' }
  return { kind: 'take', channelId }
}
