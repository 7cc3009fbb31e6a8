/**
 * Whether wallets vouch for the nodes that sell for them. A key's signature is judged at once. A contract's word is
 * asked of the chain in the background: nobody waits for it, and its seller is not used before it is there.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { atOnce } from '../base/at-once.ts'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { Curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import {
  bindingCovers,
  verifyBinding,
  type IsValidSignature,
  type SignedBinding,
} from '../wire/peer-binding.ts'
import type { SellerRecord } from '../wire/record.ts'

export interface BindingCheckParts {
  digests: Digests
  curve: Curve
  /** Asks the chain; absent: wallets that are contracts are refused. Throws when the chain does not answer. */
  isValidSignature?: IsValidSignature | undefined
  now: Clock
  log: Log
}

interface Expected {
  /** Its signature was verified before: only its time may have run out. */
  isKnown: boolean
  onValid: () => void
}

export interface BindingCheck {
  /** False also while the chain has not answered yet; `onValid` is called when it did, and vouches. */
  isValid(binding: SignedBinding, record: SellerRecord, expected: Expected): Promise<boolean>
  close(): void
}

const mostVerdicts = 4_096
const mostPending = 1_024
// Of one binding: several registries repeat it, and the seller goes on changing.
const mostTold = 16
const mostAsked = 4
const firstRetryMs = 500
const longestRetryMs = 60_000

export function openBindingCheck(parts: BindingCheckParts): BindingCheck {
  const { digests, now, log, isValidSignature: ask } = parts
  const stop = new AbortController()
  /** Of contract wallets, by digest and signature. */
  const verdicts = new Map<string, boolean>()
  const pending = new Map<string, (() => void)[]>()
  const inTurn = atOnce(mostAsked)

  function remember(key: string, verdict: boolean): void {
    const [oldest] = verdicts.keys()
    if (oldest !== undefined && verdicts.size >= mostVerdicts) verdicts.delete(oldest)
    verdicts.set(key, verdict)
  }

  async function settle(key: string, question: () => Promise<boolean>): Promise<void> {
    for (let waitMs = firstRetryMs; !stop.signal.aborted; waitMs = Math.min(2 * waitMs, longestRetryMs)) {
      try {
        const verdict = await inTurn(question)
        remember(key, verdict)
        const told = verdict && !stop.signal.aborted ? (pending.get(key) ?? []) : []
        pending.delete(key)
        for (const tell of told) tell()
        return
      } catch (err) {
        log.debug({ err }, 'a contract wallet could not be asked about its seller')
        await sleep(waitMs, undefined, { signal: stop.signal, ref: false }).catch(() => undefined)
      }
    }
  }

  return {
    async isValid(binding, record, { isKnown, onValid }) {
      if (!bindingCovers(digests, binding, record)) return false
      const isValidSignature: IsValidSignature = async (wallet, digest, signature) => {
        if (isKnown || ask === undefined) return isKnown
        const key = `${digest}${signature}`
        const known = verdicts.get(key)
        if (known !== undefined) return known
        const waiting = pending.get(key)
        if (waiting !== undefined) {
          if (waiting.length < mostTold) waiting.push(onValid)
        } else if (pending.size < mostPending) {
          pending.set(key, [onValid])
          void settle(key, () => ask(wallet, digest, signature))
        }
        return false
      }
      const verdict = await verifyBinding(binding, { ...parts, nowSec: now() / 1000, isValidSignature })
      return verdict.ok
    },
    // The chain's answers have deadlines of their own, and nothing comes of them any more.
    close: () => stop.abort(),
  }
}
