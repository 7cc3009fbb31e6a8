/** Engines word their errors differently; this is the one place that knows how. */
import { OpenSeedError } from '../base/errors.ts'
import { isRecord } from './engine/json.ts'

/** An engine's refusal or failure: the HTTP status it means, in its own words. */
export interface EngineRefusal {
  status: number
  message: string
}

const longestMessage = 500

/** The refusal in an error body: OpenAI's, Ollama's `{"error":"text"}`, old vLLM's, FastAPI's, or plain text. */
export function parseEngineError(text: string, status: number): EngineRefusal {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return { status, message: shorten(/^\s*</.test(text) ? '' : text) }
  }
  return engineErrorIn(parsed, status) ?? { status, message: shorten(messageIn(parsed) ?? '') }
}

/**
 * The refusal in a body that came with a good status, or in an event of a stream; null when it is none.
 * An integer code between 400 and 599 inside counts as the status, since the real one was already sent.
 */
export function engineErrorIn(value: unknown, status = 502): EngineRefusal | null {
  if (!isRecord(value)) return null
  const error = value['error']
  const told = error !== undefined && error !== null
  if (!told && value['object'] !== 'error') return null
  const source = isRecord(error) ? error : value
  const code = Number(source['code'] ?? source['status'])
  const meant = status === 502 && Number.isInteger(code) && code >= 400 && code <= 599 ? code : status
  return { status: meant, message: shorten(messageIn(value) ?? '') }
}

/** The error for our client: its own mistakes stay its own, everything else is the engine's failure. */
export function refusalError({ status, message }: EngineRefusal): OpenSeedError {
  const facts = { message: `The engine answered ${status}: ${message}`, details: { engineStatus: status } }
  if (status === 404) return new OpenSeedError('model_not_found', facts)
  if (status === 413) return new OpenSeedError('body_too_large', facts)
  if (status === 400 || status === 422) return new OpenSeedError('invalid_request', facts)
  if (status === 429 || status === 503) return new OpenSeedError('rate_limit_exceeded', facts)
  if (status === 408 || status === 504) return new OpenSeedError('engine_timeout', facts)
  return new OpenSeedError('engine_failed', facts)
}

function messageIn(value: unknown): string | null {
  if (typeof value === 'string') return value
  if (Array.isArray(value)) return messageIn(value[0])
  if (!isRecord(value)) return null
  return messageIn(value['error'] ?? value['message'] ?? value['msg'] ?? value['detail'] ?? null)
}

function shorten(message: string): string {
  const line = message.trim()
  return line === '' ? 'no reason given' : line.slice(0, longestMessage)
}
