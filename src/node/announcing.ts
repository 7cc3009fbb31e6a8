/** How a seller is announced: its node key, the wallet's word for it, and its registries, from settings and from DNS. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { isDomain, lookUpRegistries, type ResolveTxt } from '../net/bootstrap.ts'
import { openRegistryClient, type Outcome, type RegistryClient } from '../net/registry-client.ts'
import { announcedModels } from '../seller/announcement.ts'
import { openAnnouncer, type Announcer, type AnnounceTarget } from '../seller/announcer.ts'
import type { SellerStore } from '../seller/channel-book.ts'
import type { OfferBook } from '../seller/offer-book.ts'
import type { Slots } from '../seller/slots.ts'
import { judgeUrl } from '../wire/address-policy.ts'
import { curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import type { Address, Hex } from '../wire/hex.ts'
import type { NetworkTerms } from '../wire/network.ts'
import type { RecordHardware } from '../wire/seller-record.ts'
import { openBinding, openNodeKey } from './identity.ts'

export interface AnnounceOptions {
  /** URLs of registries, and domains that name some; not empty */
  registries: readonly string[]
  /** where buyers reach the seller; null: where it listens */
  publicUrl: string | null
  region: string | null
  hardware: RecordHardware | null
  /** signs for the payout wallet; null when its key is not here */
  payToKey: Hex | null
  /** announce although another home does so with the same node key */
  takeOver?: boolean
  allowPrivate?: boolean
  resolveTxt?: ResolveTxt
  beatEveryMs?: () => number
}

interface AnnouncingSeller {
  folder: string
  url: string
  network: NetworkTerms
  digests: Digests
  payTo: Address
  key: Hex
  offers: OfferBook
  slots: Slots
  maxBodyBytes: number
  store: SellerStore
  onFatal: (error: OpenSeedError) => void
  now: Clock
  log: Log
}

const seqKey = 'announce.seq'
const retryDomainMs = 60_000

/** Returns before any registry was reached. Throws `config_invalid` for a seller that cannot be announced. */
export async function openAnnouncing(
  options: AnnounceOptions,
  seller: AnnouncingSeller,
): Promise<Pick<Announcer, 'changed' | 'close'>> {
  const { folder, network, digests, payTo, slots, offers, store, now, log } = seller
  const url = (options.publicUrl ?? seller.url).replace(/\/+$/, '')
  const walletKey = checkAnnounceable(url, options.payToKey, payTo)
  const key = openNodeKey(folder)
  const announcer = await openAnnouncer({
    key,
    profile: {
      payTo,
      authorizer: curve.addressOf(seller.key),
      url,
      region: options.region,
      hardware: options.hardware,
      network: network.caip2,
      concurrency: slots.limit,
      maxBodyBytes: seller.maxBodyBytes,
    },
    models: () => announcedModels(offers.all().map(({ signed }) => signed)),
    slots,
    binding: async () => {
      const sign = (digest: Hex) => curve.sign(digest, walletKey)
      const signed = await openBinding(folder, { peer: key.peerId, payTo, digests, nowMs: now(), sign })
      return { signed, hash: digests.peerBinding(signed) }
    },
    async loadSeq() {
      const stored = await store.read('getMeta', { key: seqKey })
      return stored === null ? null : Number(stored)
    },
    saveSeq: (seq) => store.run('setMeta', { key: seqKey, value: String(seq) }),
    takeOver: options.takeOver ?? false,
    onTakenOver(error, atStart) {
      if (atStart) seller.onFatal(error)
      else log.error({ err: error }, 'this seller is not announced any more; it goes on serving')
    },
    now,
    log,
    ...(options.beatEveryMs && { beatEveryMs: options.beatEveryMs }),
  })
  const clients = new Map<string, RegistryClient>()
  const stop = new AbortController()
  const add = (registry: string) => {
    const client = openRegistryClient(registry, { now })
    if (stop.signal.aborted || clients.has(client.url)) {
      void client.close()
      return
    }
    clients.set(client.url, client)
    announcer.add(targetOf(client))
  }
  for (const name of options.registries) {
    if (isDomain(name)) void followDomain(name, add, options, log, stop.signal)
    else add(name)
  }
  return {
    changed: () => announcer.changed(),
    async close(goodbye) {
      stop.abort()
      await announcer.close(goodbye)
      await Promise.all([...clients.values()].map((client) => client.close()))
    },
  }
}

function checkAnnounceable(url: string, payToKey: Hex | null, payTo: Address): Hex {
  if (judgeUrl(url) === 'refused') {
    throw new OpenSeedError('config_invalid', {
      message: `${url} is no address that buyers could reach.`,
      hint: 'Name one with --public-url, or set sell.announce to false.',
    })
  }
  if (payToKey === null || curve.addressOf(payToKey) !== payTo) {
    throw new OpenSeedError('config_invalid', {
      message: `The wallet has no key of ${payTo}, which must sign for this seller before it can be announced.`,
      hint: 'Leave sell.pay_to empty, or set sell.announce to false.',
    })
  }
  return payToKey
}

function targetOf(client: RegistryClient): AnnounceTarget {
  const check = (outcome: Outcome) => {
    if (outcome.status !== 'refused') return outcome.status
    throw new OpenSeedError('record_refused', {
      message: `The registry ${client.url} refused what this seller announces (${outcome.reason}).`,
      details: { ...outcome, registry: client.url },
    })
  }
  return {
    url: client.url,
    async register(record, binding) {
      check(await client.register(record, binding))
    },
    heartbeat: async (beat) => check(await client.heartbeat(beat)),
    async latest(peer) {
      const listing = await client.seller(peer)
      return listing && { seq: listing.record.seq, isLive: listing.state === 'live' }
    },
  }
}

async function followDomain(
  domain: string,
  add: (url: string) => void,
  { allowPrivate = false, resolveTxt }: AnnounceOptions,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    try {
      const urls = await lookUpRegistries(domain, { allowPrivate, ...(resolveTxt && { resolveTxt }) })
      return urls.forEach(add)
    } catch (err) {
      log.warn({ domain, err }, 'the registries of a domain are not known')
      await sleep(retryDomainMs, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }
}
