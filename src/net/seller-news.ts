/** What was heard of one seller: its signed record, the wallet's word for it, and its load; from whomever. */
import { hasCode } from '../base/errors.ts'
import { expectObject, present } from '../wire/fields.ts'
import { parseBinding, type SignedBinding } from '../wire/peer-binding.ts'
import type { PeerId } from '../wire/peer-id.ts'
import type { HeartbeatRecord, SellerRecord } from '../wire/record.ts'
import { validateRecord } from '../wire/validate-record.ts'

export interface SellerNews {
  record: SellerRecord
  /** Parsed and not verified. */
  binding: SignedBinding
  heartbeat: HeartbeatRecord | null
  /** Multiaddrs at which we met the seller ourselves. */
  metAt?: readonly string[]
}

/** What a seller says of itself when it is asked. Null for whatever is not to be believed; never throws. */
export function parseSellerNews(
  input: unknown,
  { peer, nowMs }: { peer: PeerId; nowMs: number },
): SellerNews | null {
  try {
    const { record, binding, heartbeat } = expectObject(input, 'answer')
    const rules = { nowSec: Math.floor(nowMs / 1000), lastSeq: null, peer }
    const read = validateRecord(record, { ...rules, type: 'seller' })
    if (!read.ok) return null
    const load =
      present(heartbeat) === undefined ? null : validateRecord(heartbeat, { ...rules, type: 'heartbeat' })
    return {
      record: read.record,
      binding: parseBinding(binding),
      heartbeat: load?.ok ? load.record : null,
    }
  } catch (thrown) {
    if (hasCode(thrown, 'invalid_message')) return null
    throw thrown
  }
}
