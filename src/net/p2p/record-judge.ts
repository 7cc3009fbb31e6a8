/** The rules of dht-records together with what this node has seen: one memory for what it stores and what it reads. */
import { base32 } from 'multiformats/bases/base32'
import type { Clock } from '../../base/clock.ts'
import { judgeValue, type DhtRefusal, type DhtVerdict } from './dht-records.ts'
import { openSequenceGuard } from './sequence-guard.ts'

export type RecordVerdict = DhtVerdict

export interface RecordJudge {
  /** Judges a value that is read, and remembers its sequence when it is good. */
  see(key: Uint8Array, value: Uint8Array): RecordVerdict
  /** Judges a value that is to be stored; its sequence counts when it settles. */
  offer(key: Uint8Array, value: Uint8Array): RecordVerdict
  /** The same; throws `RecordRefused`. */
  require(key: Uint8Array, value: Uint8Array): void
  /** Counts older values of the key as replaced, although this node has not seen by what. */
  know(key: Uint8Array, seq: number): void
  /** False when the key was stored anew a moment ago; otherwise it counts as stored now. */
  maySettle(key: Uint8Array): boolean
  /** The same for the name that the store has for a key; gives the sequence, and throws `RecordRefused`. */
  settle(name: string): number
}

export class RecordRefused extends Error {
  override name = 'RecordRefused'
  readonly reason: DhtRefusal

  constructor(reason: DhtRefusal) {
    super(`refused: ${reason}`)
    this.reason = reason
  }
}

export function openRecordJudge(now: Clock): RecordJudge {
  const guard = openSequenceGuard(now)
  const judge = (key: Uint8Array, value: Uint8Array, how: 'see' | 'offer'): RecordVerdict => {
    const verdict = judgeValue(key, value, now())
    if (verdict.ok && !guard[how](storeName(key), verdict.seq)) return { ok: false, reason: 'rollback' }
    return verdict
  }
  const offer: RecordJudge['offer'] = (key, value) => judge(key, value, 'offer')
  return {
    see: (key, value) => judge(key, value, 'see'),
    offer,
    require(key, value) {
      const verdict = offer(key, value)
      if (!verdict.ok) throw new RecordRefused(verdict.reason)
    },
    know: (key, seq) => void guard.see(storeName(key), seq),
    maySettle: (key) => guard.settle(storeName(key)) !== null,
    settle(name) {
      const seq = guard.settle(name)
      if (seq === null) throw new RecordRefused('too_often')
      return seq
    },
  }
}

// The alphabet of kad-dht's own keys.
function storeName(key: Uint8Array): string {
  return base32.baseEncode(key)
}
