/** A seller's error reply -> one OpenSeedError: its own code where that is a seller's to say. */
import type { ErrorCode } from '../base/error-codes.ts'
import { errorCodes } from '../base/error-codes.ts'
import { OpenSeedError } from '../base/errors.ts'
import { readBody } from '../net/read-body.ts'
import type { SellerReply } from '../net/seller-client.ts'

/** All others speak of ourselves: a seller that says them could stop us from asking the next one. */
const sellersCodes: ReadonlySet<unknown> = new Set<ErrorCode>([
  'body_too_large',
  'engine_failed',
  'engine_stream_broken',
  'engine_timeout',
  'engine_unavailable',
  'invalid_json',
  'invalid_message',
  'invalid_request',
  'model_not_found',
  'rate_limit_exceeded',
  'settlement_overdue',
  'shutting_down',
])

const maxErrorBytes = 256 * 1024
const errorWithinMs = 2000
const longestMessage = 1000

/** Reads the reply's body. `details` are added to those of the error. */
export async function readSellerError(
  sellerUrl: string,
  { status, headers, body }: SellerReply,
): Promise<OpenSeedError> {
  const text = await readBody(body, maxErrorBytes, errorWithinMs).then(String, () => '')
  const { code, message } = errorOf(text)
  const retryAfterSec = Number(headers['retry-after'])
  return new OpenSeedError(codeFor(code, status), {
    message: message ?? `${sellerUrl} answered ${status}.`,
    details: {
      seller: sellerUrl,
      status,
      ...(Number.isFinite(retryAfterSec) && headers['retry-after'] ? { retryAfterSec } : {}),
    },
  })
}

/** The same error with more facts. */
export function withDetails(error: OpenSeedError, details: Record<string, unknown>): OpenSeedError {
  const { message, hint, cause } = error
  return new OpenSeedError(error.code, { message, hint, cause, details: { ...error.details, ...details } })
}

function errorOf(text: string): { code: unknown; message: string | null } {
  try {
    const { error } = JSON.parse(text) as { error?: { code?: unknown; message?: unknown } }
    const message = typeof error?.message === 'string' && error.message !== '' ? error.message : null
    return { code: error?.code, message: message?.slice(0, longestMessage) ?? null }
  } catch {
    return { code: null, message: null }
  }
}

function codeFor(code: unknown, status: number): ErrorCode {
  if (isSellersCode(code)) return code
  if (typeof code === 'string' && Object.hasOwn(errorCodes, code)) return 'seller_failed'
  if (status === 400 || status === 422) return 'invalid_request'
  if (status === 404) return 'model_not_found'
  if (status === 413) return 'body_too_large'
  return status === 429 ? 'rate_limit_exceeded' : 'seller_failed'
}

const isSellersCode = (code: unknown): code is ErrorCode => sellersCodes.has(code)
