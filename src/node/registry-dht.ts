/**
 * A registry's part in the DHT: a stable node that others begin with, and that stores there the records which sellers
 * told it. They are the sellers' own signed bytes: whoever reads them by peer id need not believe any registry.
 */
import { setTimeout as wait } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { openHost, type Host } from '../net/p2p/open-host.ts'
import type { Entry } from '../registry/entry.ts'
import type { SellerIndex } from '../registry/seller-index.ts'
import type { NodeKey } from '../wire/node-key.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { validateRecord } from '../wire/validate-record.ts'

export interface RegistryDhtOptions {
  key: NodeKey
  /** Multiaddrs to listen on. */
  listen: readonly string[]
  /** Multiaddrs of other DHT servers, each with its /p2p/ part. */
  bootstrap: readonly string[]
  allowPrivate: boolean
  index: SellerIndex
  now: Clock
  log: Log
  everyMs?: number
}

export interface RegistryDht extends AsyncDisposable {
  /** Where others join through this node, with the /p2p/ part. */
  addrs(): string[]
}

const usualEveryMs = 5000
// Half of a record's life there, so that it never runs out while its seller is heard of.
const renewMs = 10 * 60_000
const putMs = 5000

/** Joins and keeps publishing until it is disposed. */
export async function joinDht(options: RegistryDhtOptions): Promise<RegistryDht> {
  const { key, listen, bootstrap, allowPrivate, now } = options
  const host = await openHost({ key, listen, bootstrap, allowPrivate, now, server: true })
  const stop = new AbortController()
  const publishing = publish(host, options, stop.signal)
  return {
    addrs: () => host.addrs(),
    async [Symbol.asyncDispose]() {
      stop.abort()
      await publishing
      await host[Symbol.asyncDispose]()
    },
  }
}

async function publish(host: Host, options: RegistryDhtOptions, signal: AbortSignal): Promise<void> {
  const { index, now, log, everyMs = usualEveryMs } = options
  const put = new Map<PeerId, { seq: number; atMs: number }>()
  while (!signal.aborted) {
    for (const { entry } of index.changedAfter(0)) {
      if (signal.aborted) return
      const last = put.get(entry.peer)
      if (entry.state !== 'live') put.delete(entry.peer)
      else if (last?.seq !== entry.recordSeq || now() - last.atMs > renewMs) {
        put.set(entry.peer, { seq: entry.recordSeq, atMs: now() })
        await putEntry(host, entry, now, signal).catch((error: unknown) => {
          put.delete(entry.peer)
          if (!signal.aborted) log.warn({ error, peer: entry.peer }, 'a record was not stored in the DHT')
        })
      }
    }
    await wait(everyMs, undefined, { signal, ref: false }).catch(() => undefined)
  }
}

async function putEntry(host: Host, entry: Entry, now: Clock, signal: AbortSignal): Promise<void> {
  const verdict = validateRecord(entry.recordText, {
    nowSec: Math.floor(now() / 1000),
    lastSeq: null,
    type: 'seller',
  })
  if (!verdict.ok || verdict.record.type !== 'seller') return
  const outcome = await host.dht.putRecord(verdict.record, { timeoutMs: putMs, signal })
  if (!outcome.ok && outcome.reason !== 'too_often') throw new Error(`the DHT refuses it: ${outcome.reason}`)
}
