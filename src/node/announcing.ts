/**
 * How a seller is announced: its node key, the wallet's word for it, its registries, and its place in the DHT. All of it
 * runs in the background; the seller serves meanwhile.
 */
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { ResolveTxt } from '../net/bootstrap.ts'
import type { PeerSocket } from '../net/p2p/open-host.ts'
import type { Outcome, RegistryClient } from '../net/registry-client.ts'
import { announcedModels } from '../seller/announcement.ts'
import { openAnnouncer, type Announced, type AnnounceTarget } from '../seller/announcer.ts'
import type { SellerStore } from '../seller/channel-book.ts'
import { openDhtAnnouncer, type DhtAnnouncer } from '../seller/dht-announcer.ts'
import type { OfferBook } from '../seller/offer-book.ts'
import type { Slots } from '../seller/slots.ts'
import type { Throughput } from '../seller/throughput.ts'
import { judgeUrl } from '../wire/address-policy.ts'
import { curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import type { Address, Hex } from '../wire/hex.ts'
import type { NetworkTerms } from '../wire/network.ts'
import type { RecordHardware } from '../wire/seller-record.ts'
import { openNodeKey } from './identity.ts'
import { knownPeersKey } from './known-peers.ts'
import { netReport, type NetReport } from './net-report.ts'
import { openRegistryClients } from './registry-clients.ts'
import { openSellerHost, type P2pOptions, type SellerHost } from './seller-host.ts'
import { openWalletWord } from './wallet-word.ts'

export interface AnnounceOptions {
  /** URLs of registries, and domains that name some */
  registries: readonly string[]
  /** where buyers reach the seller over HTTP; null: where it listens, in a network of one's own */
  publicUrl: string | null
  region: string | null
  hardware: RecordHardware | null
  /** signs for the payout wallet; null when its key is not here: then the wallet has signed elsewhere */
  payToKey: Hex | null
  /** announce although another home does so with the same node key */
  takeOver?: boolean
  allowPrivate?: boolean
  /** absent: reached over its URL only, and not announced in the DHT */
  p2p?: P2pOptions | undefined
  resolveTxt?: ResolveTxt
  beatEveryMs?: () => number
  /** how often the DHT is told */
  provideEveryMs?: number
}

/** Where the sequence of the last record is kept, in the seller's database. */
export const announceSeqKey = 'announce.seq'

interface AnnouncingSeller {
  folder: string
  url: string
  network: NetworkTerms
  digests: Digests
  payTo: Address
  key: Hex
  offers: OfferBook
  slots: Slots
  throughput: Throughput
  warm: () => readonly string[]
  maxBodyBytes: number
  store: SellerStore
  /** serves a connection that a peer has opened */
  accept: (socket: PeerSocket) => void
  onFatal: (error: OpenSeedError) => void
  now: Clock
  log: Log
}

export interface Announcing {
  /** The offers changed: everyone is told now. */
  changed(): void
  /** What whoever asks this seller is told; null when it is not announced any more. */
  announced(): Promise<Announced | null>
  /** How it stands with being reached. */
  net(): NetReport
  /** Stops telling within two seconds, and says goodbye unless told not to. Connections stay. */
  close(goodbye?: boolean): Promise<void>
  /** Ends the connections of peers. */
  release(): Promise<void>
}

/** Returns before anyone was reached. Throws `config_invalid` or `binding_missing` for a seller that cannot be announced. */
export async function openAnnouncing(
  options: AnnounceOptions,
  seller: AnnouncingSeller,
): Promise<Announcing> {
  const { folder, network, digests, payTo, slots, offers, throughput, store, now, log } = seller
  const { allowPrivate = false, p2p, registries: names } = options
  const key = openNodeKey(folder)
  const walletWord = openWalletWord(folder, {
    node: key,
    payTo,
    digests,
    key: options.payToKey,
    now,
    log,
  })
  warnOfPlainHttp(options.publicUrl, log)
  // Said at the start and not in a log an hour later.
  await walletWord()
  const isMet = p2p !== undefined && !p2p.onlyTells
  let peerHost: SellerHost | null = null
  let dht: DhtAnnouncer | null = null
  const models = () => announcedModels(offers.all().map(({ signed }) => signed))
  const announcer = await openAnnouncer({
    key,
    profile: {
      payTo,
      authorizer: curve.addressOf(seller.key),
      url: urlToTell(options.publicUrl, seller.url, { allowPrivate, isReachedOtherwise: isMet }),
      region: options.region,
      hardware: options.hardware,
      network: network.caip2,
      concurrency: slots.limit,
      maxBodyBytes: seller.maxBodyBytes,
    },
    models,
    addrs: () => peerHost?.addrs() ?? [],
    slots,
    load: () => ({ tps: throughput.tokensPerSec(), warm: seller.warm() }),
    binding: walletWord,
    async loadSeq() {
      const stored = await store.read('getMeta', { key: announceSeqKey })
      return stored === null ? null : Number(stored)
    },
    saveSeq: (seq) => store.run('setMeta', { key: announceSeqKey, value: String(seq) }),
    takeOver: options.takeOver ?? false,
    onTakenOver(error, atStart) {
      if (atStart) seller.onFatal(error)
      else log.error({ err: error }, 'this seller is not announced any more; it goes on serving')
    },
    now,
    log,
    ...(options.beatEveryMs && { beatEveryMs: options.beatEveryMs }),
  })
  const registries = openRegistryClients(
    { registries: names, allowPrivate, resolveTxt: options.resolveTxt, now, log },
    (client) => announcer.add(targetOf(client)),
  )
  if (p2p !== undefined) {
    peerHost = openSellerHost({
      ...p2p,
      key,
      allowPrivate,
      registries: () => registries.all(),
      accept: seller.accept,
      loadKnown: () => store.read('getMeta', { key: knownPeersKey }),
      saveKnown: (value) => store.run('setMeta', { key: knownPeersKey, value }),
      onHost(host) {
        dht = openDhtAnnouncer({
          dht: host.dht,
          announced: async () => (announcer.isReachable() ? announcer.announced() : null),
          async checkAlone(toldSeq) {
            const found = await host.dht.getSeller(key.peerId)
            announcer.checkNewest('The DHT', found?.document.seq ?? null, toldSeq)
          },
          models: () => models().map(({ id }) => id),
          nextChange: (signal) => announcer.nextChange(signal),
          now,
          log,
          ...(options.provideEveryMs !== undefined && { everyMs: options.provideEveryMs }),
        })
      },
      onAddrs: () => announcer.changed(),
      now,
      log,
    })
  }
  return {
    changed: () => announcer.changed(),
    announced: () => announcer.announced(),
    net: () =>
      netReport(peerHost?.host() ?? null, {
        peer: key.peerId,
        addrs: peerHost?.addrs() ?? [],
        isOn: isMet,
        dht: dht?.progress() ?? null,
      }),
    async close(goodbye) {
      registries.stop()
      await Promise.all([announcer.close(goodbye), dht?.close()])
      await registries[Symbol.asyncDispose]()
    },
    async release() {
      await peerHost?.[Symbol.asyncDispose]()
    },
  }
}

/** Where the seller listens is nobody's business but in a network of one's own; null when there is no URL to tell. */
function urlToTell(
  publicUrl: string | null,
  listensAt: string,
  { allowPrivate, isReachedOtherwise }: { allowPrivate: boolean; isReachedOtherwise: boolean },
): string | null {
  const url = (publicUrl ?? listensAt).replace(/\/+$/, '')
  const verdict = judgeUrl(url)
  if (publicUrl === null && isReachedOtherwise && !(verdict === 'private' && allowPrivate)) return null
  if (verdict !== 'refused') return url
  throw new OpenSeedError('config_invalid', {
    message: `${url} is no address that buyers could reach.`,
    hint: 'Name one with --public-url, or set sell.announce to false.',
  })
}

function warnOfPlainHttp(publicUrl: string | null, log: Log): void {
  if (publicUrl === null || !/^http:/i.test(publicUrl)) return
  const { hostname } = new URL(publicUrl)
  if (/^(?:localhost|127\.[\d.]+|\[::1\])$/.test(hostname)) return
  log.warn(
    { url: publicUrl },
    'this URL has no TLS: buyers use it only with --allow-plain-http; what they ask could be read on the way',
  )
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
