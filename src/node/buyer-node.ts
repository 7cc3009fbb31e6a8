/** Composition root of the buyer: construct, start, dispose. No decisions live here. */
import { systemClock, type Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { openRandomWords } from '../base/random.ts'
import type { AnnouncedSeller } from '../buyer/announced.ts'
import type { BuyerCaps } from '../buyer/caps.ts'
import type { Channel } from '../buyer/channel.ts'
import { ChannelBook, type BuyerStore } from '../buyer/channel-book.ts'
import { ChannelFinder } from '../buyer/channel-finder.ts'
import { openDepositGuard } from '../buyer/deposit-guard.ts'
import { Distrust } from '../buyer/distrust.ts'
import { openExchange, type ExchangeParts } from '../buyer/exchange.ts'
import { watchDeposit } from '../buyer/funding.ts'
import { openGateway } from '../buyer/gateway.ts'
import { openMarket, type Market } from '../buyer/market.ts'
import { Outcomes } from '../buyer/outcomes.ts'
import { partWays } from '../buyer/part-ways.ts'
import { Recount } from '../buyer/recount.ts'
import { refund, resolveRefund } from '../buyer/refund.ts'
import { relocate } from '../buyer/relocate.ts'
import { Spending } from '../buyer/spending.ts'
import { openSweep, type Sweep } from '../buyer/sweep-session.ts'
import { TokenThread } from '../buyer/token-thread.ts'
import { finalizeWithdraw, initiateWithdraw } from '../buyer/withdraw.ts'
import { openEscrow } from '../chain/escrow.ts'
import { openOutbox } from '../chain/outbox.ts'
import { openRpc } from '../chain/rpc.ts'
import type { ConfirmationPolicy } from '../config/networks.ts'
import type { ResolveTxt } from '../net/bootstrap.ts'
import { lockRole } from '../store/lock.ts'
import { openWriter } from '../store/writer.ts'
import { curve } from '../wire/curve.ts'
import { openDigests } from '../wire/digests.ts'
import type { Address, Hex } from '../wire/hex.ts'
import type { NetworkTerms } from '../wire/network.ts'
import { buyerControl, findChannel, type BuyerMoney } from './buyer-control.ts'
import { openBuyerNetwork, type BuyerP2p } from './buyer-network.ts'
import { openBuyerStock } from './buyer-stock.ts'
import { openControl } from './control.ts'
import { outboxStoreOf } from './outbox-store.ts'
import { sweepSellers } from './sweep-sellers.ts'

export interface BuyerNodeOptions {
  /** the role's own folder */
  folder: string
  network: NetworkTerms
  rpcUrls: readonly string[]
  /** How many RPCs must agree; null or absent for all but one, and never one alone of several. */
  rpcQuorum?: number | null
  /** Hash of the escrow's runtime code; null or absent where it is not known. */
  escrowCodeHash?: Hex | null
  confirmation: ConfirmationPolicy
  /** payer: holds the USDC, signs deposits, pays the gas of withdrawals. authorizer: signs vouchers and requests */
  keys: { payer: Hex; authorizer: Hex }
  sellers: readonly string[]
  /** URLs of registries, and domains that name some. */
  registries?: readonly string[]
  /** Whether records may lead into private networks; false unless told. */
  allowPrivate?: boolean
  /** Whether records may lead to http without TLS on other machines; false unless told. */
  allowPlainHttp?: boolean
  p2p?: BuyerP2p
  resolveTxt?: ResolveTxt
  caps: BuyerCaps
  /** null: no gateway, for commands that only move money */
  listen: { host: string; port: number } | null
  /** Whether sellers are looked for without a gateway too; false unless told. */
  seek?: boolean
  maxBodyBytes: number
  firstByteTimeoutMs: number
  idleTimeoutMs: number
  log: Log
  now?: Clock
  connectTimeoutMs?: number
  /** whether sellers that speak version 1 of x402 are paid; false unless told */
  allowV1?: boolean
  /** sellers asked for one request */
  maxAttempts?: number
  /** how long after its signature a request may be admitted; sellers of the protocol say 120 */
  requestTtlSec?: number
}

export interface BuyerNode extends BuyerMoney {
  /** Of the gateway, without `/v1`; empty without one. */
  url: string
  port: number
  payer: Address
  book: ChannelBook
  store: BuyerStore
  market: Market
  sweep: Sweep
  /** Resolves when the node cannot go on. */
  failed: Promise<OpenSeedError>
  /** Takes nothing new, lets what runs end for `graceMs`, and releases everything. */
  close: (graceMs?: number) => Promise<void>
}

const databaseName = 'buyer.db'

/** Starts at once: neither sellers nor the chain are waited for. */
export async function startBuyerNode(options: BuyerNodeOptions): Promise<BuyerNode> {
  const { network, log, keys, folder, caps } = options
  const now = options.now ?? systemClock
  const stop = new AbortController()
  const background = new Set<Promise<void>>()
  const track = (work: Promise<void>) => {
    background.add(work)
    void work.finally(() => background.delete(work))
  }
  const fatal = Promise.withResolvers<OpenSeedError>()
  await using cleanup = new AsyncDisposableStack()
  cleanup.use(lockRole(folder, 'buyer'))
  const path = `${folder}/${databaseName}`
  const store = cleanup.use(await openWriter({ path, schema: 'buyer', onFatal: fatal.resolve }))
  const rpc = cleanup.use(
    openRpc({
      urls: [...options.rpcUrls],
      chainId: network.chainId,
      timeoutMs: 10_000,
      quorum: options.rpcQuorum ?? null,
    }),
  )
  const escrow = openEscrow(rpc, network)
  const guardDeposit = openDepositGuard({
    escrow,
    pinnedCodeHash: options.escrowCodeHash ?? null,
    maxHeadAgeSec: options.confirmation.maxHeadAgeSec,
    quorum: options.rpcQuorum ?? null,
    now,
  })
  const outbox = openOutbox({
    rpc,
    store: outboxStoreOf(store),
    key: keys.payer,
    chainId: network.chainId,
    confirmations: options.confirmation.depth,
    now,
    log,
    signal: stop.signal,
  })
  const digests = openDigests(network)
  const spending = await Spending.load((since) => store.read('spentSince', since), now())
  const book = await ChannelBook.load({ store, spending, now, log })
  const shared = { digests, curve, authorizerKey: keys.authorizer, payerKey: keys.payer, now, log }
  const ways = cleanup.use(openBuyerNetwork({ ...options, ...shared, rpc, store }))
  const { clientFor, discovery } = ways
  const distrust = await Distrust.load({ ...shared, store, book })
  const outcomes = new Outcomes({ ...shared, book, distrust, clientFor })
  cleanup.defer(() => outcomes.close())
  const market = await openMarket({
    ...shared,
    network,
    urls: options.sellers,
    ...(discovery !== null && { discovery }),
    clientFor,
    saveTerms: (url, terms, atMs) => store.run('saveSeller', { url, terms, atMs }),
    loadTerms: () => store.read('loadSellers'),
  })
  cleanup.defer(() => market.close())
  let announced: readonly AnnouncedSeller[] = []
  if (discovery !== null) {
    const onChange = (sellers: readonly AnnouncedSeller[]) => {
      announced = sellers
      relocate(book.all(), sellers)
      market.setSellers(sellers)
    }
    cleanup.use(await discovery.start(onChange))
  }
  const tokens = new TokenThread(log)
  cleanup.defer(() => tokens.close())
  const recount = new Recount({
    ...shared,
    distrust,
    count: (texts) => tokens.count(texts),
    addDrift: (drift) => store.run('addDrift', drift),
  })
  const payer = outbox.address
  const payerAuthorizer = curve.addressOf(keys.authorizer)
  const randomWord = openRandomWords()
  const stock = await openBuyerStock({
    ...shared,
    ...options,
    now,
    allowV1: options.allowV1 ?? false,
    store,
    book,
    spending,
    escrow,
    guardDeposit,
    payer,
    payerAuthorizer,
    randomWord,
    stop: stop.signal,
    track,
  })
  const parts: ExchangeParts = {
    ...shared,
    ...options,
    now,
    caps,
    book,
    spending,
    escrow,
    guardDeposit,
    stock,
    outcomes,
    clientFor,
    distrust,
    recount,
    market,
    finder: new ChannelFinder({ ...shared, book, escrow, payer, payerAuthorizer }),
    requestTtlSec: options.requestTtlSec ?? 120,
    maxAttempts: options.maxAttempts ?? 3,
    randomWord,
    stop: stop.signal,
    track,
  }
  const money: BuyerMoney = {
    refund: async (id, amount) => refund(findChannel(book, id), amount, { ...parts, clientFor }, stop.signal),
    withdraw: async (id, { finalize }) =>
      (finalize ? finalizeWithdraw : initiateWithdraw)(findChannel(book, id), { book, escrow, outbox, now }),
  }
  cleanup.use(await openControl(folder, buyerControl(money, book)))
  const gateway =
    options.listen === null
      ? null
      : await openGateway({
          ...options.listen,
          exchange: openExchange(parts),
          listModels: () => market.listModels(),
          unpricedModels: () => market.stockModels(),
          maxBodyBytes: options.maxBodyBytes,
          log,
          now,
        })
  resume(book.all(), parts, () => outbox.resume())
  const reachable = sweepSellers(options.sellers, market, discovery && (() => announced))
  const sweep = openSweep({ ...parts, ...reachable, clientFor, outbox, payer, store })
  const parting = new Set<Channel>()
  // A command that only moves money does what it is told and nothing beside it.
  if (gateway !== null)
    distrust.onAccused((channel) => {
      if (parting.has(channel)) return
      parting.add(channel)
      const parted = partWays(channel, { ...parts, clientFor, outbox }, stop.signal)
      track(parted.finally(() => parting.delete(channel)))
    })
  const resources = cleanup.move()
  return {
    url: gateway?.url ?? '',
    port: gateway?.port ?? 0,
    payer,
    book,
    store,
    market,
    sweep,
    ...money,
    failed: fatal.promise,
    async close(graceMs = 10_000) {
      await gateway?.close(graceMs)
      stop.abort(new OpenSeedError('shutting_down', { message: 'openseed is shutting down.' }))
      await Promise.allSettled(background)
      await resources.disposeAsync()
    },
  }
}

/** Goes on with what an earlier process left without an outcome. */
function resume(channels: Channel[], parts: ExchangeParts, resumeOutbox: () => Promise<void>): void {
  const { log, outcomes, stop, track } = parts
  const finish = (work: Promise<unknown>) => {
    const tried = work.catch((err: unknown) => {
      log.warn({ err }, 'something of the previous run is still unfinished')
    })
    track(tried.then(() => undefined))
  }
  for (const channel of channels) {
    outcomes.resolve(channel)
    if (channel.deposit !== null) finish(watchDeposit(channel, parts, stop))
    if (channel.refunding > 0n) finish(resolveRefund(channel, parts))
  }
  if (channels.some(({ state }) => state === 'withdrawing')) finish(resumeOutbox())
}
