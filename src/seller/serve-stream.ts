/** The streamed half of the pipeline: engine events out as they come, the charge and its receipt before `[DONE]`. */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { crashPoint } from '../base/crash.ts'
import { asOpenSeedError } from '../base/errors.ts'
import { createKeccak } from '../wire/keccak.ts'
import { errorEvent } from '../wire/openai-error.ts'
import { chargeFor } from '../wire/price.ts'
import { SseSplitter } from '../wire/sse.ts'
import { paymentResponseComment, paymentResponseHeader } from '../wire/x402.ts'
import type { EngineReply } from './backend.ts'
import { finalsFor } from './finals.ts'
import type { PaidCall } from './gate.ts'
import { StreamMeter } from './meter.ts'
import { delivered, type ServeParts, type Serving } from './serve.ts'
import { settlementHeader } from './settlement-response.ts'

const journalEveryMs = 1000

export async function streamReply(
  call: PaidCall,
  serving: Serving,
  engine: EngineReply,
  response: ServerResponse,
  parts: ServeParts,
  signal: AbortSignal,
): Promise<void> {
  const { offer, details } = serving.listing.signed
  const meter = new StreamMeter({
    offer,
    ceiling: serving.ceiling.amount,
    bounds: serving.ceiling,
    wantsUsage: call.chat.wantsUsage,
    request: call.chat.json,
    countTokens: await parts.countTokens(),
  })
  const hash = createKeccak()
  const write = async (bytes: Buffer): Promise<void> => {
    hash.update(bytes)
    if (!response.write(bytes) && !signal.aborted)
      await once(response, 'drain', { signal }).catch(() => undefined)
  }
  let failed: Buffer | null = null
  try {
    await pump(engine, meter, write, {
      begin: () => beginStream(call, serving, response, parts),
      journal: journalOf(serving, meter, parts),
    })
  } catch (error) {
    // The client is gone, or the engine broke: what was produced until now is charged either way.
    if (!signal.aborted) failed = Buffer.from(errorEvent(asOpenSeedError(error)))
  }
  engine.body.destroy()
  if (failed !== null && response.headersSent) await write(failed)
  const usage = meter.usage()
  if (serving.kind === 'free') return endStream(response, meter, null)
  const cost = chargeFor(usage, offer, details.min, serving.ceiling.amount)
  crashPoint('seller.metered')
  const { entry, id, request } = serving
  const receipt = await parts.book.finish(entry, id, cost, delivered(hash.digest(), usage))
  crashPoint('seller.finished')
  if (signal.aborted) return
  const finals = await finalsFor(parts.book, entry, request?.unresolved ?? [])
  const settlement = settlementHeader(parts.seller.network.caip2, serving, {
    chargedAmount: receipt.receipt.charged,
    cumulative: receipt.receipt.cumulative,
    receipt: request === null ? null : receipt,
    finals,
  })
  if (!response.headersSent) throw asOpenSeedError(meter.failure)
  endStream(response, meter, settlement)
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
  for await (const chunk of engine.body as AsyncIterable<Buffer>) {
    for (const event of splitter.push(chunk)) {
      const { forward, stop } = meter.push(event)
      if (!begun) hooks.begin()
      if (!begun) crashPoint('seller.first-byte')
      begun = true
      if (forward !== null) await write(forward)
      if (stop) return
    }
    hooks.journal()
  }
  for (const event of splitter.end()) {
    const { forward } = meter.push(event)
    if (forward !== null) await write(forward)
  }
  const { forward } = meter.end()
  if (!begun) hooks.begin()
  if (forward !== null) await write(forward)
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

function endStream(response: ServerResponse, meter: StreamMeter, settlement: string | null): void {
  if (settlement !== null) {
    response.write(`: ${paymentResponseComment}${settlement}\n\n`)
    if (response.hasHeader('trailer')) response.addTrailers({ [paymentResponseHeader]: settlement })
  }
  if (meter.done) response.write('data: [DONE]\n\n')
  response.end()
}

function journalOf(serving: Serving, meter: StreamMeter, parts: ServeParts): () => void {
  if (serving.kind === 'free') return () => undefined
  const { entry, id, listing, ceiling } = serving
  const { offer, details } = listing.signed
  let nextMs = parts.now() + journalEveryMs
  return () => {
    if (parts.now() < nextMs) return
    nextMs = parts.now() + journalEveryMs
    parts.book.journal(entry, id, chargeFor(meter.leastUsage(), offer, details.min, ceiling.amount))
  }
}
