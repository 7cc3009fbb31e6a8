/** What registries tell each other: their news in batches, around the sellers' own signatures. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { mostDeltaItems, type DeltaItem } from '../wire/delta-batch.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { heardByMs } from '../wire/validate-record.ts'
import type { Admission } from './admit.ts'
import type { Entry } from './entry.ts'
import type { SellerIndex } from './seller-index.ts'

// Escaped as a string inside JSON it stays below what registries read.
const mostTextChars = 2 * 1024 * 1024
const itemsOfTurn = 50

export interface DeltaText {
  text: string
  version: string
  more: boolean
}

/** The text of a batch: what changed since a version, without what came from `except`. */
export function deltaText(index: SellerIndex, since: string | null, except: PeerId | null): DeltaText {
  const known = since === null ? null : index.readVersion(since)
  const from = known ?? 0
  const items: string[] = []
  let chars = 0
  let reached = from
  let more = false
  for (const { entry, version } of index.changedAfter(from)) {
    if (items.length === mostDeltaItems || chars > mostTextChars) {
      more = true
      break
    }
    reached = version
    if (entry.from !== null && entry.from === except) continue
    const item = itemText(entry, from)
    items.push(item)
    chars += item.length
  }
  const version = index.versionText(more ? reached : index.version)
  const reset = since !== null && known === null
  const text = `{"version":"${version}","reset":${reset},"more":${more},"items":[${items.join(',')}]}`
  return { text, version, more }
}

/** Takes a batch's items as if each seller had sent them, in pieces that leave room for other work. */
export async function applyDeltas(
  items: readonly DeltaItem[],
  from: PeerId,
  { index, admission, now }: { index: SellerIndex; admission: Admission; now: Clock },
): Promise<void> {
  for (const [at, { record, binding, heartbeat, lastSeenMs }] of items.entries()) {
    if (at % itemsOfTurn === itemsOfTurn - 1) await nextTurn()
    // A registry may have heard of a seller later than we did, but not later than the seller spoke.
    const heardBy = (signed: unknown) => ({
      from,
      seenMs: Math.min(now(), lastSeenMs, heardByMs(seqOf(signed))),
    })
    const known = index.find(peerOf(record ?? heartbeat))
    if (record !== undefined && seqOf(record) > (known?.recordSeq ?? -1))
      await admission.register(record, binding, heardBy(record))
    if (heartbeat !== undefined && seqOf(heartbeat) > (known?.beatSeq ?? -1))
      admission.beat(heartbeat, heardBy(heartbeat))
  }
}

function itemText(entry: Entry, since: number): string {
  const { recordText, recordVersion, bindingText, beatText, lastSeenMs, state } = entry
  const parts = [`"lastSeenMs":${lastSeenMs}`]
  if (recordVersion > since && state !== 'left') parts.push(`"record":${recordText},"binding":${bindingText}`)
  if (beatText !== null) parts.push(`"heartbeat":${beatText}`)
  return `{${parts.join(',')}}`
}

function seqOf(input: unknown): number {
  const seq = typeof input === 'object' && input !== null && 'seq' in input ? input.seq : null
  return typeof seq === 'number' ? seq : 0
}

function peerOf(input: unknown): PeerId {
  const peer = typeof input === 'object' && input !== null && 'peer' in input ? input.peer : null
  return typeof peer === 'string' ? peer : ''
}
