/** A seller's error reply -> one OpenSeedError: its own code where it is one of ours. */
import type { ErrorCode } from '../base/error-codes.ts'
import { errorCodes } from '../base/error-codes.ts'
import { OpenSeedError } from '../base/errors.ts'
import { readBody } from '../net/read-body.ts'
import type { SellerReply } from '../net/seller-client.ts'

const maxErrorBytes = 256 * 1024
const longestMessage = 1000

/** Reads the reply's body. `details` are added to those of the error. */
export async function readSellerError(
  sellerUrl: string,
  { status, headers, body }: SellerReply,
): Promise<OpenSeedError> {
  const text = await readBody(body, maxErrorBytes).then(String, () => '')
  const { code, message } = errorOf(text)
  const retryAfterSec = Number(headers['retry-after'])
  return new OpenSeedError(isErrorCode(code) ? code : codeOf(status), {
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

const isErrorCode = (code: unknown): code is ErrorCode =>
  typeof code === 'string' && Object.hasOwn(errorCodes, code)

function codeOf(status: number): ErrorCode {
  if (status === 413) return 'body_too_large'
  if (status === 429) return 'rate_limit_exceeded'
  return status >= 400 && status < 500 ? 'invalid_request' : 'seller_failed'
}
