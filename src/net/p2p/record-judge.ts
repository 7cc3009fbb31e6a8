/** The rules of dht-records together with what this node has seen: one memory for what it stores and what it reads. */
import { base32 } from 'multiformats/bases/base32'
import { judgeValue, type DhtVerdict } from './dht-records.ts'
import { openSequenceGuard } from './sequence-guard.ts'

export type RecordVerdict = DhtVerdict

export interface RecordJudge {
  /** Judges a value, and remembers its sequence when it is good. */
  see(key: Uint8Array, value: Uint8Array): RecordVerdict
  /** False when the key was stored anew a moment ago; otherwise it counts as stored now. */
  maySettle(key: Uint8Array): boolean
  /** The same, for the name that the store has for a key. */
  mayStore(name: string): boolean
}

export function openRecordJudge(now: () => number): RecordJudge {
  const guard = openSequenceGuard(now)
  return {
    see(key, value) {
      const verdict = judgeValue(key, value, now())
      if (verdict.ok && !guard.see(storeName(key), verdict.seq)) return { ok: false, reason: 'rollback' }
      return verdict
    },
    maySettle: (key) => guard.maySettle(storeName(key)),
    mayStore: (name) => guard.maySettle(name),
  }
}

// The alphabet of kad-dht's own keys.
function storeName(key: Uint8Array): string {
  return base32.baseEncode(key)
}
