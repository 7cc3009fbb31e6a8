/** What becomes of a record that somebody sends: judged by the one validator, then remembered or refused. Never throws for bad input. */
import type { Clock } from '../base/clock.ts'
import { hasCode, OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { judgeMultiaddr, judgeUrl } from '../wire/address-policy.ts'
import type { Curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import {
  bindingCovers,
  encodeBinding,
  parseBinding,
  verifyBinding,
  type BindingRefusal,
  type IsValidSignature,
  type SignedBinding,
} from '../wire/peer-binding.ts'
import type { PeerId } from '../wire/peer-id.ts'
import type { RecordType, SellerRecord } from '../wire/record.ts'
import { heardByMs, validateRecord, type RecordRefusal } from '../wire/validate-record.ts'
import type { Entry } from './entry.ts'
import { RateLimit } from './rate-limit.ts'
import type { SellerIndex, Source } from './seller-index.ts'

export type Refusal =
  | RecordRefusal
  | `binding_${BindingRefusal | 'malformed' | 'other' | 'rollback' | 'unchecked'}`
  | 'wrong_network'
  | 'private_address'
  | 'full'

export type Outcome =
  | { peer: PeerId | null; status: 'ok' }
  | { peer: PeerId; status: 'need'; need: 'record' }
  /** `seq` of the seller record that is newer than the one the heartbeat belongs to. */
  | { peer: PeerId; status: 'superseded'; seq: number }
  | { peer: PeerId | null; status: 'refused'; reason: Refusal; lastSeq?: number }

export interface AdmitParts {
  index: SellerIndex
  /** CAIP-2 name of the network whose sellers are listed here. */
  network: string
  digests: Digests
  curve: Curve
  /** Absent: wallets that are contracts are refused. */
  isValidSignature?: IsValidSignature | undefined
  /** Lists sellers at private addresses too. */
  allowPrivate: boolean
  now: Clock
  log: Log
}

/** Counts since the start. */
export interface Tally {
  accepted: Record<'record' | 'heartbeat', number>
  refused: Partial<Record<Refusal, number>>
}

export interface Admission {
  readonly tally: Tally
  register(record: unknown, binding: unknown, source?: Source): Promise<Outcome>
  beat(heartbeat: unknown, source?: Source): Outcome
}

const questionsPerSec = 20
const mostQuestions = 200

export function openAdmission(parts: AdmitParts): Admission {
  const { index, network, digests, curve, isValidSignature, allowPrivate, now, log } = parts
  const tally: Tally = { accepted: { record: 0, heartbeat: 0 }, refused: {} }
  const questions = new RateLimit({ perSec: questionsPerSec, burst: mostQuestions, now })
  const nowSec = () => Math.floor(now() / 1_000)
  // Anybody may send what a seller signed: it was heard when that came, but not long after it was signed.
  const heardAt = (seq: number): Source => ({
    from: null,
    seenMs: Math.min(now(), heardByMs(seq)),
  })

  function refuse(input: unknown, reason: Refusal, lastSeq?: number | null): Outcome {
    tally.refused[reason] = (tally.refused[reason] ?? 0) + 1
    return {
      peer: peerIn(input),
      status: 'refused',
      reason,
      ...(typeof lastSeq === 'number' && { lastSeq }),
    }
  }

  function accept(peer: PeerId, what: keyof Tally['accepted']): Outcome {
    tally.accepted[what] += 1
    return { peer, status: 'ok' }
  }

  function lastSeqOf(input: unknown, type: RecordType): number | null {
    const entry = index.find(peerIn(input) ?? '')
    return (type === 'seller' ? entry?.recordSeq : entry?.beatSeq) ?? null
  }

  // Sent again because the answer was lost. It counts for nothing: a copy is no sign of life.
  function isRepeated(reason: Refusal, input: unknown, textOf: (entry: Entry) => string | null): boolean {
    if (reason !== 'replayed') return false
    const entry = index.find(peerIn(input) ?? '')
    const { signature } = input as { signature?: unknown }
    return (entry && textOf(entry)?.endsWith(`,"signature":"${String(signature)}"}`)) === true
  }

  const repeated = (input: unknown): Outcome => ({ peer: peerIn(input), status: 'ok' })

  async function register(input: unknown, bindingInput: unknown, source?: Source): Promise<Outcome> {
    const lastSeq = lastSeqOf(input, 'seller')
    const verdict = validateRecord(input, { nowSec: nowSec(), lastSeq, type: 'seller' })
    if (!verdict.ok) {
      if (isRepeated(verdict.reason, input, (entry) => entry.recordText)) return repeated(input)
      return refuse(input, verdict.reason, isOld(verdict.reason) ? lastSeq : null)
    }
    const { record } = verdict
    const binding = readBinding(bindingInput)
    const reason = binding === null ? 'binding_malformed' : judgePlace(record, binding)
    if (binding === null || reason !== null) return refuse(input, reason ?? 'binding_malformed')
    const wallet = await judgeWallet(binding)
    if (wallet !== null) return refuse(input, wallet)
    // While a contract was asked, a newer record may have come.
    const taken = index.upsert(record, binding, source ?? heardAt(record.seq))
    if (taken === 'ok') return accept(record.peer, 'record')
    return refuse(input, taken === 'full' ? 'full' : 'rollback', index.find(record.peer)?.recordSeq)
  }

  function judgePlace(record: SellerRecord, binding: SignedBinding): Refusal | null {
    const { networks, url, addrs } = record.body
    if (!networks.includes(network)) return 'wrong_network'
    if (!allowPrivate) {
      const verdicts = [...(url === null ? [] : [judgeUrl(url)]), ...addrs.map(judgeMultiaddr)]
      if (verdicts.some((verdict) => verdict !== 'public')) return 'private_address'
    }
    if (!bindingCovers(digests, binding, record)) return 'binding_other'
    return binding.seq < (index.find(record.peer)?.bindingSeq ?? 0) ? 'binding_rollback' : null
  }

  async function judgeWallet(binding: SignedBinding): Promise<Refusal | null> {
    // The wallet's word for this node was heard before: only its time may have run out.
    const isKnown = index.find(binding.peer)?.bindingText === JSON.stringify(encodeBinding(binding))
    const ask: IsValidSignature = async (...question) => {
      if (isKnown || isValidSignature === undefined) return isKnown
      // Any stranger can name a wallet that has to be asked, and the chain's servers count what we ask.
      if (!questions.take('', 1).ok) throw tooMany()
      return isValidSignature(...question)
    }
    try {
      const verdict = await verifyBinding(binding, {
        digests,
        curve,
        nowSec: nowSec(),
        isValidSignature: ask,
      })
      return verdict.ok ? null : `binding_${verdict.reason}`
    } catch (error) {
      if (!hasCode(error, 'rate_limit_exceeded'))
        log.warn({ err: error, wallet: binding.payTo }, 'a contract wallet could not be asked')
      return 'binding_unchecked'
    }
  }

  function beat(input: unknown, source?: Source): Outcome {
    const lastSeq = lastSeqOf(input, 'heartbeat')
    const verdict = validateRecord(input, { nowSec: nowSec(), lastSeq, type: 'heartbeat' })
    if (!verdict.ok) {
      if (isRepeated(verdict.reason, input, (entry) => entry.beatText)) return repeated(input)
      return refuse(input, verdict.reason, isOld(verdict.reason) ? lastSeq : null)
    }
    const { peer, seq } = verdict.record
    const taken = index.beat(verdict.record, source ?? heardAt(seq))
    if (taken === 'need_record') return { peer, status: 'need', need: 'record' }
    if (taken === 'superseded') return { peer, status: taken, seq: index.find(peer)!.recordSeq }
    return taken === 'ok' ? accept(peer, 'heartbeat') : refuse(input, 'rollback', lastSeq)
  }

  return { tally, register, beat }
}

const isOld = (reason: RecordRefusal) => reason === 'replayed' || reason === 'rollback'

function peerIn(input: unknown): PeerId | null {
  const peer = typeof input === 'object' && input !== null && 'peer' in input ? input.peer : null
  return typeof peer === 'string' && peer.length <= 64 ? peer : null
}

function tooMany(): OpenSeedError {
  return new OpenSeedError('rate_limit_exceeded', { message: 'The chain is asked too often.' })
}

function readBinding(input: unknown): SignedBinding | null {
  try {
    return parseBinding(input)
  } catch (error) {
    if (hasCode(error, 'invalid_message')) return null
    throw error
  }
}
