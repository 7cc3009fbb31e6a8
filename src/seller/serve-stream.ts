/** The streamed half of the pipeline: engine events out as they come, the charge and its receipt before `[DONE]`. */
import type { ServerResponse } from 'node:http'
import { crashPoint } from '../base/crash.ts'
import { asOpenSeedError, OpenSeedError } from '../base/errors.ts'
import { errorEvent } from '../wire/openai-error.ts'
import { chargeFor } from '../wire/price.ts'
import { paymentResponseHeader } from '../wire/x402.ts'
import type { EngineReply } from './backend.ts'
import type { Entry } from './channel-entry.ts'
import { finalsAlong } from './finals.ts'
import type { PaidCall } from './gate.ts'
import type { StreamMeter } from './meter.ts'
import { delivered, type ChannelServing, type ServeParts } from './serve-parts.ts'
import { settlementHeader } from './settlement-response.ts'
import { endStream, openStreamMeter, pump, streamHeaders, streamWriter } from './stream-parts.ts'

const journalEveryMs = 1000
// Well before the shortest withdraw delay ends: what runs must be charged and claimed by then.
const longestLeavingMs = 600_000

export async function streamReply(
  call: PaidCall,
  serving: ChannelServing,
  engine: EngineReply,
  response: ServerResponse,
  parts: ServeParts,
  signal: AbortSignal,
): Promise<void> {
  const { offer, details } = serving.listing.signed
  const meter = await openStreamMeter(call, serving, engine, parts)
  const { write, hash } = streamWriter(response, parts.readerTimeoutMs, signal)
  let broken: unknown = null
  let begunAtMs = 0
  try {
    await pump(engine, meter, write, {
      begin() {
        begunAtMs = parts.now()
        beginStream(call, serving, response, parts)
      },
      journal: journalOf(serving, meter, parts),
    })
  } catch (error) {
    // The client is gone, or the engine broke: what was produced until now is charged either way.
    broken = error
  }
  engine.body.destroy()
  const endedAtMs = parts.now()
  // An engine that failed before anything was sent fails like one that answers with an error status.
  const unanswered = response.headersSent || signal.aborted ? null : (broken ?? meter.failure)
  if (unanswered === null && broken !== null && !signal.aborted)
    await write(Buffer.from(errorEvent(asOpenSeedError(broken))))
  const usage = meter.usage()
  // A reader that takes its time slows a stream down as well; over many streams that is noise.
  if (broken === null && meter.failure === null)
    parts.throughput.add(usage.outputTokens, endedAtMs - begunAtMs)
  if (serving.kind === 'free') {
    if (unanswered !== null) throw asOpenSeedError(unanswered)
    return endStream(call, response, meter, null)
  }
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

function beginStream(
  call: PaidCall,
  serving: ChannelServing,
  response: ServerResponse,
  parts: ServeParts,
): void {
  const headers = streamHeaders(serving)
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

function journalOf(serving: ChannelServing, meter: StreamMeter, parts: ServeParts): () => void {
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
