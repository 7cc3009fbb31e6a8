/** One seller's HTTP connections. Every wait has a deadline, and every error says whether the seller may have seen the request. */
import type { LookupFunction } from 'node:net'
import { Pool } from 'undici'
import { OpenSeedError } from '../base/errors.ts'
import { PendingReply, type SellerReply, type SellerRequest } from './pending-reply.ts'

export type { SellerReply, SellerRequest } from './pending-reply.ts'

export interface SellerClient {
  /** The seller's base URL, normalised: no trailing slash, query or fragment. */
  readonly url: string
  /**
   * Sends one request and resolves at the reply's head. Redirects are returned, never followed: a payment goes
   * only where it was meant to. Errors carry `details.sent`: false means no byte left this machine.
   */
  request(request: SellerRequest): Promise<SellerReply>
  /** Closes all connections; what runs fails. */
  close(): Promise<void>
}

const maxReplyHeadBytes = 32 * 1024

/** Opens the connections to one seller. Connects on the first request. */
export function openSellerClient({
  url,
  connectTimeoutMs,
  lookup,
}: {
  url: string
  connectTimeoutMs: number
  /** The system's unless told. */
  lookup?: LookupFunction | undefined
}): SellerClient {
  const base = normaliseSellerUrl(url)
  const { origin, pathname } = new URL(base)
  const prefix = pathname === '/' ? '' : pathname
  const pool = new Pool(origin, {
    pipelining: 1,
    allowH2: false,
    maxHeaderSize: maxReplyHeadBytes,
    connect: { timeout: connectTimeoutMs, ...(lookup && { lookup }) },
    // PendingReply has its own deadlines: exact, and silent while the reader itself holds the stream back.
    headersTimeout: 0,
    bodyTimeout: 0,
  })
  return {
    url: base,
    request(request) {
      const pending = new PendingReply(base, request, connectTimeoutMs)
      const { method, headers, body } = request
      if (!pending.settled) {
        pool.dispatch(
          { method, path: prefix + request.path, headers: headers ?? {}, body: body ?? null },
          pending,
        )
      }
      return pending.head
    },
    close: () => pool.destroy(),
  }
}

/** The one spelling of a seller's URL that names it everywhere. Throws `config_invalid`. */
export function normaliseSellerUrl(input: string): string {
  const url = URL.parse(input)
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:') || url.username || url.password) {
    throw new OpenSeedError('config_invalid', {
      message: `"${input}" is not a seller's address.`,
      hint: 'A seller is given as http://host:port or https://host.',
    })
  }
  return url.origin + url.pathname.replace(/\/+$/, '')
}
