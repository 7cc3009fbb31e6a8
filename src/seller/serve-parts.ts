/** What both halves of the pipeline, plain and streamed, work with. */
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { Usage } from '../wire/price.ts'
import type { Backend } from './backend.ts'
import { nothingDelivered, type Delivered } from './channel-entry.ts'
import type { GateAnswer, GateParts } from './gate.ts'
import type { ReplyCache } from './reply-cache.ts'
import type { Throughput } from './throughput.ts'
import type { TokenCounter } from './tokens.ts'

export interface ServeParts extends GateParts {
  backends: readonly Backend[]
  replies: ReplyCache
  /** learns how fast streams are */
  throughput: Throughput
  countTokens: () => Promise<TokenCounter>
  /** how long a client may take nothing of its stream */
  readerTimeoutMs: number
  log: Log
  now: Clock
}

/** An answer of the gate that goes on to the engine. */
export type Serving = Exclude<GateAnswer, { kind: 'pay' | 'repeated' | 'exact-repeated' }>

/** Served on a channel, or for nothing. */
export type ChannelServing = Exclude<Serving, { kind: 'exact' }>

/** What a reply proves in its receipt. */
export const delivered = (responseHash: Delivered['responseHash'], usage: Usage): Delivered => ({
  responseHash,
  inputTokens: usage.inputTokens,
  cachedTokens: usage.cachedTokens,
  outputTokens: usage.outputTokens,
})

/** The engine gave nothing: the row closes at 0, if not now then as soon as the disk takes it. */
export async function closeAtNothing(serving: Serving, parts: ServeParts): Promise<void> {
  if (serving.kind === 'free') return
  if (serving.kind === 'exact') {
    // What is paid stays owed.
    if (serving.paidBy === null) await parts.exact.release(serving.order, 'not_served')
    return
  }
  const { entry, id } = serving
  await parts.book.finish(entry, id, 0n, nothingDelivered).catch((error: unknown) => {
    parts.log.error({ error, request: id }, 'a request without an answer could not be closed yet')
    void parts.book.finishLater(entry, id, 0n, nothingDelivered)
  })
}
