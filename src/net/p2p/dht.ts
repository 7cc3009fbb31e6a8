/** The DHT as OpenSeed uses it: signed records, model directories, and no lookup that waits for its slowest node. */
import { atOnce } from '../../base/at-once.ts'
import { judgeMultiaddr, judgeUrl, type AddressVerdict } from '../../wire/address-policy.ts'
import type { NodeKey } from '../../wire/node-key.ts'
import { countersign } from '../../wire/peer-binding.ts'
import { encodeRecord, type SellerRecord } from '../../wire/record.ts'
import { agreeOn, type Claim } from './agreement.ts'
import type { BoundedStore } from './bounded-store.ts'
import { dhtKey, encodeBindingValue, type DhtDocuments, type DhtKind } from './dht-records.ts'
import { openDirectories } from './directories.ts'
import type { KadQueries } from './kad-queries.ts'
import { isCrowded, sellersPerDirectory } from './model-shards.ts'
import type {
  Dht,
  FindOptions,
  Found,
  FoundSeller,
  GetOptions,
  MarketFound,
  PutOptions,
  PutOutcome,
  SellerOptions,
  WaitOptions,
} from './open-host.ts'
import type { RecordJudge, RecordVerdict } from './record-judge.ts'
import type { Heard } from './walk.ts'

export interface DhtParts {
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
const enoughHolders = 8
const sellersWanted = 20
const sellersAtOnce = 8
const patienceMs = 500
// Where the first answer ends it, more than these would be asked in vain.
const hastyWidth = 2
const usualWidth = 10

export function openDht(parts: DhtParts): Dht {
  const { queries, store, judge, key, allowPrivate, joined, stopped } = parts
  const directories = openDirectories({ queries, store, self: key.peerId })

  async function put(
    kind: DhtKind,
    author: string,
    value: Uint8Array,
    options: PutOptions,
  ): Promise<PutOutcome> {
    const place = dhtKey(kind, author)
    // What holders would refuse is refused here, before any of them is bothered.
    const verdict = judge.offer(place, value)
    if (!verdict.ok) return verdict
    if (!judge.maySettle(place)) return { ok: false, reason: 'too_often' }
    const signal = within(options, putMs)
    await joined(signal)
    return { ok: true, holders: await queries.put(place, value, options.enough ?? enoughHolders, signal) }
  }

  async function get<Kind extends DhtKind>(
    kind: Kind,
    peer: string,
    options: GetOptions,
  ): Promise<Found<DhtDocuments[Kind]> | null> {
    const signal = within(options, getMs)
    await joined(signal)
    const place = dhtKey(kind, peer)
    if (options.lastSeq !== undefined) judge.know(place, options.lastSeq)
    const first = options.agree === 1
    const { heard, standing } = queries.values(place, first ? hastyWidth : usualWidth, signal)
    const claims = claimsOf<Kind>(judge, place, heard)
    const agreed = await agreeOn({ heard: claims, standing }, { first })
    return agreed === null ? null : { document: agreed.answer, holders: agreed.holders }
  }

  async function getSeller(peer: string, options: SellerOptions): Promise<FoundSeller | null> {
    const [found, binding] = await Promise.all([
      get('seller', peer, options),
      options.binding ? get('bind', peer, options) : null,
    ])
    if (found === null) return null
    // Who asks in haste may miss it among nodes that are gone, and without it the seller is of no use to a buyer.
    const { agree, ...patiently } = options
    const isMissed = options.binding === true && binding === null && agree === 1
    const bound = isMissed ? await get('bind', peer, patiently) : binding
    return { ...found, ...reachable(found.document, allowPrivate), binding: bound?.document ?? null }
  }

  async function findSellers(model: string, limit: number, signal: AbortSignal): Promise<string[]> {
    await joined(signal)
    return await directories.read(model, limit, signal)
  }

  async function sellersOf(
    models: readonly string[],
    options: FindOptions & SellerOptions,
  ): Promise<MarketFound> {
    const { limit = sellersWanted, timeoutMs = getMs } = options
    const signal = within(options, getMs)
    // Who is found in time is of no use without the time to ask what it says.
    const finding = AbortSignal.any([signal, AbortSignal.timeout(Math.ceil((timeoutMs * 2) / 3))])
    const seen = new Set<string>()
    const sellers: FoundSeller[] = []
    const meet = async (model: string): Promise<boolean> => {
      const listed = await findSellers(model, sellersPerDirectory, finding)
      // Where holders are crowded they name some of many.
      let isWhole = !finding.aborted && !isCrowded(listed.length)
      // Names cost nothing: one that nobody knows may take as long as there is, and must not keep the others waiting.
      const inTurn = atOnce(sellersAtOnce, patienceMs)
      let found = 0
      const look = async (peer: string) => {
        if (signal.aborted || found >= limit) {
          isWhole = false
          return
        }
        const seller = await getSeller(peer, { agree: 1, ...options, timeoutMs, signal })
        if (seller === null) return
        found += 1
        sellers.push(seller)
      }
      const fresh = listed.filter((peer) => !seen.has(peer))
      for (const peer of fresh) seen.add(peer)
      await Promise.all(fresh.map((peer) => inTurn(() => look(peer))))
      return isWhole && !signal.aborted
    }
    const areWhole = await Promise.all(models.map(meet))
    return { sellers, isWhole: !areWhole.includes(false) }
  }

  function within({ timeoutMs, signal }: WaitOptions, defaultMs: number): AbortSignal {
    const deadline = AbortSignal.timeout(timeoutMs ?? defaultMs)
    return AbortSignal.any(signal ? [stopped, deadline, signal] : [stopped, deadline])
  }

  return {
    putRecord: (record, options = {}) =>
      put(record.type, record.peer, Buffer.from(encodeRecord(record)), options),
    putBinding(binding, options = {}) {
      const signed = binding.peer === key.peerId ? countersign(key, binding) : binding
      return put('bind', signed.peer, encodeBindingValue(signed), options)
    },
    getSeller: (peer, options = {}) => getSeller(peer, options),
    getIndex: (peer, options = {}) => get('index', peer, options),
    getBinding: (peer, options = {}) => get('bind', peer, options),
    async provide(model, options = {}) {
      const signal = within(options, putMs)
      await joined(signal)
      return await directories.enter(model, options.enough ?? enoughHolders, signal)
    },
    async withdraw(model) {
      directories.leave(model)
    },
    findSellers: (model, options = {}) =>
      findSellers(model, options.limit ?? sellersWanted, within(options, getMs)),
    sellersOf: (models, options = {}) => sellersOf(models, options),
    stored: () => store.sizes,
  }
}

async function* claimsOf<Kind extends DhtKind>(
  judge: RecordJudge,
  key: Uint8Array,
  heard: AsyncIterable<Heard<Uint8Array | null> | null>,
): AsyncGenerator<Heard<Claim<DhtDocuments[Kind]> | null> | null> {
  // Most holders give the same bytes; they are judged once.
  const judged = new Map<string, RecordVerdict>()
  for await (const reply of heard) {
    const value = reply?.answer ?? null
    if (reply === null || value === null) {
      yield reply && { from: reply.from, answer: null }
      continue
    }
    const identity = Buffer.from(value).toString('latin1')
    const verdict = judged.get(identity) ?? judge.see(key, value)
    judged.set(identity, verdict)
    const claim = verdict.ok
      ? { identity, rank: verdict.seq, answer: verdict.document as DhtDocuments[Kind] }
      : null
    yield { from: reply.from, answer: claim }
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
