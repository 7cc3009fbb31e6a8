/** Composition root of the seller: construct, start, dispose. No decisions live here. */
import { setTimeout as wait } from 'node:timers/promises'
import { systemClock, type Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { openRandomWords } from '../base/random.ts'
import { openEscrow, type Escrow } from '../chain/escrow.ts'
import type { EscrowEvent } from '../chain/events.ts'
import { openOutbox } from '../chain/outbox.ts'
import { openRpc } from '../chain/rpc.ts'
import { watchEscrow } from '../chain/watch.ts'
import type { ConfirmationPolicy } from '../config/networks.ts'
import { openBackend } from '../seller/backend.ts'
import { ChannelBook, type SellerStore } from '../seller/channel-book.ts'
import { nothingDelivered, type Delivered } from '../seller/channel-entry.ts'
import type { Engine } from '../seller/engine/engine.ts'
import { openSellerServer } from '../seller/http.ts'
import { OfferBook } from '../seller/offer-book.ts'
import { resumeRefunds } from '../seller/refund.ts'
import { ReplyCache } from '../seller/reply-cache.ts'
import { openRoutes, type RouteParts } from '../seller/routes.ts'
import { settleLoop, settleNow, type SettleParts, type SettlePolicy } from '../seller/settle.ts'
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
import { openAnnouncing, type AnnounceOptions } from './announcing.ts'
import { outboxStoreOf } from './outbox-store.ts'
import { openSellerChain, type SellerChain } from './seller-chain.ts'
import { listOffers, renewEveryMs, type ModelPrices } from './seller-offers.ts'

export interface SellerNodeOptions {
  /** the role's own folder */
  folder: string
  network: NetworkTerms
  rpcUrls: readonly string[]
  confirmation: ConfirmationPolicy
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
  settle: SettlePolicy
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
  /** Resolves when the node cannot go on. */
  failed: Promise<OpenSeedError>
  /** Drains for `graceMs`, claims, and releases everything. */
  close: (graceMs?: number) => Promise<void>
  /** Ends as a power cut would: no goodbye, no claim, connections cut. The next start on the folder puts it right. */
  abandon: () => Promise<void>
}

const shutdownClaimMs = 30_000

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
  const rpc = cleanup.use(
    openRpc({ urls: [...options.rpcUrls], chainId: network.chainId, timeoutMs: 10_000 }),
  )
  const escrow = openEscrow(rpc, network)
  await checkChain(escrow, options.confirmation, now)
  const { depth: confirmations } = options.confirmation
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
  const chain = openSellerChain(escrow, outbox, outboxStore, { digests, key, payTo })
  const offers = new OfferBook(now)
  // Loading takes a third of a second of the thread that streams will need.
  const counter = loadTokenCounter()
  const relist = () =>
    listOffers(options.engines, { digests, key, payTo, pricesOf: options.pricesOf, now }, offers, store)
  await relist()

  const book = new ChannelBook({
    store,
    signReceipt: (receipt) => signReceipt(digests, curve, key, receipt),
    now,
    log,
  })
  await book.load(chain.readChannels, (row, cost) => proveDelivered(store, row, cost))
  if ([...book.entries()].length > 0) await nextSecond(now)

  const slots = new Slots(options.maxConcurrency)
  const parts: RouteParts = {
    seller: {
      network,
      payTo,
      receiverAuthorizer: outbox.address,
      withdrawDelay: options.withdrawDelaySec,
      minDeposit: options.minDeposit,
    },
    digests,
    curve,
    book,
    offers,
    slots,
    settleDeposit: chain.settleDeposit,
    sendRefund: chain.sendRefund,
    readChain: chain.readChannel,
    // A hundredth of the smallest deposit: refunds cost this seller gas.
    leastRefund: options.minDeposit / 100n,
    randomId: openRandomWords(),
    backends: options.engines.map((engine) =>
      cleanup.use(openBackend({ ...options, baseUrl: engine.baseUrl, apiKey: options.engineKey })),
    ),
    replies: new ReplyCache(),
    countTokens: () => counter,
    readerTimeoutMs: options.idleTimeoutMs,
    maxBodyBytes: options.maxBodyBytes,
    log,
    now,
  }
  const settleParts: SettleParts = {
    book,
    policy: options.settle,
    sendClaims: chain.sendClaims,
    readChain: chain.readChannels,
    now,
    log,
  }
  await counter
  const server = await openSellerServer({
    ...options.listen,
    maxBodyBytes: options.maxBodyBytes,
    routes: openRoutes(parts),
    log,
  })
  const announcer =
    options.announce === undefined
      ? null
      : await openAnnouncing(options.announce, {
          folder: options.folder,
          url: server.url,
          network,
          digests,
          payTo,
          key,
          offers,
          slots,
          maxBodyBytes: options.maxBodyBytes,
          store,
          onFatal: fatal.resolve,
          now,
          log,
        }).catch(async (error: unknown) => {
          await server.close(0)
          throw error
        })
  const relistAndTell = async () => {
    await relist()
    announcer?.changed()
  }
  const background = [
    finishEarlier(() => outbox.resume(), parts, log),
    settleLoop(settleParts, options.settleEveryMs ?? 10_000, stop.signal),
    watchChannels(escrow, chain, settleParts, store, options.pollMs ?? 10_000, stop.signal),
    renewOffers(relistAndTell, log, stop.signal),
  ]
  const resources = cleanup.move()
  let ended: Promise<void> | undefined
  const end = async (leave: () => Promise<void>) => {
    await leave()
    stop.abort(new OpenSeedError('shutting_down', { message: 'The seller is stopping.' }))
    await Promise.allSettled(background)
    await resources.disposeAsync()
  }
  return {
    url: server.url,
    book,
    offers,
    store,
    relist: relistAndTell,
    settle: () => settleNow(settleParts, true),
    failed: fatal.promise,
    close: (graceMs = 10_000) =>
      (ended ??= end(async () => {
        await Promise.all([announcer?.close(), server.close(graceMs)])
        await claimBeforeLeaving(settleParts, log)
      })),
    abandon: () =>
      (ended ??= end(async () => {
        await Promise.all([announcer?.close(false), server.close(0)])
      })),
  }
}

