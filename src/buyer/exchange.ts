/** THE PIPELINE of one paid request, buyer side: routes -> pay -> send -> relay -> check the receipt -> book it. */
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Hex } from '../wire/hex.ts'
import { keccak256 } from '../wire/keccak.ts'
import { explainRefusal, sendRequest } from './ask-seller.ts'
import { overPerRequest } from './caps.ts'
import { hiddenTokens } from './check.ts'
import { correct } from './corrective.ts'
import type { Exchange, ExchangeReply, ExchangeRequest } from './exchange-types.ts'
import { withFailover } from './failover.ts'
import type { SellerReport } from './health.ts'
import type { Market } from './market.ts'
import { plainReply, streamReply } from './paid-reply.ts'
import { pay, type PayParts } from './pay.ts'
import { chooseRoutes, quoteCeilings, type Route } from './route.ts'

export interface ExchangeParts extends PayParts {
  market: Market
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
    const routes = await findRoutes(request, parts)
    const attempt = (route: Route) => buyFrom(route, request, bodyHash, parts, signal)
    const failover = {
      maxAttempts: parts.maxAttempts,
      report: (url: string, seen: SellerReport) => parts.market.report(url, seen),
    }
    const { result, attempts } = await withFailover(routes, attempt, failover, signal)
    return { ...result, attempts }
  }
}

async function findRoutes(request: ExchangeRequest, { market, caps, now }: ExchangeParts): Promise<Route[]> {
  const candidates = await market.candidates(request.model)
  const ceilings = quoteCeilings(candidates, request.json, request.body.length)
  const routes = chooseRoutes(request.model, candidates, market.health(), ceilings, now())
  const affordable = routes.filter(({ ceiling }) => ceiling.amount <= caps.maxPerRequest)
  const [cheapest] = routes.toSorted((a, b) => (a.ceiling.amount < b.ceiling.amount ? -1 : 1))
  if (affordable.length === 0 && cheapest !== undefined) {
    throw overPerRequest(cheapest.ceiling.amount, caps.maxPerRequest)
  }
  return affordable
}

/** One seller. After a refusal that can be put right, the request is paid once more, and only once. */
async function buyFrom(
  route: Route,
  request: ExchangeRequest,
  bodyHash: Hex,
  parts: ExchangeParts,
  signal: AbortSignal,
): Promise<ExchangeReply> {
  const { market, outcomes } = parts
  const { n, maxOutput } = route.ceiling
  const bounds = { ...route.ceiling, hiddenTokens: hiddenTokens(request.json, n, maxOutput) }
  let waitedMs = 0
  for (let corrected = false; ; corrected = true) {
    const payment = isFree(route)
      ? null
      : await pay(route, { model: request.model, bodyHash, bounds }, parts, signal)
    const sentAtMs = performance.now()
    try {
      const reply = await sendRequest(market.client(route.sellerUrl), request, payment, parts, signal)
      if (reply.status === 402 && payment !== null) {
        await correct(payment, reply, parts, signal)
        if (corrected) throw refusedTwice(route)
        payment.over(0)
        waitedMs += performance.now() - sentAtMs
        continue
      }
      if (reply.status !== 200) throw await explainRefusal(route.sellerUrl, reply, payment, parts.outcomes)
      const isStream = reply.headers['content-type']?.startsWith('text/event-stream') === true
      const paid = isStream
        ? streamReply(reply, payment, outcomes)
        : await plainReply(reply, payment, outcomes)
      waitedMs += performance.now() - sentAtMs
      payment?.over(depositGraceMs)
      const { status, headers } = reply
      const seller = route.sellerUrl
      return {
        status,
        headers,
        ...paid,
        seller,
        ceiling: route.ceiling.amount,
        attempts: 1,
        sellerWaitMs: waitedMs,
      }
    } catch (error) {
      payment?.over(0)
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
