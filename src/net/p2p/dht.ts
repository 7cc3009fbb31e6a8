/** The DHT as OpenSeed uses it: signed records, model directories, and no lookup that waits for its slowest node. */
import type { KadDHT } from '@libp2p/kad-dht'
import { judgeMultiaddr, judgeUrl, type AddressVerdict } from '../../wire/address-policy.ts'
import type { NodeKey } from '../../wire/node-key.ts'
import { encodeRecord, type SellerRecord } from '../../wire/record.ts'
import { agreeOn, type Reply } from './agreement.ts'
import type { BoundedStore } from './bounded-store.ts'
import { dhtKey, encodeBindingValue, type DhtDocuments, type DhtKind } from './dht-records.ts'
import { openDirectories } from './directories.ts'
import { countUpTo, type KadQueries } from './kad-queries.ts'
import { sellersPerDirectory } from './model-shards.ts'
import type { Dht, Found, FoundSeller, GetOptions, PutOptions, PutOutcome, WaitOptions } from './open-host.ts'
import type { RecordJudge, RecordVerdict } from './record-judge.ts'

export interface DhtParts {
  kad: KadDHT
  queries: KadQueries
  store: BoundedStore
  judge: RecordJudge
  key: NodeKey
  allowPrivate: boolean
  /** Resolves when there is somebody to ask, or when the signal ends the wait. */
  joined: (signal: AbortSignal) => Promise<unknown>
  /** Aborted when the host stops. */
  stopped: AbortSignal
}

const getMs = 3_000
const putMs = 30_000
const afterFirstMs = 600
const agreeing = 3
const enoughHolders = 8
const fewHolders = 4
const sellersWanted = 20
const recordsAtOnce = 8

export function openDht(parts: DhtParts): Dht {
  const { kad, queries, store, judge, key, allowPrivate, joined, stopped } = parts
  const directories = openDirectories({ kad, queries, store, self: key.peerId })

  async function put(
    kind: DhtKind,
    author: string,
    value: Uint8Array,
    options: PutOptions,
  ): Promise<PutOutcome> {
    const place = dhtKey(kind, author)
    // What holders would refuse is refused here, before any of them is bothered.
    const verdict = judge.see(place, value)
    if (!verdict.ok) return verdict
    if (!judge.maySettle(place)) return { ok: false, reason: 'too_often' }
    const signal = within(options, putMs)
    await joined(signal)
    const tell = () =>
      countUpTo(options.enough ?? enoughHolders, queries.put(place, value, signal), 'PUT_VALUE')
    const holders = await tell()
    // Where most of the nearest nodes turned out to be dead: they are out of the table now.
    return { ok: true, holders: holders < fewHolders && !signal.aborted ? await tell() : holders }
  }

  async function get<Kind extends DhtKind>(
    kind: Kind,
    peer: string,
    options: GetOptions,
  ): Promise<Found<DhtDocuments[Kind]> | null> {
    const signal = within(options, getMs)
    await joined(signal)
    const agreed = await queries.insist(async () => {
      const enough = new AbortController()
      const replies = repliesOf<Kind>(parts, dhtKey(kind, peer), AbortSignal.any([enough.signal, signal]))
      try {
        return await agreeOn(replies, { agree: options.agree ?? agreeing, afterFirstMs })
      } finally {
        enough.abort()
      }
    }, signal)
    return agreed === null ? null : { document: agreed.answer, holders: agreed.holders }
  }

  async function getSeller(peer: string, options: GetOptions): Promise<FoundSeller | null> {
    const found = await get('seller', peer, options)
    return found === null ? null : { ...found, ...reachable(found.document, allowPrivate) }
  }

  async function findSellers(model: string, limit: number, signal: AbortSignal): Promise<string[]> {
    await joined(signal)
    return await directories.read(model, limit, signal)
  }

  function within({ timeoutMs, signal }: WaitOptions, defaultMs: number): AbortSignal {
    const deadline = AbortSignal.timeout(timeoutMs ?? defaultMs)
    return AbortSignal.any(signal ? [stopped, deadline, signal] : [stopped, deadline])
  }

  return {
    putRecord: (record, options = {}) =>
      put(record.type, record.peer, Buffer.from(encodeRecord(record)), options),
    putBinding: (binding, options = {}) => put('bind', key.peerId, encodeBindingValue(key, binding), options),
    getSeller: (peer, options = {}) => getSeller(peer, options),
    getIndex: (peer, options = {}) => get('index', peer, options),
    getBinding: (peer, options = {}) => get('bind', peer, options),
    async provide(model, options = {}) {
      const signal = within(options, putMs)
      await joined(signal)
      return await directories.enter(model, enoughHolders, signal)
    },
    withdraw: (model) => directories.leave(model),
    findSellers: (model, options = {}) =>
      findSellers(model, options.limit ?? sellersWanted, within(options, getMs)),
    async sellersOf(model, options = {}) {
      const limit = options.limit ?? sellersWanted
      const signal = within(options, getMs)
      const found: FoundSeller[] = []
      const waiting = (await findSellers(model, sellersPerDirectory, signal)).values()
      const work = async () => {
        for (const peer of waiting) {
          if (found.length >= limit || signal.aborted) return
          const seller = await getSeller(peer, { agree: 1, ...options, signal })
          if (seller !== null && found.length < limit) found.push(seller)
        }
      }
      await Promise.all(Array.from({ length: recordsAtOnce }, work))
      return found
    },
    stored: () => store.sizes,
  }
}

async function* repliesOf<Kind extends DhtKind>(
  { queries, judge }: DhtParts,
  key: Uint8Array,
  signal: AbortSignal,
): AsyncGenerator<Reply<DhtDocuments[Kind]>> {
  // Most holders give the same bytes; they are judged once.
  const judged = new Map<string, RecordVerdict>()
  for await (const { from, value } of queries.values(key, signal)) {
    const identity = Buffer.from(value).toString('latin1')
    const verdict = judged.get(identity) ?? judge.see(key, value)
    judged.set(identity, verdict)
    if (verdict.ok)
      yield { from, identity, rank: verdict.seq, answer: verdict.document as DhtDocuments[Kind] }
  }
}

function reachable({ body }: SellerRecord, allowPrivate: boolean): { url: string | null; addrs: string[] } {
  const isAllowed = (verdict: AddressVerdict) =>
    verdict === 'public' || (allowPrivate && verdict === 'private')
  return {
    url: body.url !== null && isAllowed(judgeUrl(body.url)) ? body.url : null,
    addrs: body.addrs.filter((addr) => isAllowed(judgeMultiaddr(addr))),
  }
}
