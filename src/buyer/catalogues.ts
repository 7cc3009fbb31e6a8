/** Models of sellers whose record names them by hash: read from the seller itself, in the background, and kept. */
import { setTimeout as sleep } from 'node:timers/promises'
import { atOnce } from '../base/at-once.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { readBody } from '../net/read-body.ts'
import type { SellerClient } from '../net/seller-client.ts'
import type { Hex } from '../wire/hex.ts'
import { mostCatalogBytes, parseCatalog, type CatalogRef, type RecordModel } from '../wire/seller-record.ts'
import type { KnownSeller } from './announced.ts'

export interface CataloguesParts {
  clientFor: (url: string) => Pick<SellerClient, 'request' | 'url'>
  /** Called when a catalogue was read. */
  onRead: () => void
  log: Log
}

export interface Catalogues {
  /** What the seller offers; null while its catalogue was not read. */
  modelsOf(seller: KnownSeller): readonly RecordModel[] | null
  /** Reads what these sellers name and is not known, and forgets what none of them names. */
  follow(sellers: Iterable<KnownSeller>): void
  close(): Promise<void>
}

const mostCatalogues = 128
const mostModels = 50_000
const mostAsked = 4
const answerWithinMs = 5_000
const firstRetryMs = 1_000
const longestRetryMs = 600_000

interface Entry {
  models: readonly RecordModel[] | null
  /** Who says to have it. */
  places: readonly Place[]
}

interface Place {
  catalog: CatalogRef
  /** The seller's. */
  url: string
}

export function openCatalogues({ clientFor, onRead, log }: CataloguesParts): Catalogues {
  const stop = new AbortController()
  const entries = new Map<Hex, Entry>()
  const running = new Set<Promise<void>>()
  const inTurn = atOnce(mostAsked)

  async function read({ hash, url: place }: CatalogRef, url: string): Promise<RecordModel[]> {
    const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(answerWithinMs)])
    const { status, body } = await clientFor(url).request({
      method: 'GET',
      path: pathOf(place, url),
      headers: { accept: 'application/json' },
      signal,
      firstByteTimeoutMs: answerWithinMs,
      idleTimeoutMs: answerWithinMs,
    })
    const bytes = await readBody(body, mostCatalogBytes)
    if (status === 200) return parseCatalog(bytes, hash)
    throw new OpenSeedError('seller_failed', {
      message: `${url} answered ${status} when asked for its catalogue.`,
    })
  }

  const modelsKept = () =>
    [...entries.values()].reduce((sum, { models }) => sum + (models === null ? 0 : models.length), 0)

  /** Until it was read, or nobody names it any more. Whoever names a hash may not have what it stands for. */
  async function fill(hash: Hex, entry: Entry): Promise<void> {
    for (let failures = 0; entries.get(hash) === entry && !stop.signal.aborted; failures += 1) {
      const { catalog, url } = entry.places[failures % entry.places.length]!
      try {
        const models = await inTurn(() => read(catalog, url))
        if (entries.get(hash) !== entry || modelsKept() + models.length > mostModels) return
        entry.models = models
        return onRead()
      } catch (err) {
        if (!stop.signal.aborted) log.debug({ seller: url, err }, 'no catalogue from the seller')
      }
      const waitMs = Math.min(firstRetryMs * 2 ** failures, longestRetryMs)
      await sleep(waitMs, undefined, { signal: stop.signal, ref: false }).catch(() => undefined)
    }
  }

  return {
    modelsOf: ({ record }) => {
      const { models, catalog } = record.body
      return models ?? (catalog && (entries.get(catalog.hash)?.models ?? null))
    },
    follow(sellers) {
      const named = new Map<Hex, Place[]>()
      for (const { record, url } of sellers) {
        const { catalog } = record.body
        if (catalog === null) continue
        const places = named.get(catalog.hash)
        if (places !== undefined) places.push({ catalog, url })
        else if (named.size < mostCatalogues) named.set(catalog.hash, [{ catalog, url }])
      }
      for (const hash of entries.keys()) if (!named.has(hash)) entries.delete(hash)
      for (const [hash, places] of named) {
        const known = entries.get(hash)
        if (known !== undefined) {
          known.places = places
          continue
        }
        const entry: Entry = { models: null, places }
        entries.set(hash, entry)
        const work: Promise<void> = fill(hash, entry).finally(() => running.delete(work))
        running.add(work)
      }
    },
    async close() {
      stop.abort()
      await Promise.all(running)
    },
  }
}

/** Asked of the seller itself, whatever host its catalogue is said to be at. */
function pathOf(place: string, seller: string): string {
  const { pathname, search } = new URL(place)
  const inside = place.startsWith(`${seller}/`) ? place.slice(seller.length) : pathname + search
  return inside.replace(/#.*$/s, '')
}
