/** Where sellers that are called by their peer id are met: as the table says, as they were met the last time, or by the DHT. */
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { DialTarget } from '../net/seller-dialer.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { encodeRecord, parseRecord, type SellerRecord } from '../wire/record.ts'
import type { KnownSeller } from './announced.ts'
import { reachOf, type ReachRules } from './reach.ts'

export interface PeerBookParts {
  rules: ReachRules
  /** What the table of sellers has. */
  find: (peer: PeerId) => KnownSeller | null
  /** The newest record that anybody in the DHT has. Bounded; never throws. */
  lookUp: (peer: PeerId) => Promise<SellerRecord | null>
  /** The record with which it was met the last time, as JSON text. */
  load: (peer: PeerId) => Promise<string | null>
  save: (peer: PeerId, record: string) => Promise<unknown>
  now: Clock
  log: Log
}

export interface PeerBook {
  /** Null for a peer of whom nobody knows anything that we would dial. */
  targetOf(peer: PeerId): Promise<DialTarget | null>
}

const lookAgainMs = 30_000
const mostLooked = 1_024

export function openPeerBook(parts: PeerBookParts): PeerBook {
  const { rules, now, log } = parts
  /** Records of peers that the table does not have, or not newly. */
  const met = new Map<PeerId, SellerRecord>()
  const looked = new Map<PeerId, { atMs: number; done: Promise<SellerRecord | null> }>()

  async function remember(record: SellerRecord): Promise<void> {
    const before = met.get(record.peer)
    if (before !== undefined && before.seq >= record.seq) return
    met.set(record.peer, record)
    await parts.save(record.peer, encodeRecord(record)).catch((err: unknown) => {
      log.warn({ peer: record.peer, err }, 'where a seller was met could not be stored')
    })
  }

  async function recall(peer: PeerId): Promise<SellerRecord | null> {
    const known = met.get(peer)
    if (known !== undefined) return known
    const stored = readRecord(await parts.load(peer), peer)
    if (stored !== null) met.set(peer, stored)
    return stored
  }

  /** One question at a time, and not again at once when nobody knew. */
  async function lookUp(peer: PeerId): Promise<SellerRecord | null> {
    const last = looked.get(peer)
    if (last !== undefined && now() - last.atMs < lookAgainMs) return await last.done
    const done = parts.lookUp(peer).then(async (found) => {
      if (found !== null) await remember(found)
      return found
    })
    looked.delete(peer)
    looked.set(peer, { atMs: now(), done })
    const [oldest] = looked.keys()
    if (looked.size > mostLooked && oldest !== undefined) looked.delete(oldest)
    return await done
  }

  const targetIn = (record: SellerRecord | null) =>
    record === null ? null : (reachOf(record, rules)?.target ?? null)

  return {
    async targetOf(peer) {
      const listed = parts.find(peer)
      if (listed !== null) void remember(listed.record)
      const stored = await recall(peer)
      const isListed = listed !== null && listed.record.seq >= (stored?.seq ?? 0)
      const known = isListed ? listed.target : targetIn(stored)
      const record = isListed ? listed.record : stored
      if (known === null || record === null) return targetIn(await lookUp(peer))
      // It may be elsewhere by now; whoever dials next will know.
      if (record.expSec * 1000 < now()) void lookUp(peer)
      return known
    },
  }
}

// Verified before it was stored; and whoever answers there has to prove to be this peer.
function readRecord(text: string | null, peer: PeerId): SellerRecord | null {
  if (text === null) return null
  try {
    const record = parseRecord(JSON.parse(text))
    return record.type === 'seller' && record.peer === peer ? record : null
  } catch {
    return null
  }
}
