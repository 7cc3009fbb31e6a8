/** Composition root of the seller: construct, start, dispose. No decisions live here. */
import { setTimeout as wait } from 'node:timers/promises'
import { systemClock, type Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { openRandomWords } from '../base/random.ts'
import { openEscrow } from '../chain/escrow.ts'
import { openOutbox } from '../chain/outbox.ts'
import { openRpc } from '../chain/rpc.ts'
import type { ConfirmationPolicy } from '../config/networks.ts'
import { Allowance } from '../seller/allowance.ts'
import { openBackend } from '../seller/backend.ts'
import { ChannelBook, type SellerStore } from '../seller/channel-book.ts'
import { nothingDelivered, type Delivered } from '../seller/channel-entry.ts'
import type { Engine } from '../seller/engine/engine.ts'
import { ExactDesk } from '../seller/exact-desk.ts'
import { openSellerServer } from '../seller/http.ts'
import { OfferBook } from '../seller/offer-book.ts'
import { refundPace, resumeRefunds } from '../seller/refund.ts'
import { ReplyCache } from '../seller/reply-cache.ts'
import { Throughput } from '../seller/throughput.ts'
import { watchWarm } from '../seller/warm-models.ts'
import { openRoutes, type RouteParts } from '../seller/routes.ts'
import { Slots } from '../seller/slots.ts'
import { loadTokenCounter } from '../seller/tokens.ts'
import { lockRole } from '../store/lock.ts'
import type { SellerRequestRow } from '../store/rows.ts'
import { openWriter } from '../store/writer.ts'
import type { Usdc } from '../wire/amount.ts'
import { curve } from '../wire/curve.ts'
import { openDigests } from '../wire/digests.ts'
import type { Address, Hex } from '../wire/hex.ts'
import type { NetworkTerms } from '../wire/network.ts'
import { parseSignedOffer } from '../wire/offer.ts'
import { signReceipt } from '../wire/receipt.ts'
import { openAnnouncing, type AnnounceOptions, type Announcing } from './announcing.ts'
import { openControl } from './control.ts'
import { netReport, type NetReport } from './net-report.ts'
import { outboxStoreOf } from './outbox-store.ts'
import { openSellerChain } from './seller-chain.ts'
import { openExactChain } from './seller-exact-chain.ts'
import { listOffers, renewEveryMs, type ModelPrices } from './seller-offers.ts'
import {
  claimBeforeLeaving,
  openSellerHeads,
  openSellerSettler,
  openWorkRefusal,
  refuseStale,
  type SettleTerms,
} from './seller-settlement.ts'
import { openSellerTowers } from './seller-towers.ts'
import { safeDepth, watchChannels } from './seller-watch.ts'

export interface SellerNodeOptions {
  /** the role's own folder */
  folder: string
  network: NetworkTerms
  rpcUrls: readonly string[]
  /** How many RPCs must agree; null or absent for all but one, and never one alone of several. */
  rpcQuorum?: number | null
  /** Hash of the escrow's runtime code; null or absent where it is not known. */
  escrowCodeHash?: Hex | null
  confirmation: ConfirmationPolicy
  /** whether transactions pay for their bytes, besides gas */
  paysForData?: boolean
  /** receiverAuthorizer; signs offers and receipts and pays gas */
  key: Hex
  payTo: Address
  listen: { host: string; port: number }
  engines: readonly Engine[]
  engineKey?: string | undefined
  pricesOf: (model: string) => ModelPrices
  maxConcurrency: number
  withdrawDelaySec: number
  minDeposit: Usdc
  /** The least that a request paid by a single transfer costs; null: none are taken. Nothing more unless told. */
  leastExact?: Usdc | null
  settle: SettleTerms
  maxBodyBytes: number
  firstByteTimeoutMs: number
  idleTimeoutMs: number
  /** where and how buyers are told of this seller; absent: nowhere */
  announce?: AnnounceOptions | undefined
  log: Log
  now?: Clock
  /** how often the chain is asked for news */
  pollMs?: number
  settleEveryMs?: number
}

export interface SellerNode {
  url: string
  book: ChannelBook
  offers: OfferBook
  store: SellerStore
  /** Lists the offers anew, as after a change of prices, and announces them at once. */
  relist: () => Promise<void>
  /** Claims and sweeps everything that is charged. */
  settle: () => Promise<Usdc>
  /** How it stands with being reached by buyers. */
  net: () => NetReport
  /** Resolves when the node cannot go on. */
  failed: Promise<OpenSeedError>
  /** Drains for `graceMs`, claims, and releases everything. */
  close: (graceMs?: number) => Promise<void>
  /** Ends as a power cut would: no goodbye, no claim, connections cut. The next start on the folder puts it right. */
  abandon: () => Promise<void>
}

const reconcileEveryMs = 15_000

export async function startSellerNode(options: SellerNodeOptions): Promise<SellerNode> {
  const { network, log, key, payTo } = options
  const now = options.now ?? systemClock
  const stop = new AbortController()
  const fatal = Promise.withResolvers<OpenSeedError>()
  await using cleanup = new AsyncDisposableStack()
  cleanup.use(lockRole(options.folder, 'seller'))
  const store = cleanup.use(
    await openWriter({
      path: `${options.folder}/seller.db`,
      schema: 'seller',
      onFatal: fatal.resolve,
    }),
  )
  const { rpcQuorum: quorum = null, escrowCodeHash: pinnedCodeHash = null } = options
  const rpc = cleanup.use(
    openRpc({ urls: [...options.rpcUrls], chainId: network.chainId, timeoutMs: 10_000, quorum }),
  )
  const escrow = openEscrow(rpc, network)
  const { confirmation: policy, paysForData = false } = options
  const { heads, headNumber } = await openSellerHeads(escrow, { policy, pinnedCodeHash, quorum, now })
  const { depth: confirmations, depositConfirmations } = policy
  const outboxStore = outboxStoreOf(store)
  const outbox = openOutbox({
    rpc,
    store: outboxStore,
    key,
    chainId: network.chainId,
    confirmations,
    now,
    log,
    signal: stop.signal,
  })
  const digests = openDigests(network)
  const chain = openSellerChain(escrow, outbox, outboxStore, {
    digests,
    key,
    payTo,
    depositConfirmations,
    paysForData,
  })
  const offers = new OfferBook(now)
  // Loading takes a third of a second of the thread that streams will need.
  const counter = loadTokenCounter()
  const relist = () =>
    listOffers(options.engines, { digests, key, payTo, pricesOf: options.pricesOf, now }, offers, store)
  await relist()

  const towers = await openSellerTowers({ network, digests, key, payTo, store, now, log })
  const book = new ChannelBook({
    store,
    signReceipt: (receipt) => signReceipt(digests, curve, key, receipt),
    onStored: (row) => towers.feed.stored(row),
    now,
    log,
  })
  await book.load(chain.readChannels, (row, cost) => proveDelivered(store, row, cost))
  if ([...book.entries()].length > 0) await nextSecond(now)

  const exact = new ExactDesk({
    store,
    chain: openExactChain(escrow, outbox, outboxStore, depositConfirmations),
    refuseWork: () => refuseStale(heads),
    signReceipt: (receipt) => signReceipt(digests, curve, key, receipt),
    now,
    log,
  })
  await exact.abandonEarlier()

  const settler = openSellerSettler({ book, chain, now, log }, options.settle, options.withdrawDelaySec)
  const slots = new Slots(options.maxConcurrency)
  const throughput = new Throughput(now)
  let announcing: Announcing | null = null
  const parts: RouteParts = {
    seller: {
      network,
      payTo,
      receiverAuthorizer: outbox.address,
      withdrawDelay: options.withdrawDelaySec,
      minDeposit: options.minDeposit,
      leastExact: options.leastExact === undefined ? 0n : options.leastExact,
    },
    digests,
    curve,
    book,
    offers,
    slots,
    settleDeposit: chain.settleDeposit,
    refuseWork: openWorkRefusal(heads, settler),
    exact,
    sendRefund: chain.sendRefund,
    readChain: chain.readChannel,
    // A hundredth of the smallest deposit: refunds cost this seller gas.
    leastRefund: options.minDeposit / 100n,
    refundAllowance: new Allowance(refundPace, now),
    randomId: openRandomWords(),
    backends: options.engines.map((engine) =>
      cleanup.use(openBackend({ ...options, baseUrl: engine.baseUrl, apiKey: options.engineKey })),
    ),
    replies: new ReplyCache(),
    throughput,
    announced: async () => announcing?.announced() ?? null,
    towers: towers.desk,
    countTokens: () => counter,
    readerTimeoutMs: options.idleTimeoutMs,
    maxBodyBytes: options.maxBodyBytes,
    log,
    now,
  }
  await counter
  const net = () => announcing?.net() ?? netReport(null, null)
  const server = await openSellerServer({
    ...options.listen,
    maxBodyBytes: options.maxBodyBytes,
    routes: openRoutes(parts),
    log,
  })
  try {
    if (options.announce !== undefined) {
      const warm = cleanup.use(watchWarm(options.engines, { apiKey: options.engineKey }))
      announcing = await openAnnouncing(options.announce, {
        folder: options.folder,
        url: server.url,
        network,
        digests,
        payTo,
        key,
        offers,
        slots,
        throughput,
        warm: () => warm.ids(),
        maxBodyBytes: options.maxBodyBytes,
        store,
        accept: (socket) => server.accept(socket),
        onFatal: fatal.resolve,
        now,
        log,
      })
    }
    cleanup.use(await openControl(options.folder, { net: async () => net(), ...towers.control }))
  } catch (error) {
    await announcing?.close(false)
    await announcing?.release()
    await server.close(0)
    throw error
  }
  const relistAndTell = async () => {
    await relist()
    announcing?.changed()
  }
  // What the previous run saw mined may be gone.
  chain.reorged(Math.max(0, headNumber - safeDepth))
  const background = [
    finishEarlier(() => outbox.resume(), parts, log).then(() => reconcileExact(exact, stop.signal)),
    settler.run(options.settleEveryMs ?? 10_000, stop.signal),
    watchChannels(
      {
        escrow,
        chain,
        book,
        settler,
        heads,
        fromBlock: headNumber,
        pollMs: options.pollMs ?? 10_000,
        depositConfirmations,
        log,
      },
      stop.signal,
    ),
    renewOffers(relistAndTell, log, stop.signal),
    towers.desk.watch(stop.signal),
  ]
  const resources = cleanup.move()
  let ended: Promise<void> | undefined
  const end = async (leave: () => Promise<void>) => {
    towers.desk.close()
    await leave()
    stop.abort(new OpenSeedError('shutting_down', { message: 'The seller is stopping.' }))
    // An RPC that hangs must not hold up the end.
    await rpc.close()
    await Promise.allSettled(background)
    await resources.disposeAsync()
  }
  return {
    url: server.url,
    book,
    offers,
    store,
    relist: relistAndTell,
    settle: () => settler.settle('all'),
    net,
    failed: fatal.promise,
    close: (graceMs = 10_000) =>
      (ended ??= end(async () => {
        await Promise.all([announcing?.close(), server.close(graceMs)])
        await announcing?.release()
        await claimBeforeLeaving(settler, log)
      })),
    abandon: () =>
      (ended ??= end(async () => {
        await Promise.all([announcing?.close(false), server.close(0)])
        await announcing?.release()
      })),
  }
}

/** What an interrupted request delivered at least: the fewest output tokens that explain its journalled cost. */
async function proveDelivered(store: SellerStore, row: SellerRequestRow, cost: Usdc): Promise<Delivered> {
  const stored = cost === 0n ? null : await store.read('findOffer', { hash: row.offerHash })
  if (stored === null) return nothingDelivered
  const { offer, details } = parseSignedOffer(JSON.parse(stored.json))
  const priced = cost - offer.fixedPrice
  // The least charge and the fixed price are due for a single token already.
  if (cost <= details.min || priced <= 0n || offer.priceOut === 0n)
    return { ...nothingDelivered, outputTokens: 1 }
  return { ...nothingDelivered, outputTokens: Number(((priced - 1n) * 1_000_000n) / offer.priceOut) + 1 }
}

/** Requests signed in the second of a restart are refused; waiting it out keeps honest ones from being among them. */
async function nextSecond(now: Clock): Promise<void> {
  await wait(1000 - (now() % 1000))
}

/** Outcomes that the chain did not tell in time. */
async function reconcileExact(exact: ExactDesk, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await exact.reconcile()
    await wait(reconcileEveryMs, undefined, { signal, ref: false }).catch(() => undefined)
  }
}

async function finishEarlier(resume: () => Promise<void>, parts: RouteParts, log: Log): Promise<void> {
  try {
    await resume()
  } catch (error) {
    log.warn({ error }, 'transactions of the previous run are still unfinished')
  }
  await resumeRefunds(parts)
}

async function renewOffers(relist: () => Promise<void>, log: Log, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await wait(renewEveryMs, undefined, { signal, ref: false }).catch(() => undefined)
    if (!signal.aborted)
      await relist().catch((error: unknown) => log.warn({ error }, 'offers were not renewed'))
  }
}
