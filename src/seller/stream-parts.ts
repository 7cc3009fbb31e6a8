/** What every stream needs: the engine's events metered and passed on, a writer that waits for slow readers, an end. */
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { crashPoint } from '../base/crash.ts'
import { createKeccak, type Keccak } from '../wire/keccak.ts'
import { SseSplitter, type SseEvent } from '../wire/sse.ts'
import { paymentResponseComment, paymentResponseHeader } from '../wire/x402.ts'
import type { EngineReply } from './backend.ts'
import type { PaidCall } from './gate.ts'
import { StreamMeter } from './meter.ts'
import { closeAtNothing, type ServeParts, type Serving } from './serve-parts.ts'

/** Throws after everything that was held for the request is given free. */
export async function openStreamMeter(
  call: PaidCall,
  serving: Serving,
  engine: EngineReply,
  parts: ServeParts,
): Promise<StreamMeter> {
  const countTokens = await parts.countTokens().catch(async (error: unknown) => {
    engine.body.destroy()
    await closeAtNothing(serving, parts)
    throw error
  })
  return new StreamMeter({
    offer: serving.listing.signed.offer,
    ceiling: serving.ceiling.amount,
    bounds: serving.ceiling,
    wantsUsage: call.chat.wantsUsage,
    request: call.chat.json,
    countTokens,
  })
}

export type StreamWrite = (bytes: Buffer) => Promise<void>

/** Hashes what goes out, and waits where the client is slow. */
export function streamWriter(
  response: ServerResponse,
  readerTimeoutMs: number,
  signal: AbortSignal,
): { write: StreamWrite; hash: Keccak } {
  const hash = createKeccak()
  const write = async (bytes: Buffer): Promise<void> => {
    hash.update(bytes)
    if (response.write(bytes) || signal.aborted) return
    const patience = AbortSignal.any([signal, AbortSignal.timeout(readerTimeoutMs)])
    await once(response, 'drain', { signal: patience }).catch(() => undefined)
    // Who takes nothing for so long is gone, and must not keep a slot and its hold.
    if (patience.aborted) response.destroy()
  }
  return { write, hash }
}

export interface PumpHooks {
  /** Whether the stream may begin with what was metered until now; what comes before is kept back until then. */
  mayBegin?: () => boolean
  /** Sends the headers. While a promise of it is pending the engine is read on, and nothing is written. */
  begin: () => Promise<void> | void
  journal?: () => void
}

/** Passes the engine's events on, as metered, until they end or the meter says so. Throws what `begin` throws first. */
export async function pump(
  engine: EngineReply,
  meter: StreamMeter,
  write: StreamWrite,
  { mayBegin = () => true, begin, journal }: PumpHooks,
): Promise<void> {
  const splitter = new SseSplitter()
  const keptBack: Buffer[] = []
  let beginning = null as Promise<void> | null
  let begun = false
  const opened = async (): Promise<void> => {
    begun = true
    crashPoint('seller.first-byte')
    for (const earlier of keptBack.splice(0)) await write(earlier)
  }
  const open = (): Promise<void> => {
    const ready = begin()
    if (ready === undefined) return opened()
    const opening = ready.then(opened)
    // Nobody may have this answer: what the engine still says is of no use.
    opening.catch(() => engine.body.destroy())
    return opening
  }
  const send = async (forward: Buffer | null, event?: SseEvent): Promise<void> => {
    // What fails before it has said anything is answered with an error status; text that is no event says nothing.
    const isEvent = event === undefined || event.data !== null || event.comment !== null
    if (beginning === null && (meter.failure !== null || !isEvent)) return
    if (beginning === null && mayBegin()) beginning = open()
    if (begun) await beginning
    if (forward === null) return
    if (begun) await write(forward)
    else keptBack.push(forward)
  }
  try {
    for await (const chunk of engine.body as AsyncIterable<Buffer>) {
      for (const event of splitter.push(chunk)) {
        const { forward, stop } = meter.push(event)
        await send(forward, event)
        if (!stop) continue
        await beginning
        return
      }
      journal?.()
    }
    for (const event of splitter.end()) await send(meter.push(event).forward, event)
    await send(meter.end().forward)
    await beginning
  } catch (error) {
    await beginning
    throw error
  }
}

export const streamHeaders = ({ ceiling }: Serving): Record<string, string> => ({
  'content-type': 'text/event-stream',
  'cache-control': 'no-cache, private',
  'x-accel-buffering': 'no',
  'x-openseed-ceiling': ceiling.amount.toString(),
})

/** The settlement as a comment that every SSE parser ignores, and as a trailer where asked for. */
export function endStream(
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
