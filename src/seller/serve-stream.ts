/** The streamed half of the pipeline: engine events out as they come, the charge and its receipt before `[DONE]`. */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { crashPoint } from '../base/crash.ts'
import { asOpenSeedError, OpenSeedError } from '../base/errors.ts'
import { createKeccak } from '../wire/keccak.ts'
import { errorEvent } from '../wire/openai-error.ts'
import { chargeFor } from '../wire/price.ts'
import { SseSplitter, type SseEvent } from '../wire/sse.ts'
import { paymentResponseComment, paymentResponseHeader } from '../wire/x402.ts'
import type { EngineReply } from './backend.ts'
import type { Entry } from './channel-entry.ts'
import { finalsAlong } from './finals.ts'
import type { PaidCall } from './gate.ts'
import { StreamMeter } from './meter.ts'
import { closeAtNothing, delivered, type ServeParts, type Serving } from './serve-parts.ts'
import { settlementHeader } from './settlement-response.ts'

const journalEveryMs = 1000
// Well before the shortest withdraw delay ends: what runs must be charged and claimed by then.
const longestLeavingMs = 600_000

export async function streamReply(
  call: PaidCall,
  serving: Serving,
  engine: EngineReply,
  response: ServerResponse,
  parts: ServeParts,
  signal: AbortSignal,
): Promise<void> {
  const { offer, details } = serving.listing.signed
  const countTokens = await parts.countTokens().catch(async (error: unknown) => {
    engine.body.destroy()
    await closeAtNothing(serving, parts)
    throw error
  })
  const meter = new StreamMeter({
    offer,
    ceiling: serving.ceiling.amount,
    bounds: serving.ceiling,
    wantsUsage: call.chat.wantsUsage,
    request: call.chat.json,
    countTokens,
  })
  const hash = createKeccak()
  const write = async (bytes: Buffer): Promise<void> => {
    hash.update(bytes)
    if (response.write(bytes) || signal.aborted) return
    const patience = AbortSignal.any([signal, AbortSignal.timeout(parts.readerTimeoutMs)])
    await once(response, 'drain', { signal: patience }).catch(() => undefined)
    // Who takes nothing for so long is gone, and must not keep a slot and its hold.
    if (patience.aborted) response.destroy()
  }
  let broken: unknown = null
  try {
    await pump(engine, meter, write, {
      begin: () => beginStream(call, serving, response, parts),
      journal: journalOf(serving, meter, parts),
    })
  } catch (error) {
    // The client is gone, or the engine broke: what was produced until now is charged either way.
    broken = error
  }
  engine.body.destroy()
  // An engine that failed before anything was sent fails like one that answers with an error status.
  const unanswered = response.headersSent || signal.aborted ? null : (broken ?? meter.failure)
  if (unanswered === null && broken !== null && !signal.aborted)
    await write(Buffer.from(errorEvent(asOpenSeedError(broken))))
  if (serving.kind === 'free') {
    if (unanswered !== null) throw asOpenSeedError(unanswered)
    return endStream(call, response, meter, null)
  }
  const usage = meter.usage()
  const cost = chargeFor(usage, offer, details.min, serving.ceiling.amount)
  crashPoint('seller.metered')
  const { entry, id, request } = serving
  const outcome = delivered(hash.digest(), usage)
  const receipt = await parts.book.finish(entry, id, cost, outcome).catch((error: unknown) => {
    // It was delivered, so it is charged as soon as the disk takes it.
    void parts.book.finishLater(entry, id, cost, outcome)
    throw error
  })
  crashPoint('seller.finished')
  if (signal.aborted) return
  if (unanswered !== null) throw asOpenSeedError(unanswered)
  const finals = await finalsAlong(parts.book, entry, request?.unresolved ?? [])
  const settlement = settlementHeader(parts.seller.network.caip2, serving, {
    chargedAmount: receipt.receipt.charged,
    cumulative: receipt.receipt.cumulative,
    receipt: request === null ? null : receipt,
    finals,
  })
  endStream(call, response, meter, settlement)
  crashPoint('seller.answered')
}

async function pump(
  engine: EngineReply,
  meter: StreamMeter,
  write: (bytes: Buffer) => Promise<void>,
  hooks: { begin: () => void; journal: () => void },
): Promise<void> {
  const splitter = new SseSplitter()
  let begun = false
  const send = async (forward: Buffer | null, event?: SseEvent): Promise<void> => {
    // What fails before it has said anything is answered with an error status; text that is no event says nothing.
    const isEvent = event === undefined || event.data !== null || event.comment !== null
    if (!begun && (meter.failure !== null || !isEvent)) return
    if (!begun) hooks.begin()
    if (!begun) crashPoint('seller.first-byte')
    begun = true
    if (forward !== null) await write(forward)
  }
  for await (const chunk of engine.body as AsyncIterable<Buffer>) {
    for (const event of splitter.push(chunk)) {
      const { forward, stop } = meter.push(event)
      await send(forward, event)
      if (stop) return
    }
    hooks.journal()
  }
  for (const event of splitter.end()) await send(meter.push(event).forward, event)
  await send(meter.end().forward)
}

function beginStream(call: PaidCall, serving: Serving, response: ServerResponse, parts: ServeParts): void {
  const headers: Record<string, string> = {
    'content-type': 'text/event-stream',
    'cache-control': 'no-cache, private',
    'x-accel-buffering': 'no',
    'x-openseed-ceiling': serving.ceiling.amount.toString(),
  }
  if (serving.kind === 'admitted') {
    const { entry, ceiling, told } = serving
    // Provisional: the whole hold. The last comment of the stream has the charge.
    const provisional = told ?? {
      chargedAmount: ceiling.amount,
      cumulative: entry.ledger.charged + ceiling.amount,
    }
    headers[paymentResponseHeader] = settlementHeader(parts.seller.network.caip2, serving, {
      ...provisional,
      receipt: null,
      finals: [],
    })
    if (call.wantsTrailers) headers['trailer'] = paymentResponseHeader
  }
  response.writeHead(200, headers)
}

function endStream(
  call: PaidCall,
  response: ServerResponse,
  meter: StreamMeter,
  settlement: string | null,
): void {
  if (settlement !== null) {
    response.write(`: ${paymentResponseComment}${settlement}\n\n`)
    if (call.wantsTrailers) response.addTrailers({ [paymentResponseHeader]: settlement })
  }
  if (meter.done) response.write('data: [DONE]\n\n')
  response.end()
}

function journalOf(serving: Serving, meter: StreamMeter, parts: ServeParts): () => void {
  if (serving.kind === 'free') return () => undefined
  const { entry, id, listing, ceiling } = serving
  const { offer, details } = listing.signed
  const startedMs = parts.now()
  let nextMs = startedMs + journalEveryMs
  return () => {
    if (parts.now() < nextMs) return
    if (entry.ledger.withdrawing > 0n && parts.now() - startedMs > longestLeavingMs) throw leaving(entry)
    nextMs = parts.now() + journalEveryMs
    // Of the output alone: after a crash the receipt has to explain the charge, and knows nothing of the prompt.
    const { outputTokens } = meter.leastUsage()
    const proven = { inputTokens: 0, cachedTokens: 0, outputTokens }
    parts.book.journal(entry, id, chargeFor(proven, offer, details.min, ceiling.amount))
  }
}

const leaving = ({ id }: Entry): OpenSeedError =>
  new OpenSeedError('channel_underfunded', {
    message: `Channel ${id} is being withdrawn; its requests end within ten minutes.`,
  })
