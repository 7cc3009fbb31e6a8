/** What every plain reply needs: the engine's whole answer, metered, and the way to send it. */
import type { ServerResponse } from 'node:http'
import type { Usage } from '../wire/price.ts'
import { readReplyBody, type EngineReply } from './backend.ts'
import type { PaidCall } from './gate.ts'
import { meterReply } from './meter-reply.ts'
import { closeAtNothing, type ServeParts, type Serving } from './serve-parts.ts'

/** Reads and meters a plain answer. Throws after everything that was held for it is given free. */
export async function readPlain(
  call: PaidCall,
  serving: Serving,
  engine: EngineReply,
  parts: ServeParts,
  signal: AbortSignal,
): Promise<{ body: Buffer; usage: Usage }> {
  try {
    const bytes = await readReplyBody(engine)
    signal.throwIfAborted()
    const metered = meterReply(bytes, {
      bounds: serving.ceiling,
      request: call.chat.json,
      countTokens: await parts.countTokens(),
    })
    if (metered.kind === 'failed') throw metered.error
    return metered
  } catch (error) {
    // Nothing was delivered: nothing is charged.
    await closeAtNothing(serving, parts)
    throw error
  }
}

export function send(
  response: ServerResponse,
  status: number,
  headers: Record<string, string>,
  body: Buffer,
): void {
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': body.length,
    ...headers,
  })
  response.end(body)
}
