/** Whether money may be put into the chain now: the right one, with the right contracts, and alive. */
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Escrow } from '../chain/escrow.ts'
import { judgeHeads, readHeads, type HeadVerdict } from '../chain/heads.ts'
import type { Hex } from '../wire/hex.ts'

export interface DepositGuardOptions {
  escrow: Escrow
  /** null: what is known of the chain, else the RPCs are held against each other */
  pinnedCodeHash: Hex | null
  /** how old the newest block may be; null where blocks come on demand only */
  maxHeadAgeSec: number | null
  quorum: number | null
  now: Clock
}

/** Throws `chain_mismatch`, `chain_stale`, `clock_skewed`, `chain_unavailable`; then no deposit may be signed. */
export type DepositGuard = () => Promise<void>

const clockToleranceSec = 300

/** Nothing is asked before the first deposit. What the contracts are is asked until it was answered once. */
export function openDepositGuard(options: DepositGuardOptions): DepositGuard {
  const { escrow, maxHeadAgeSec: maxAgeSec, quorum, now } = options
  let checked: Promise<unknown> | null = null
  const checkOnce = () => {
    checked ??= checkContracts(escrow, options.pinnedCodeHash).catch((error: unknown) => {
      checked = null
      throw error
    })
    return checked
  }
  return async () => {
    const [heads] = await Promise.all([readHeads(escrow), checkOnce()])
    const nowMs = now()
    const aheadSec = Math.min(...heads.map(({ timestampSec }) => timestampSec)) - Math.floor(nowMs / 1000)
    if (aheadSec > clockToleranceSec) throw clockBehind(aheadSec)
    const verdict = judgeHeads(heads, { maxAgeSec, wanted: quorum, nowMs })
    if (verdict.kind === 'stale') throw tooOld(verdict)
  }
}

async function checkContracts(escrow: Escrow, pinned: Hex | null): Promise<void> {
  // It brings the code of the contracts along, which a start can do without.
  const { checkChain, knownEscrowCode } = await import('../chain/check.ts')
  await checkChain(escrow, pinned ?? knownEscrowCode(escrow.network.chainId))
}

function tooOld({ ageSec, fresh, needed }: Extract<HeadVerdict, { kind: 'stale' }>): OpenSeedError {
  const why =
    fresh > 0
      ? `Only ${fresh} of the ${needed} RPCs that must agree show a new block`
      : `The newest block that the RPCs show is ${ageSec} s old`
  return new OpenSeedError('chain_stale', {
    message: `${why}; no deposit is signed before that is over.`,
    hint: "Nothing was signed. Check rpc_urls, and this machine's clock: openseed doctor",
  })
}

function clockBehind(seconds: number): OpenSeedError {
  return new OpenSeedError('clock_skewed', {
    message: `This machine's clock is ${seconds} s behind the chain.`,
    hint: 'Set the clock; payments are signed with times.',
  })
}
