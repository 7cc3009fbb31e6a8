/** THE PIPELINE of one paid request, buyer side: routes -> pay -> send -> relay -> check the receipt -> book it. */
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Usdc } from '../wire/amount.ts'
import type { Hex } from '../wire/hex.ts'
import { keccak256 } from '../wire/keccak.ts'
import { explainRefusal, sendRequest } from './ask-seller.ts'
import { overPerRequest } from './caps.ts'
import { hiddenTokens } from './check.ts'
import { correct } from './corrective.ts'
import type { Exchange, ExchangeOutcome, ExchangeReply, ExchangeRequest } from './exchange-types.ts'
import { withFailover } from './failover.ts'
import { freshHealth, isDoubtful, type SellerReport } from './health.ts'
import { planVoucher } from './ledger.ts'
import type { Market } from './market.ts'
import { plainReply, streamReply } from './paid-reply.ts'
import { pay, type PayParts } from './pay.ts'
import type { Recount } from './recount.ts'
import { chooseRoutes, quoteCeilings, type Route } from './route.ts'
import { buyStock, type StockParts, type StockRoute } from './stock-exchange.ts'

export interface ExchangeParts extends PayParts {
  recount: Recount
  market: Market
  /** for sellers that speak x402 alone */
  stock: StockParts
  maxAttempts: number
  firstByteTimeoutMs: number
  idleTimeoutMs: number
  now: Clock
}

// A paid answer means that the deposit arrived; the node we ask may learn of it a moment later.
const depositGraceMs = 15_000

export function openExchange(parts: ExchangeParts): Exchange {
  return async (request, signal) => {
    const bodyHash = keccak256(request.body)
    const routes = await findAllRoutes(request, parts)
    const attempt = (route: Route | StockRoute, left: Usdc) => {
      if (!('stock' in route)) return buyFrom(route, request, bodyHash, parts, signal)
      const stock = { ...parts.stock, caps: { ...parts.stock.caps, maxPerRequest: left } }
      return buyStock(route, parts.market.client(route.sellerUrl), request, bodyHash, stock, signal)
    }
    const failover = {
      maxAttempts: parts.maxAttempts,
      cap: parts.caps.maxPerRequest,
      isFunded: (route: Route | StockRoute) => !('stock' in route) && isFunded(route, parts),
      report: (url: string, seen: SellerReport) => parts.market.report(url, seen),
      isDoubted: (url: string) => isDoubtful(parts.market.health().get(url) ?? freshHealth),
    }
    const { result, attempts, lost } = await withFailover(routes, attempt, failover, signal)
    return { ...result, attempts, done: result.done.then((outcome) => withLost(outcome, lost)) }
  }
}

function isFunded({ terms, ceiling }: Route, { finder, caps }: ExchangeParts): boolean {
  const channel = finder.stored(terms)
  return channel?.state === 'open' && planVoucher(channel.ledger, ceiling.amount, caps).kind === 'voucher'
}

/** What the whole request cost, failed attempts with it. */
function withLost(outcome: ExchangeOutcome, lost: Usdc | null): ExchangeOutcome {
  const { charged } = outcome
  return { ...outcome, charged: charged === null || lost === null ? null : charged + lost }
}

/** Sellers of ours first: what they cost is known before they are asked, and every charge has a receipt. */
async function findAllRoutes(
  request: ExchangeRequest,
  parts: ExchangeParts,
): Promise<(Route | StockRoute)[]> {
  const none: Route[] = []
  let failure: unknown = null
  const ours = await findRoutes(request, parts).catch((error: unknown) => {
    failure = error
    return none
  })
  const sellers = parts.market.stockSellers(request.model)
  if (failure !== null && sellers.length === 0) throw failure
  return [...ours, ...sellers.map((sellerUrl): StockRoute => ({ sellerUrl, stock: true }))]
}

async function findRoutes(
  request: ExchangeRequest,
  { market, caps, now, distrust }: ExchangeParts,
): Promise<Route[]> {
  const candidates = await market.candidates(request.model)
  const ceilings = quoteCeilings(candidates, request.json, request.body.length)
  const routes = chooseRoutes(request.model, candidates, market.health(), ceilings, now())
  const affordable = routes.filter(({ ceiling }) => ceiling.amount <= caps.maxPerRequest)
  const [cheapest] = routes.toSorted((a, b) => (a.ceiling.amount < b.ceiling.amount ? -1 : 1))
  if (affordable.length === 0 && cheapest !== undefined) {
    throw overPerRequest(cheapest.ceiling.amount, caps.maxPerRequest)
  }
  const trusted = affordable.filter(({ terms }) => !distrust.includes(terms.receiverAuthorizer))
  // With nobody else left, paying says why not.
  return trusted.length > 0 ? trusted : affordable
}

/** One seller. After a refusal that can be put right, the request is paid once more, and only once. */
async function buyFrom(
  route: Route,
  request: ExchangeRequest,
  bodyHash: Hex,
  parts: ExchangeParts,
  signal: AbortSignal,
): Promise<ExchangeReply> {
  const { market } = parts
  const { n, maxOutput } = route.ceiling
  const bounds = { ...route.ceiling, hiddenTokens: hiddenTokens(request.json, n, maxOutput) }
  let waitedMs = 0
  let isRefused = false
  if (!isFree(route) && !isFunded(route, parts)) await market.probe(route.sellerUrl)
  for (let corrected = false; ; corrected = true) {
    const payment = isFree(route)
      ? null
      : await pay(route, { model: request.model, bodyHash, bounds }, parts, signal)
    const sentAtMs = performance.now()
    try {
      const client = market.client(route.sellerUrl)
      const reply = await sendRequest(client, request, payment, parts, signal)
      const path = client.path()
      if (reply.status === 402 && payment !== null) {
        isRefused = true
        await correct(payment, reply, parts, signal)
        isRefused = false
        if (corrected) throw refusedTwice(route)
        payment.over(0)
        waitedMs += performance.now() - sentAtMs
        continue
      }
      if (reply.status !== 200) throw await explainRefusal(route.sellerUrl, reply, payment, parts.outcomes)
      const isStream = reply.headers['content-type']?.startsWith('text/event-stream') === true
      const paid = isStream
        ? streamReply(reply, request, payment, parts)
        : await plainReply(reply, request, payment, parts)
      waitedMs += performance.now() - sentAtMs
      payment?.over(depositGraceMs)
      const { status, headers } = reply
      const seller = route.sellerUrl
      return {
        status,
        headers,
        ...paid,
        seller,
        path,
        ceiling: route.ceiling.amount,
        attempts: 1,
        sellerWaitMs: waitedMs,
      }
    } catch (error) {
      payment?.over(0)
      // Whatever it says of our wallet or clock. Its terms are asked for again before anything is signed under them.
      if (isRefused && !signal.aborted) market.report(route.sellerUrl, { kind: 'failed' })
      throw error
    }
  }
}

/** A model that costs nothing is asked for without a payment. */
function isFree({ signedOffer: { offer } }: Route): boolean {
  return offer.priceIn === 0n && offer.priceOut === 0n && offer.fixedPrice === 0n
}

function refusedTwice({ sellerUrl }: Route): OpenSeedError {
  return new OpenSeedError('payment_refused', {
    message: `${sellerUrl} refused the payment again after it was corrected.`,
    hint: 'openseed channels list',
  })
}
