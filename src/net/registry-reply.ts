/** One question to a registry and its answer, within a deadline and a size. Whatever else happens is an error of the registry. */
import { hasCode, OpenSeedError } from '../base/errors.ts'
import type { HttpPool } from './http-pool.ts'

export interface RegistryQuestion {
  method: 'GET' | 'POST'
  path: string
  body?: string
  headers?: Record<string, string>
  /** For all of it, from connecting to the last byte. */
  deadlineMs: number
  signal?: AbortSignal | undefined
}

export interface RegistryReply {
  status: number
  etag: string | null
  retryAfterSec: number | null
  /** Parsed JSON; undefined when there is no body. */
  json: unknown
}

/** The most bytes of an answer that are read. */
export const mostReplyBytes = 5 * 1024 * 1024

/** Throws `registry_unreachable` (no answer in time) or `registry_failed` (not an answer), or the signal's reason. */
export async function askRegistry(
  pool: HttpPool,
  url: string,
  prefix: string,
  question: RegistryQuestion,
): Promise<RegistryReply> {
  const { method, path, body, headers, deadlineMs, signal } = question
  const deadline = AbortSignal.timeout(deadlineMs)
  try {
    const reply = await pool.ask({
      method,
      path: prefix + path,
      headers: { accept: 'application/json', ...(body !== undefined && jsonType), ...headers },
      ...(body !== undefined && { body }),
      signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
    })
    const bytes = await readAtMost(reply, url)
    return {
      status: reply.statusCode ?? 0,
      etag: textOf(reply.headers['etag']),
      retryAfterSec: secondsOf(textOf(reply.headers['retry-after'])),
      json: bytes.length === 0 ? undefined : parseJson(bytes, url),
    }
  } catch (cause) {
    signal?.throwIfAborted()
    // The guarded lookup says that of sellers.
    const isPrivate = hasCode(cause, 'seller_unreachable')
    if (cause instanceof OpenSeedError && !isPrivate) throw cause
    const why = deadline.aborted ? `did not answer within ${deadlineMs} ms` : 'cannot be reached'
    throw new OpenSeedError('registry_unreachable', {
      message: `The registry ${url} ${isPrivate ? 'leads into a private network' : why}.`,
      hint: isPrivate ? 'Allow it with buy.allow_private, if that is where it is meant to be.' : undefined,
      details: { registry: url },
      cause,
    })
  }
}

/** An answer that is outside of the protocol. */
export function registryFailed(url: string, what: string, cause?: unknown): OpenSeedError {
  return new OpenSeedError('registry_failed', {
    message: `The registry ${url} ${what}.`,
    details: { registry: url },
    cause,
  })
}

const jsonType = { 'content-type': 'application/json' }

async function readAtMost(body: AsyncIterable<Buffer>, url: string): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    // Leaving the loop destroys the stream and its connection: the rest is never read.
    if (bytes > mostReplyBytes) throw registryFailed(url, `answered more than ${mostReplyBytes} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, bytes)
}

function parseJson(bytes: Buffer, url: string): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'))
  } catch (error) {
    throw registryFailed(url, 'did not answer with JSON', error)
  }
}

function textOf(header: string | string[] | undefined): string | null {
  return typeof header === 'string' ? header : null
}

function secondsOf(header: string | null): number | null {
  return header !== null && /^\d{1,6}$/.test(header) ? Number(header) : null
}
