/** Questions to an engine about itself, before anything is sold. Not on the way of a request. */
import { Agent, request } from 'undici'
import { isRecord } from './json.ts'

export type Answer =
  | { kind: 'json'; status: number; value: Record<string, unknown> }
  /** Something answers there, but no JSON object. */
  | { kind: 'other'; status: number; text: string }
  | { kind: 'unreachable'; cause: unknown }

export type Ask = (path: string, body?: Record<string, unknown>) => Promise<Answer>

export interface AskOptions {
  signal: AbortSignal
  apiKey?: string | undefined
  /** For the connection, and again for the answer. */
  answerTimeoutMs: number
}

/** Opens a questioner for one engine; whoever opens it closes its connections. */
export function openAsk(baseUrl: string, options: AskOptions): { ask: Ask } & AsyncDisposable {
  const { signal, apiKey, answerTimeoutMs } = options
  const agent = new Agent({
    connect: { timeout: answerTimeoutMs },
    headersTimeout: answerTimeoutMs,
    bodyTimeout: answerTimeoutMs,
    maxResponseSize: 16 * 1024 * 1024,
  })
  const headers = {
    accept: 'application/json',
    ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
  }

  const ask: Ask = async (path, body) => {
    let status: number
    let text: string
    try {
      const sent = body && { method: 'POST' as const, body: JSON.stringify(body) }
      const type = body && { 'content-type': 'application/json' }
      const reply = await request(baseUrl + path, {
        dispatcher: agent,
        signal,
        ...sent,
        headers: { ...headers, ...type },
      })
      status = reply.statusCode
      text = await reply.body.text()
    } catch (cause) {
      // An owner who gave up is not an engine that is down.
      signal.throwIfAborted()
      return { kind: 'unreachable', cause }
    }
    const value = parseOrNull(text)
    return isRecord(value) ? { kind: 'json', status, value } : { kind: 'other', status, text }
  }
  return { ask, [Symbol.asyncDispose]: () => agent.destroy() }
}

function parseOrNull(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
