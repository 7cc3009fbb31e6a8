/**
 * A registry's part among the peers: a stable node that others begin with, that relays for the sellers it lists, and
 * that stores in the DHT what sellers told it. Those are the sellers' own signed bytes: whoever reads them by peer id
 * need not believe any registry.
 */
import { setTimeout as pause } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { openHost, type Host, type PutOutcome } from '../net/p2p/open-host.ts'
import type { Entry } from '../registry/entry.ts'
import type { IndexBook } from '../registry/index-book.ts'
import type { SellerIndex } from '../registry/seller-index.ts'
import type { NodeKey } from '../wire/node-key.ts'
import { parseBinding, type SignedBinding } from '../wire/peer-binding.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { parseRecord, type IndexRecord, type SellerRecord } from '../wire/record.ts'

export interface RegistryDhtOptions {
  key: NodeKey
  /** Multiaddrs to listen on. */
  listen: readonly string[]
  /** Multiaddrs told to others instead of those listened on. */
  announce?: readonly string[]
  /** Multiaddrs of other DHT servers, each with its /p2p/ part. */
  bootstrap: readonly string[]
  allowPrivate: boolean
  index: SellerIndex
  /** Is told where this registry is met, and gives the record that says so. */
  book: IndexBook
  now: Clock
  log: Log
  everyMs?: number
}

export interface RegistryDht extends AsyncDisposable {
  host: Host
}

const usualEveryMs = 5_000
// Half of a record's life there, so that it never runs out while its seller is heard of.
const renewMs = 10 * 60_000
const putMs = 5_000
// A few at a time: each is some forty questions to others.
const atOnce = 4

/** Joins and keeps publishing until it is disposed of. Throws `port_in_use` or `config_invalid`. */
export async function joinDht(options: RegistryDhtOptions): Promise<RegistryDht> {
  const { key, listen, announce = [], bootstrap, allowPrivate, index, book, now } = options
  const relay = { mayReserve: (peer: PeerId) => index.find(peer)?.state === 'live' }
  const host = await openHost({
    key,
    listen,
    announce,
    bootstrap,
    allowPrivate,
    now,
    relay,
    server: true,
  }).catch((thrown: unknown) => {
    throw cannotListen(thrown, listen)
  })
  const tellAddrs = () => book.setAddrs(host.addrs())
  tellAddrs()
  const forgetListener = host.onReachability(tellAddrs)
  const stop = new AbortController()
  const publishing = publish(host, options, stop.signal)
  return {
    host,
    async [Symbol.asyncDispose]() {
      stop.abort()
      forgetListener()
      await publishing
      await host[Symbol.asyncDispose]()
    },
  }
}

async function publish(host: Host, options: RegistryDhtOptions, signal: AbortSignal): Promise<void> {
  const { index, now, log, everyMs = usualEveryMs } = options
  const told = new Map<PeerId, { seq: number; atMs: number }>()
  while (!signal.aborted) {
    for (const peer of told.keys()) if (index.find(peer) === undefined) told.delete(peer)
    const due = dueNow(options, told)
    const work = async () => {
      for (const { peer, seq, records, bindings } of due) {
        if (signal.aborted) return
        const wait = { timeoutMs: putMs, signal }
        const outcomes = [
          ...records.map((record) => host.dht.putRecord(record, wait)),
          ...bindings.map((binding) => host.dht.putBinding(binding, wait)),
        ]
        const failures = (await Promise.allSettled(outcomes)).flatMap(failureIn)
        if (failures.length === 0) told.set(peer, { seq, atMs: now() })
        else if (!signal.aborted) log.debug({ peer, failures }, 'not stored in the DHT')
      }
    }
    await Promise.all(Array.from({ length: atOnce }, work))
    await pause(everyMs, undefined, { signal, ref: false }).catch(() => undefined)
  }
}

/** What one author signed, all of it stored under its name. */
interface Words {
  peer: PeerId
  seq: number
  records: (IndexRecord | SellerRecord)[]
  bindings: SignedBinding[]
}

function* dueNow(
  { index, book, now }: RegistryDhtOptions,
  told: ReadonlyMap<PeerId, { seq: number; atMs: number }>,
): Generator<Words> {
  const isDue = (peer: PeerId, seq: number) => {
    const last = told.get(peer)
    return last?.seq !== seq || now() - last.atMs > renewMs
  }
  const own = book.own()
  if (isDue(own.peer, own.seq)) yield { peer: own.peer, seq: own.seq, records: [own], bindings: [] }
  for (const entry of index.live()) {
    const { peer, recordSeq } = entry
    if (isOurs(entry) && isDue(peer, recordSeq)) yield wordsOf(entry)
  }
}

/**
 * A seller with addresses among the peers tells the DHT itself. For those with a URL only, the registries do it that
 * they spoke to, or all would repeat what any of them heard. One with neither has yet to learn how it is reached: its
 * record would keep the next one out of the DHT for half a minute.
 */
const isOurs = ({ from, isPeer, direct }: Entry) => from === null && direct && !isPeer

function wordsOf({ peer, recordSeq, recordText, bindingText }: Entry): Words {
  const binding = parseBinding(JSON.parse(bindingText))
  return {
    peer,
    seq: recordSeq,
    records: [parseRecord(JSON.parse(recordText)) as SellerRecord],
    // Without its node's signature the DHT would refuse it.
    bindings: binding.nodeSignature === undefined ? [] : [binding],
  }
}

// Stored a moment ago by somebody else is stored.
function failureIn(settled: PromiseSettledResult<PutOutcome>): unknown[] {
  if (settled.status === 'rejected') return [settled.reason]
  const { value } = settled
  return value.ok || value.reason === 'too_often' ? [] : [value.reason]
}

function cannotListen(thrown: unknown, listen: readonly string[]): unknown {
  if (thrown instanceof OpenSeedError || !(thrown instanceof Error)) return thrown
  const isTaken = thrown.message.includes('EADDRINUSE')
  return new OpenSeedError(isTaken ? 'port_in_use' : 'config_invalid', {
    message: isTaken
      ? `The port of ${listen.join(', ')} is taken.`
      : `The peer-to-peer side cannot listen on ${listen.join(', ')}.`,
    hint: 'Choose another with --p2p-listen, such as /ip4/0.0.0.0/tcp/8407.',
    cause: thrown,
  })
}
