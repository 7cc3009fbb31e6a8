/** Takes unspent money back from a seller that is not paid any more: by its own hand, else without it. */
import { setTimeout as sleep } from 'node:timers/promises'
import { asOpenSeedError } from '../base/errors.ts'
import type { ErrorCode } from '../base/error-codes.ts'
import type { Channel } from './channel.ts'
import { refund, type RefundParts } from './refund.ts'
import { finalizeWithdraw, initiateWithdraw, type WithdrawParts } from './withdraw.ts'

export type PartWaysParts = RefundParts & WithdrawParts

export interface ExitFacts {
  state: Channel['state']
  /** Neither charged nor asked back. */
  unspent: bigint
  refunding: bigint
  /** Refunds that failed, in this run. */
  refusals: number
  /** When a withdrawal that is pending can be finished; null without one. */
  unlocksAtSec: number | null
  nowSec: number
}

export type ExitStep = 'done' | 'refund' | 'withdraw' | 'finalize' | 'wait'

// A seller that is down for a moment is asked again; one that refuses is not waited for.
const mostRefusals = 3
const firstPauseMs = 1000
const longestPauseMs = 600_000

/** What to do next. Pure. */
export function chooseExit(facts: ExitFacts): ExitStep {
  const { state, unspent, refunding, refusals, unlocksAtSec, nowSec } = facts
  if (state === 'closed') return 'done'
  if (state === 'withdrawing') {
    if (unlocksAtSec === null) return 'withdraw'
    return nowSec >= unlocksAtSec ? 'finalize' : 'wait'
  }
  if (unspent <= 0n && refunding === 0n) return 'done'
  return refusals < mostRefusals ? 'refund' : 'withdraw'
}

const finalAnswers: ReadonlySet<ErrorCode> = new Set<ErrorCode>(['payment_refused', 'channel_not_found'])

/** Goes on until nothing of ours is left there or the signal aborts. Never rejects. */
export async function partWays(channel: Channel, parts: PartWaysParts, signal: AbortSignal): Promise<void> {
  const { log, now } = parts
  let refusals = 0
  let unlocksAtSec: number | null = null
  for (let pauseMs = firstPauseMs; !signal.aborted; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
    const { state, ledger, refunding } = channel
    const nowSec = Math.floor(now() / 1000)
    const unspent = ledger.balance - ledger.charged
    const step = chooseExit({ state, unspent, refunding, refusals, unlocksAtSec, nowSec })
    if (step === 'done') return
    try {
      if (step === 'refund') {
        const { amount, transaction } = await refund(channel, undefined, parts, signal)
        log.info({ channel: channel.id, amount: amount.toString(), transaction }, 'what was left is refunded')
        continue
      }
      if (step === 'withdraw') {
        const begun = await initiateWithdraw(channel, parts)
        unlocksAtSec = begun.unlocksAtSec
        log.warn(
          { channel: channel.id, unlocksAtSec },
          'the seller gives nothing back; withdrawing without it',
        )
      }
      if (step === 'finalize') {
        const { amount } = await finalizeWithdraw(channel, parts)
        log.info({ channel: channel.id, amount: amount.toString() }, 'what was left is withdrawn')
        continue
      }
    } catch (thrown) {
      const err = asOpenSeedError(thrown)
      if (step === 'refund') refusals = finalAnswers.has(err.code) ? mostRefusals : refusals + 1
      // Without gas only the seller can give it back: it is asked again before the next try.
      if (step === 'withdraw') refusals = mostRefusals - 1
      if (!signal.aborted) log.warn({ channel: channel.id, step, err }, 'money is not back yet')
    }
    const waitMs = unlocksAtSec === null ? pauseMs : Math.max(pauseMs, untilMs(unlocksAtSec, now()))
    await sleep(waitMs, undefined, { signal, ref: false }).catch(() => undefined)
  }
}

// Not in one piece: clocks jump, and a timer holds 24 days at most.
const untilMs = (atSec: number, nowMs: number) => Math.min(Math.max(atSec * 1000 - nowMs, 0), longestPauseMs)
