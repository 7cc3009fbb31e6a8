/** THE PIPELINE of one paid request, seller side: gate -> backend -> meter -> charge -> receipt. */
import type { ServerResponse } from 'node:http'
import { crashPoint } from '../base/crash.ts'
import { OpenSeedError } from '../base/errors.ts'
import { engineBody } from '../wire/chat.ts'
import { errorReply } from '../wire/openai-error.ts'
import { keccak256 } from '../wire/keccak.ts'
import { chargeFor } from '../wire/price.ts'
import { paymentRequiredHeader, paymentResponseHeader, encodeHeader } from '../wire/x402.ts'
import { readEngineError, type EngineReply } from './backend.ts'
import type { FinishHooks } from './channel-book.ts'
import { nothingDelivered } from './channel-entry.ts'
import { refusalError } from './engine-error.ts'
import { passGate, type GateAnswer, type PaidCall } from './gate.ts'
import { finalsAlong } from './finals.ts'
import { tell } from './ledger.ts'
import { repeatExact, serveExact } from './exact-serve.ts'
import { readPlain, send } from './plain.ts'
import {
  closeAtNothing,
  delivered,
  type ChannelServing,
  type ServeParts,
  type Serving,
} from './serve-parts.ts'
import { settlementHeader } from './settlement-response.ts'
import { streamReply } from './serve-stream.ts'

/** Answers one chat request. Throws what the HTTP side turns into an error reply; then nothing was sent yet. */
export async function serve(
  call: PaidCall,
  response: ServerResponse,
  parts: ServeParts,
  signal: AbortSignal,
): Promise<void> {
  const answer = await passGate(call, parts, signal)
  if (answer.kind === 'pay') return demandPayment(answer, response)
  if (answer.kind === 'exact-repeated') return repeatExact(answer, response, parts)
  if (answer.kind === 'repeated') {
    await answer.closed.stored
    return parts.replies.repeat(answer.closed, response, parts.seller.network.caip2)
  }
  try {
    const engine = await callEngine(call, answer, parts, signal)
    if (answer.kind === 'exact') await serveExact(call, answer, engine, response, parts, signal)
    else if (call.chat.stream) await streamReply(call, answer, engine, response, parts, signal)
    else await plainReply(call, answer, engine, response, parts, signal)
  } finally {
    answer.release()
  }
}

async function callEngine(
  call: PaidCall,
  serving: Serving,
  parts: ServeParts,
  signal: AbortSignal,
): Promise<EngineReply> {
  const { listing, ceiling } = serving
  const backend = parts.backends[listing.engineIndex]
  if (backend === undefined) throw new Error(`no engine ${listing.engineIndex}`)
  const chat = { ...call.chat, json: { ...call.chat.json, model: listing.engineModel } }
  try {
    const reply = await backend.chat(engineBody(chat, ceiling.maxOutput), signal)
    crashPoint('seller.engine-called')
    if (reply.status < 400) return reply
    throw refusalError(await readEngineError(reply))
  } catch (error) {
    await closeAtNothing(serving, parts)
    throw error
  }
}

async function plainReply(
  call: PaidCall,
  serving: ChannelServing,
  engine: EngineReply,
  response: ServerResponse,
  parts: ServeParts,
  signal: AbortSignal,
): Promise<void> {
  const metered = await readPlain(call, serving, engine, parts, signal)
  const { body, usage } = metered
  if (serving.kind === 'free') return send(response, 200, {}, body)
  const { entry, id, listing, ceiling, request } = serving
  const { offer, details } = listing.signed
  const cost = chargeFor(usage, offer, details.min, ceiling.amount)
  let told = { chargedAmount: cost, cumulative: 0n }
  // A stock client's figure belongs to the same row as the charge.
  const tellStock = (): void => {
    told =
      request === null
        ? tell(entry.ledger, ceiling.amount)
        : { chargedAmount: cost, cumulative: entry.ledger.charged }
  }
  const outcome = delivered(keccak256(body), usage)
  const hooks: FinishHooks = {
    beforeCommit: tellStock,
    committed: (signed) => parts.replies.keep(signed, body),
  }
  const receipt = await parts.book.finish(entry, id, cost, outcome, hooks).catch((error: unknown) => {
    // The reply is not sent without its receipt: nothing was delivered.
    void parts.book.finishLater(entry, id, 0n, nothingDelivered)
    throw error
  })
  crashPoint('seller.finished')
  const finals = await finalsAlong(parts.book, entry, request?.unresolved ?? [])
  const settlement = settlementHeader(parts.seller.network.caip2, serving, {
    ...told,
    receipt: request === null ? null : receipt,
    finals,
  })
  send(response, 200, { [paymentResponseHeader]: settlement }, body)
  crashPoint('seller.answered')
}

function demandPayment(answer: Extract<GateAnswer, { kind: 'pay' }>, response: ServerResponse): void {
  const { required, retryAfterSec, hint } = answer
  const message = `Payment: ${required.error ?? 'required'}.`
  const { body } = errorReply(new OpenSeedError('payment_required', { message, hint }))
  send(
    response,
    402,
    {
      [paymentRequiredHeader]: encodeHeader(required),
      'cache-control': 'no-store',
      ...(retryAfterSec === undefined ? {} : { 'retry-after': String(retryAfterSec) }),
    },
    Buffer.from(JSON.stringify(body)),
  )
}
