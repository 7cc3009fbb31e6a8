/** POST /v1/chat/completions: the client's request into the exchange, the seller's answer back. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Log } from '../base/log.ts'
import type { Clock } from '../base/clock.ts'
import { parseChatRequest, parseJsonBody } from '../wire/chat.ts'
import { streamToClient } from './client-stream.ts'
import type { Exchange, ExchangeOutcome, ExchangeReply } from './exchange-types.ts'
import { readRequestBody, sendBytes } from '../net/http-json.ts'

interface ChatParts {
  exchange: Exchange
  maxBodyBytes: number
  now: Clock
  log: Log
}

// Headers are made here, not relayed: what a seller sets beside these is between it and the node.
const relayedHeaders = ['content-type', 'retry-after'] as const

/** Answers one request; resolves when its money outcome is known too. */
export async function answerChat(
  req: IncomingMessage,
  res: ServerResponse,
  { exchange, maxBodyBytes, now, log }: ChatParts,
  traceId: string,
  signal: AbortSignal,
): Promise<void> {
  const receivedAtMs = now()
  const startedMs = performance.now()
  const body = await readRequestBody(req, maxBodyBytes)
  const readMs = performance.now()
  const { json, model, stream, wantsUsage } = parseChatRequest(parseJsonBody(body))
  const reply = await exchange(
    { path: '/v1/chat/completions', body, json, model, stream, wantsUsage, receivedAtMs, traceId },
    signal,
  )
  const overheadMs = performance.now() - readMs - reply.sellerWaitMs
  if (Buffer.isBuffer(reply.body)) {
    const outcome = await reply.done
    sendBytes(res, reply.status, reply.body, headersOf(reply, overheadMs, outcome))
    return
  }
  const headers = headersOf(reply, overheadMs, null)
  const isEventStream = headers['content-type']?.startsWith('text/event-stream') === true
  if (!res.destroyed) {
    res.writeHead(reply.status, { ...headers, 'cache-control': 'no-cache', 'x-accel-buffering': 'no' })
    res.flushHeaders()
  }
  const broken = await streamToClient(res, reply.body, isEventStream)
  const { charged, reason } = await reply.done
  log[broken === null && reason === null ? 'debug' : 'warn'](
    {
      traceId,
      model,
      seller: reply.seller,
      charged: charged?.toString() ?? null,
      reason,
      err: broken ?? undefined,
    },
    'stream over',
  )
  log.debug({ traceId, uploadMs: readMs - startedMs, overheadMs }, 'timing')
}

function headersOf(
  reply: ExchangeReply,
  overheadMs: number,
  outcome: ExchangeOutcome | null,
): Record<string, string> {
  const headers: Record<string, string> = {
    'x-openseed-seller': reply.seller,
    'x-openseed-ceiling': reply.ceiling.toString(),
    'x-openseed-attempts': String(reply.attempts),
    'x-openseed-overhead-ms': Math.max(0, overheadMs).toFixed(2),
  }
  if (reply.path !== null) headers['x-openseed-path'] = reply.path
  for (const name of relayedHeaders) {
    const value = reply.headers[name]
    if (value !== undefined) headers[name] = value
  }
  const charged = outcome?.charged
  if (charged !== undefined && charged !== null) headers['x-openseed-cost'] = charged.toString()
  // A repetition by the client's library would be a second payment; an unknown charge counts as one.
  if (charged !== 0n || reply.status === 402 || reply.status === 409) headers['x-should-retry'] = 'false'
  return headers
}
