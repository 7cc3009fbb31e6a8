/** One seller's HTTP connections. Every wait has a deadline, and every error says whether the seller may have seen the request. */
import type { LookupFunction } from 'node:net'
import { Pool, type Client } from 'undici'
import { OpenSeedError } from '../base/errors.ts'
import { peerAddress, peerOfAddress } from '../wire/seller-address.ts'
import { PendingReply, type SellerReply, type SellerRequest } from './pending-reply.ts'
import { SellerLines, type DialSeller, type SellerPath } from './seller-lines.ts'

export type { SellerReply, SellerRequest } from './pending-reply.ts'

export type { SellerPath } from './seller-lines.ts'

export interface SellerClient {
  /** The seller's address, normalised: `openseed://<peer id>`, or a URL without trailing slash, query or fragment. */
  readonly url: string
  /**
   * Sends one request and resolves at the reply's head. Redirects are returned, never followed: a payment goes
   * only where it was meant to. Errors carry `details.sent`: false means no byte left this machine.
   */
  request(request: SellerRequest): Promise<SellerReply>
  /** The way the last request took; null before the first. */
  path(): SellerPath | null
  /** New requests get new connections, because a better way was found; what runs ends undisturbed on its own. */
  retire(): void
  /** Closes all connections; what runs fails. */
  close(): Promise<void>
}

const maxReplyHeadBytes = 32 * 1024
// A stream costs next to nothing while nothing runs on it, and a new one costs a round trip or two.
const idleMs = 60_000

export interface SellerClientOptions {
  url: string
  connectTimeoutMs: number
  /** Of the names in URLs. The system's unless told. */
  lookup?: LookupFunction | undefined
  /** Opens connections to a seller that is met by its peer id; a URL needs none. */
  dial?: DialSeller | undefined
}

/** Opens the connections to one seller. Connects on the first request. */
export function openSellerClient({ url, connectTimeoutMs, lookup, dial }: SellerClientOptions): SellerClient {
  const base = normaliseSellerUrl(url)
  const settings: Client.Options = {
    pipelining: 1,
    allowH2: false,
    maxHeaderSize: maxReplyHeadBytes,
    // PendingReply has its own deadlines: exact, and silent while the reader itself holds the stream back.
    headersTimeout: 0,
    bodyTimeout: 0,
  }
  const peer = peerOfAddress(base)
  const lines =
    peer === null
      ? openUrlLines(base, { ...settings, connect: { timeout: connectTimeoutMs, ...(lookup && { lookup }) } })
      : new SellerLines({
          dial: dial ?? refuseToDial,
          host: `${peer}.openseed`,
          connectTimeoutMs,
          client: { ...settings, keepAliveTimeout: idleMs },
        })
  return {
    url: base,
    request(request) {
      const pending = new PendingReply(base, request, connectTimeoutMs)
      const { method, path, headers = {}, body = null } = request
      if (!pending.settled) lines.dispatch({ method, path, headers, body }, pending)
      return pending.head
    },
    path: () => lines.path,
    retire: () => lines.retire(),
    close: () => lines.close(),
  }
}

type Lines = Pick<SellerLines, 'dispatch' | 'path' | 'retire' | 'close'>

/** To a URL there is one way. */
function openUrlLines(base: string, settings: Client.Options): Lines {
  const { origin, pathname } = new URL(base)
  const prefix = pathname === '/' ? '' : pathname
  const pool = new Pool(origin, settings)
  let path: SellerPath | null = null
  return {
    get path() {
      return path
    },
    dispatch(request, reply) {
      path = 'url'
      pool.dispatch({ ...request, path: prefix + request.path }, reply)
    },
    retire() {},
    close: () => pool.destroy(),
  }
}

async function refuseToDial(): Promise<never> {
  throw new OpenSeedError('seller_unreachable', {
    message: 'There is no peer-to-peer host to reach the seller with.',
  })
}

/** The one spelling of a seller's address that names it everywhere. Throws `config_invalid`. */
export function normaliseSellerUrl(input: string): string {
  const peer = peerOfAddress(input)
  if (peer !== null) return peerAddress(peer)
  const url = URL.parse(input)
  if (!url || (url.protocol !== 'http:' && url.protocol !== 'https:') || url.username || url.password) {
    throw new OpenSeedError('config_invalid', {
      message: `"${input}" is not a seller's address.`,
      hint: 'A seller is given as openseed://<peer id>, https://host or http://host:port.',
    })
  }
  return url.origin + url.pathname.replace(/\/+$/, '')
}
