/** An error as OpenAI clients understand it, with what keeps them from paying twice. */
import { asOpenSeedError } from '../base/errors.ts'

interface OpenAiError {
  message: string
  type: string
  param: string | null
  code: string
}

interface ErrorReply {
  status: number
  headers: Record<string, string>
  body: { error: OpenAiError }
}

/** The error object of a body or an event. */
export function openAiError(thrown: unknown): OpenAiError {
  const error = asOpenSeedError(thrown)
  const param = error.details?.['param']
  return {
    // Clients show the message and nothing else, so the next step has to stand in it.
    message: error.hint === undefined ? error.message : `${error.message} ${error.hint}`,
    type: error.meaning.type,
    param: typeof param === 'string' ? param : null,
    code: error.code,
  }
}

/** The last event of a stream that broke: OpenAI's clients raise it as the error it names. */
export function errorEvent(thrown: unknown): string {
  return `data: ${JSON.stringify({ error: openAiError(thrown) })}\n\n`
}

/**
 * The whole error reply. `details.charged` (atomic USDC, or null for unknown) tells that money may be gone,
 * `details.retryAfterSec` when to come back, `details.seller` and `details.attempts` who was asked.
 */
export function errorReply(thrown: unknown): ErrorReply {
  const { meaning, details = {} } = asOpenSeedError(thrown)
  const headers: Record<string, string> = {}
  const { charged, retryAfterSec, seller, attempts } = details
  const moneySpent = charged !== undefined && charged !== '0'
  // The SDKs repeat 408, 409, 429 and 5xx by themselves: each repetition would be a second payment.
  if (moneySpent || !meaning.retryable) headers['x-should-retry'] = 'false'
  if (typeof retryAfterSec === 'number') headers['retry-after'] = String(Math.ceil(retryAfterSec))
  if (typeof seller === 'string') headers['x-openseed-seller'] = seller
  if (typeof attempts === 'number') headers['x-openseed-attempts'] = String(attempts)
  if (typeof charged === 'string') headers['x-openseed-cost'] = charged
  return { status: meaning.status, headers, body: { error: openAiError(thrown) } }
}
