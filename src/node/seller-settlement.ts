/** The seller's money on the chain: the checks of a start, the settlement engine, and when no more is to be earned. */
import { setTimeout as wait } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { checkChain, knownEscrowCode } from '../chain/check.ts'
import type { Escrow } from '../chain/escrow.ts'
import { openHeads, staleHead, type Heads } from '../chain/heads.ts'
import type { ConfirmationPolicy } from '../config/networks.ts'
import type { ChannelBook } from '../seller/channel-book.ts'
import { settleDefaults, type SettlePolicy } from '../seller/settle-policy.ts'
import { openSettler, type Settler } from '../seller/settle.ts'
import type { Hex } from '../wire/hex.ts'
import type { SellerChain } from './seller-chain.ts'

/** What the owner says about claiming; the rest is `settleDefaults`. */
export type SettleTerms = Pick<SettlePolicy, 'threshold' | 'intervalMs'> & Partial<SettlePolicy>

/** Money is only taken for a chain that is the right one, alive, and holds the contracts. */
export async function openSellerHeads(
  escrow: Escrow,
  {
    policy,
    pinnedCodeHash,
    quorum,
    now,
  }: { policy: ConfirmationPolicy; pinnedCodeHash: Hex | null; quorum: number | null; now: Clock },
): Promise<{ heads: Heads; headNumber: number }> {
  const { network, rpc } = escrow
  const { head } = await checkChain(escrow, pinnedCodeHash ?? knownEscrowCode(network.chainId))
  const { maxHeadAgeSec: maxAgeSec } = policy
  const skewSec = Math.abs(now() / 1000 - head.timestampSec)
  if (maxAgeSec !== null && skewSec > 300) {
    throw new OpenSeedError('clock_skewed', {
      message: `This machine's clock and the chain's newest block are ${Math.round(skewSec)} s apart.`,
      hint: 'Set the clock (timedatectl set-ntp true), or use an RPC that is in sync.',
    })
  }
  const sources = rpc.sources.map(({ name }) => name)
  return {
    heads: openHeads(head, { sources, maxAgeSec, wanted: quorum, now }),
    headNumber: head.number,
  }
}

export function openSellerSettler(
  { book, chain, now, log }: { book: ChannelBook; chain: SellerChain; now: Clock; log: Log },
  terms: SettleTerms,
  withdrawDelaySec: number,
): Settler {
  return openSettler({
    book,
    policy: { ...settleDefaults, ...terms },
    sendClaims: chain.sendClaims,
    reconcile: chain.reconcileClaims,
    readChain: chain.readChannels,
    claimPrice: chain.claimPrice,
    withdrawDelayMs: withdrawDelaySec * 1000,
    now,
    log,
  })
}

/** Why no new work may be taken now, whatever pays for it, or null. */
export function refuseStale(heads: Heads): OpenSeedError | null {
  const verdict = heads.judge()
  return verdict.kind === 'stale' ? staleHead(verdict) : null
}

/** Why no new work may be taken on a channel now, or null. A pending withdrawal is the ledger's to refuse. */
export function openWorkRefusal(heads: Heads, settler: Settler): (channelId: Hex) => OpenSeedError | null {
  return (channelId) => {
    const stale = refuseStale(heads)
    if (stale !== null) return stale
    if (!settler.isStuck(channelId)) return null
    return new OpenSeedError('settlement_overdue', {
      message: 'This seller could not claim earlier charges on the chain for too long.',
      hint: 'Nothing was charged. Buy from another seller until it can claim again.',
    })
  }
}

const shutdownClaimMs = 30_000

export async function claimBeforeLeaving(settler: Settler, log: Log): Promise<void> {
  const late = wait(shutdownClaimMs, 'late' as const, { ref: false })
  const outcome = await Promise.race([settler.settle('leaving').catch((error: unknown) => error), late])
  if (outcome === 'late' || outcome instanceof Error) {
    log.warn({ error: outcome }, 'not everything is claimed; the next start will claim it')
  }
}
