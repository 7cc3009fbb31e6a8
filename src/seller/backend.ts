/** The seller's way to its engine: the chat route and nothing else, and nothing of the client but its body. */
import { Pool } from 'undici'
import { OpenSeedError } from '../base/errors.ts'
import { EngineCall, type EngineReply } from './engine-call.ts'
import { parseEngineError, type EngineRefusal } from './engine-error.ts'
import { engineBaseUrl } from './engine/engine.ts'

export type { EngineReply }

export interface BackendOptions {
  baseUrl: string
  /** Sent as bearer token. Never leaves for anywhere but `baseUrl`. */
  apiKey?: string | undefined
  /** Default 5 s. */
  connectTimeoutMs?: number | undefined
  /** From the call to the first byte of the answer's body; engines may load a model first. Default 120 s. */
  firstByteTimeoutMs?: number | undefined
  /** Between any two pieces of the answer. Default 60 s. */
  idleTimeoutMs?: number | undefined
}

export interface Backend extends AsyncDisposable {
  /**
   * Resolves with any status once headers are there. Throws `engine_unavailable`, `engine_timeout`, `engine_failed`,
   * or the signal's reason; the body fails with `engine_stream_broken`, `engine_timeout`, or that reason.
   */
  chat: (body: string | Uint8Array, signal: AbortSignal) => Promise<EngineReply>
  close: () => Promise<void>
}

export function openBackend(options: BackendOptions): Backend {
  const base = new URL(engineBaseUrl(options.baseUrl))
  const path = `${base.pathname.replace(/\/$/, '')}/v1/chat/completions`
  const headers = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    ...(options.apiKey !== undefined && { authorization: `Bearer ${options.apiKey}` }),
  }
  const deadlines = {
    firstByteTimeoutMs: options.firstByteTimeoutMs ?? 120_000,
    idleTimeoutMs: options.idleTimeoutMs ?? 60_000,
  }
  // The call keeps its own deadlines: undici's cannot tell the first byte of the body from the headers.
  const pool = new Pool(base.origin, {
    connect: { timeout: options.connectTimeoutMs ?? 5000 },
    headersTimeout: 0,
    bodyTimeout: 0,
    pipelining: 1,
  })

  const close = async (): Promise<void> => {
    await pool.destroy()
  }
  return {
    async chat(body, signal) {
      signal.throwIfAborted()
      const call = new EngineCall(deadlines, signal)
      pool.dispatch({ method: 'POST', path, headers, body }, call)
      return call.reply
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

const mostErrorBytes = 64 * 1024

/** Reads the body of a reply with an error status, at most 64 KiB of it, into one shape. Never throws. */
export async function readEngineError(reply: EngineReply): Promise<EngineRefusal> {
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of reply.body as AsyncIterable<Buffer>) {
      chunks.push(chunk)
      size += chunk.length
      if (size > mostErrorBytes) break
    }
  } catch {
    // Half a reason is better than none: the status is known already.
  }
  return parseEngineError(Buffer.concat(chunks).toString(), reply.status)
}

const mostReplyBytes = 64 * 1024 * 1024

/** Reads the whole body of a plain reply. Throws what the body fails with, or `engine_failed` above 64 MiB. */
export async function readReplyBody(reply: EngineReply): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of reply.body as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > mostReplyBytes) {
      throw new OpenSeedError('engine_failed', { message: 'The engine answered with more than 64 MiB.' })
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, size)
}