/** Money is only taken for a chain that is the right one, alive, and holds the contracts. */
async function checkChain(escrow: Escrow, policy: ConfirmationPolicy, now: Clock): Promise<void> {
  const [head, code] = await Promise.all([escrow.head(), escrow.codeExists()])
  if (!code) {
    throw new OpenSeedError('chain_mismatch', {
      message: `Chain ${escrow.network.chainId} has no escrow, collector or token at the network's addresses.`,
      hint: 'Check --network and rpc_urls.',
    })
  }
  const skewSec = Math.abs(now() / 1000 - head.timestampSec)
  if (policy.maxHeadAgeSec !== null && skewSec > 300) {
    throw new OpenSeedError('clock_skewed', {
      message: `This machine's clock and the chain's newest block are ${Math.round(skewSec)} s apart.`,
      hint: 'Set the clock (timedatectl set-ntp true), or use an RPC that is in sync.',
    })
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

async function finishEarlier(resume: () => Promise<void>, parts: RouteParts, log: Log): Promise<void> {
  try {
    await resume()
  } catch (error) {
    log.warn({ error }, 'transactions of the previous run are still unfinished')
  }
  await resumeRefunds(parts)
}

/** A fault of the disk interrupts the watch; what was not booked is read again. */
async function watchChannels(
  escrow: Escrow,
  chain: SellerChain,
  settle: SettleParts,
  store: SellerStore,
  pollMs: number,
  signal: AbortSignal,
): Promise<void> {
  const { log } = settle
  let next: number | null = null
  while (!signal.aborted) {
    try {
      next ??= await firstBlock(escrow, store)
      await watchEscrow({
        escrow,
        fromBlock: next,
        pollMs,
        signal,
        filter: { names: ['Deposited', 'Refunded', 'WithdrawInitiated', 'WithdrawFinalized'] },
        onFailure: (error) => log.warn({ error }, 'the chain cannot be watched'),
        async onEvents(events, throughBlock) {
          for (const event of events) await adoptEvent(event, chain, settle)
          await store.run('setMeta', { key: 'watch.block', value: String(throughBlock) })
          next = throughBlock + 1
        },
      })
    } catch (error) {
      log.error({ error }, 'watching the chain was interrupted; it starts again')
      await wait(pollMs, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }
}

async function firstBlock(escrow: Escrow, store: SellerStore): Promise<number> {
  const stored = await store.read('getMeta', { key: 'watch.block' })
  return stored === null ? (await escrow.head()).number : Number(stored) + 1
}

async function adoptEvent(event: EscrowEvent, chain: SellerChain, settle: SettleParts): Promise<void> {
  const { book, log } = settle
  const entry = 'channelId' in event ? book.find(event.channelId) : undefined
  if (entry === undefined) return
  await book.adoptChain(entry, await chain.readChannel(entry.id))
  if (event.name !== 'WithdrawInitiated') return
  log.warn({ channel: entry.id }, 'the buyer withdraws; claiming what is charged')
  await settleNow(settle, false).catch((error: unknown) => log.error({ error }, 'the claim failed'))
}

async function renewOffers(relist: () => Promise<void>, log: Log, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await wait(renewEveryMs, undefined, { signal, ref: false }).catch(() => undefined)
    if (!signal.aborted)
      await relist().catch((error: unknown) => log.warn({ error }, 'offers were not renewed'))
  }
}

async function claimBeforeLeaving(settle: SettleParts, log: Log): Promise<void> {
  const late = wait(shutdownClaimMs, 'late' as const, { ref: false })
  const outcome = await Promise.race([settleNow(settle, true).catch((error: unknown) => error), late])
  if (outcome === 'late' || outcome instanceof Error) {
    log.warn({ error: outcome }, 'not everything is claimed; the next start will claim it')
  }
}
