/** The buyer's warm table of sellers: asked of all registries in the background, merged, and kept on disk. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { asOpenSeedError, type OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { isPublicUrl } from '../net/guarded-lookup.ts'
import type { RegistryFeed } from '../net/registry-feed.ts'
import { normaliseSellerUrl } from '../net/seller-client.ts'
import { judgeUrl } from '../wire/address-policy.ts'
import type { Hex } from '../wire/hex.ts'
import { bindingCovers, verifyBinding } from '../wire/peer-binding.ts'
import { encodeRecord, parseRecord, type SellerRecord } from '../wire/record.ts'
import type { SellerListing } from '../wire/seller-listing.ts'
import { announcedOf, KnownSellers, type AnnouncedSeller, type KnownSeller } from './announced.ts'
import type { TermsRules } from './terms-check.ts'

export interface DirectoryOptions extends TermsRules {
  /** Called whenever the table changed. */
  onChange: (sellers: readonly AnnouncedSeller[]) => void
  /** The table of the last session as JSON text; null when there is none. */
  load: () => Promise<string | null>
  save: (text: string) => Promise<unknown>
  /** Records may name private addresses. */
  allowPrivate: boolean
  now: Clock
  log: Log
}

export interface Directory {
  /** Asks one registry more, for as long as the directory lives. */
  add(feed: RegistryFeed): void
  /** What keeps a registry from being asked at all; null when that is over. */
  blame(name: string, error: OpenSeedError | null): void
  /** Work that will lead to a registry or to none; `ready` waits for it. */
  expect(work: Promise<void>): void
  /** Resolves when a seller is known, or all registries have answered or failed once. */
  ready(): Promise<void>
  /** What went wrong the last time, of each registry that gave no answer. */
  failures(): OpenSeedError[]
  close(): Promise<void>
}

// While few are known, a new one matters: it may be the only one that has the model.
const few = 200
const eagerMs = 1000
const patientMs = 10_000
const retryMs = 2000
const saveEveryMs = 60_000
const mostSaved = 256

export async function openDirectory(options: DirectoryOptions): Promise<Directory> {
  const { now, log } = options
  const stop = new AbortController()
  const known = new KnownSellers()
  const feeds = new Map<string, RegistryFeed>()
  const failures = new Map<string, OpenSeedError>()
  const loops = new Set<Promise<void>>()
  const firsts = new Set<Promise<void>>()
  const found = Promise.withResolvers<void>()
  let savedAtMs = -Infinity
  let isSaved = true

  const publish = () => {
    if (known.size > 0) found.resolve()
    options.onChange([...known].map(announcedOf))
  }

  async function save(): Promise<void> {
    if (isSaved) return
    isSaved = true
    savedAtMs = now()
    await options.save(encodeKnown(known)).catch((err: unknown) => {
      log.warn({ err }, 'the known sellers could not be stored')
    })
  }

  /** True when the registry has more to tell at once. */
  async function refresh(feed: RegistryFeed): Promise<boolean> {
    const { listings, gone, refused, isPartial } = await feed.next(stop.signal)
    let changed = false
    let unusable = refused
    for (const listing of listings) {
      const seller = await judgeListing(listing, known, options)
      if (seller === null) unusable += 1
      else changed = known.merge(seller, feed.url) || changed
    }
    for (const peer of gone) changed = known.unlist(peer, feed.url) || changed
    // Only while a registry answers: with all of them gone, old sellers are better than none.
    changed = known.forgetExpired(now() / 1000) || changed
    if (unusable > 0) log.debug({ registry: feed.url, unusable }, 'listings that are not used')
    if (changed) {
      isSaved = false
      publish()
    }
    if (now() - savedAtMs > saveEveryMs) await save()
    return isPartial
  }

  async function follow(feed: RegistryFeed, first: PromiseWithResolvers<void>): Promise<void> {
    while (!stop.signal.aborted) {
      let waitMs = retryMs
      try {
        const isPartial = await refresh(feed)
        failures.delete(feed.url)
        if (!isPartial) first.resolve()
        waitMs = isPartial ? 0 : known.size < few ? eagerMs : patientMs
      } catch (thrown) {
        if (stop.signal.aborted) break
        const err = asOpenSeedError(thrown)
        if (!failures.has(feed.url)) log.warn({ registry: feed.url, err }, 'a registry does not answer')
        failures.set(feed.url, err)
        first.resolve()
      }
      await sleep(waitMs, undefined, { signal: stop.signal, ref: false }).catch(() => undefined)
    }
    first.resolve()
  }

  async function allAnswered(): Promise<void> {
    for (let count = -1; count < firsts.size;) {
      count = firsts.size
      await Promise.all(firsts)
    }
  }

  for (const seller of decodeKnown(await options.load(), options)) known.merge(seller, null)
  publish()
  return {
    add(feed) {
      if (feeds.has(feed.url)) return
      feeds.set(feed.url, feed)
      const first = Promise.withResolvers<void>()
      firsts.add(first.promise)
      loops.add(follow(feed, first))
    },
    expect: (work) => void firsts.add(work),
    blame(name, error) {
      if (error === null) failures.delete(name)
      else failures.set(name, error)
    },
    ready: () => Promise.race([found.promise, allAnswered()]),
    failures: () => [...failures.values()],
    async close() {
      stop.abort()
      await Promise.all(loops)
      await Promise.all([...feeds.values()].map((feed) => feed.close()))
      await save()
    },
  }
}

/** Null for what is not used: it leads where we do not go, is of another network, or its wallet did not sign for it. */
async function judgeListing(
  { record, binding, heartbeat }: SellerListing,
  known: KnownSellers,
  options: DirectoryOptions,
): Promise<KnownSeller | null> {
  const before = known.get(record.peer)
  if (before?.record.text === record.text) return { ...before, heartbeat }
  const url = allowedUrl(record, options)
  if (url === null || !bindingCovers(options.digests, binding, record)) return null
  const verdict = await verifyBinding(binding, {
    ...options,
    nowSec: options.now() / 1000,
    // The word of a contract wallet is checked by registries. Nothing but the name is at stake: it is still the one paid.
    isValidSignature: async (_wallet, _digest, signature) => !isKeySignature(signature),
  })
  return verdict.ok ? { record, heartbeat, url } : null
}

/** Where the record leads, if we go there. */
function allowedUrl({ body }: SellerRecord, { network, allowPrivate }: DirectoryOptions): string | null {
  if (body.url === null || !body.networks.includes(network.caip2)) return null
  const isAllowed = allowPrivate ? judgeUrl(body.url) !== 'refused' : isPublicUrl(body.url)
  return isAllowed ? normaliseSellerUrl(body.url) : null
}

const isKeySignature = (signature: Hex) => signature.length === 2 + 2 * 65

function encodeKnown(known: KnownSellers): string {
  const newest = [...known].toSorted((a, b) => b.record.seq - a.record.seq).slice(0, mostSaved)
  return `[${newest.map(({ record }) => encodeRecord(record)).join(',')}]`
}

/** Records of the last session: verified before they were stored, and perhaps expired since. */
function decodeKnown(text: string | null, options: DirectoryOptions): KnownSeller[] {
  if (text === null) return []
  try {
    return (JSON.parse(text) as unknown[]).flatMap((input) => {
      const record = parseRecord(input)
      const url = record.type === 'seller' ? allowedUrl(record, options) : null
      return record.type !== 'seller' || url === null ? [] : [{ record, heartbeat: null, url }]
    })
  } catch (err) {
    options.log.warn({ err }, 'the sellers of the last session are unreadable')
    return []
  }
}
