/** Whether the newest block that the RPCs show is new enough to trust the chain's silence about withdrawals. */
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import { openEscrow, type Escrow, type Head } from './escrow.ts'
import { quorumOf, vouched } from './quorum.ts'

/** The newest block as one RPC showed it last. */
export type SeenHead = Pick<Head, 'timestampSec'>

export type HeadVerdict =
  | { kind: 'fresh' }
  /** `ageSec` of the newest block that enough RPCs have, null when none showed one. */
  | { kind: 'stale'; ageSec: number | null; fresh: number; needed: number }

/**
 * Pure. Enough of the RPCs that answer must show a young block: with one of two far behind nobody knows which of them
 * is on the chain. A block from the future is as bad as an old one. `maxAgeSec` null: blocks come on demand only.
 */
export function judgeHeads(
  heads: readonly SeenHead[],
  { maxAgeSec, wanted, nowMs }: { maxAgeSec: number | null; wanted: number | null; nowMs: number },
): HeadVerdict {
  if (maxAgeSec === null) return { kind: 'fresh' }
  const ages = heads.map(({ timestampSec }) => Math.abs(Math.round(nowMs / 1000 - timestampSec)))
  const needed = quorumOf({ configured: ages.length, answered: ages.length, wanted })
  const fresh = ages.filter((age) => age <= maxAgeSec).length
  if (fresh >= Math.max(1, needed)) return { kind: 'fresh' }
  const negative = vouched(
    ages.map((age) => -age),
    needed,
  )
  return { kind: 'stale', ageSec: negative === null ? null : -negative, fresh, needed: Math.max(1, needed) }
}

/** The newest block of every RPC that answers. Throws `chain_unavailable` when too few do. */
export const readHeads = ({ rpc, network }: Escrow): Promise<Head[]> =>
  rpc.all((source) => openEscrow(source, network).head())

export interface Heads {
  /** A source showed its newest block, or failed (null). */
  saw(source: string, head: SeenHead | null): void
  judge(): HeadVerdict
}

/** Remembers what each source showed last, beginning with what all of them showed at the start. */
export function openHeads(
  first: SeenHead,
  {
    sources,
    maxAgeSec,
    wanted,
    now,
  }: { sources: readonly string[]; maxAgeSec: number | null; wanted: number | null; now: Clock },
): Heads {
  const seen = new Map(sources.map((source) => [source, first]))
  const failing = new Set<string>()
  return {
    saw(source, head) {
      if (head === null) failing.add(source)
      else {
        failing.delete(source)
        seen.set(source, head)
      }
    },
    judge() {
      // One that is down says nothing; it does not disagree. When all are, what they showed grows old.
      const live = [...seen].filter(([source]) => !failing.has(source) || failing.size === seen.size)
      return judgeHeads(
        live.map(([, head]) => head),
        { maxAgeSec, wanted, nowMs: now() },
      )
    },
  }
}

/** The refusal of new work while the head is stale. */
export function staleHead({ ageSec, fresh, needed }: Extract<HeadVerdict, { kind: 'stale' }>): OpenSeedError {
  const why =
    ageSec === null
      ? 'No RPC shows this seller the chain now'
      : fresh > 0
        ? `Only ${fresh} of the ${needed} RPCs that must agree show this seller a new block`
        : `The newest block that this seller sees is ${ageSec} s old`
  return new OpenSeedError('chain_stale', {
    message: `${why}; until that is over it takes no new paid work.`,
    hint: 'Nothing was charged. Try again in a minute, or buy from another seller.',
  })
}
