/** One RPC URL: posts JSON-RPC, and tells the chain's answers from the endpoint's failures. */
import { Agent, request } from 'undici'
import { OpenSeedError } from '../base/errors.ts'
import type { Hex } from '../wire/hex.ts'
import type { RpcCall, RpcReply } from './rpc.ts'

/** Where one URL is asked. `name` is its host alone: paths and queries of RPC URLs hold access keys. */
export interface Endpoint {
  readonly name: string
  /** Throws `chain_unavailable` when the endpoint, rather than the chain, failed. */
  ask(calls: readonly RpcCall[], signal?: AbortSignal): Promise<RpcReply[]>
  close(): Promise<void>
}

const maxReplyBytes = 64 * 1024 * 1024

export function openEndpoint(url: string, timeoutMs: number): Endpoint {
  const name = hostOf(url)
  const agent = new Agent({ connect: { timeout: timeoutMs }, maxResponseSize: maxReplyBytes })
  let nextId = 1
  // Some providers refuse batches; their calls are then sent side by side.
  let takesBatches = true

  const failed = (reason: string, cause?: unknown) =>
    new OpenSeedError('chain_unavailable', { message: `${name}: ${reason}.`, cause })

  async function post(body: unknown, signal: AbortSignal | undefined): Promise<unknown> {
    const deadline = AbortSignal.timeout(timeoutMs)
    try {
      const reply = await request(url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
        dispatcher: agent,
        signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
      })
      const text = await reply.body.text()
      const parsed = parseJson(text)
      // Some nodes answer a refused call with an HTTP error and a JSON-RPC body that says why.
      const isLimited = reply.statusCode === 429
      if (isLimited || (reply.statusCode >= 300 && !hasErrorBody(parsed)))
        throw failed(`HTTP ${reply.statusCode}`)
      if (parsed === undefined) throw failed('the reply is not JSON')
      return parsed
    } catch (thrown) {
      signal?.throwIfAborted()
      if (thrown instanceof OpenSeedError) throw thrown
      if (deadline.aborted) throw failed(`no answer within ${timeoutMs} ms`, thrown)
      throw failed(thrown instanceof Error ? thrown.message || thrown.name : String(thrown), thrown)
    }
  }

  function encode({ method, params = [] }: RpcCall) {
    const id = nextId
    nextId += 1
    return { jsonrpc: '2.0', id, method, params }
  }

  async function askOne(call: RpcCall, signal: AbortSignal | undefined): Promise<RpcReply> {
    return readReply(await post(encode(call), signal))
  }

  function readReply(input: unknown): RpcReply {
    if (typeof input !== 'object' || input === null) throw failed('a reply is not an object')
    const { result, error } = input as { result?: unknown; error?: unknown }
    if (error === undefined || error === null) {
      if (result === undefined) throw failed('a reply has neither result nor error')
      return { ok: true, result }
    }
    const { code, message, data } = error as { code?: unknown; message?: unknown; data?: unknown }
    const refusal = {
      ok: false as const,
      code: Number(code),
      message: String(message),
      data: revertData(data),
    }
    if (isOwnFailure(refusal)) throw failed(refusal.message)
    return refusal
  }

  async function ask(calls: readonly RpcCall[], signal?: AbortSignal): Promise<RpcReply[]> {
    const [only] = calls
    if (calls.length === 1 && only) return [await askOne(only, signal)]
    if (takesBatches) {
      const sent = calls.map(encode)
      const replies = await post(sent, signal)
      if (Array.isArray(replies)) {
        const byId = new Map(replies.map((reply: { id?: unknown }) => [reply?.id, reply]))
        return sent.map(({ id }) => readReply(byId.get(id)))
      }
      takesBatches = false
    }
    return Promise.all(calls.map((call) => askOne(call, signal)))
  }

  return { name, ask, close: () => agent.destroy() }
}

function hostOf(url: string): string {
  try {
    return new URL(url).host
  } catch (cause) {
    throw new OpenSeedError('config_invalid', { message: 'An RPC URL is not a URL.', cause })
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const hasErrorBody = (parsed: unknown) =>
  typeof parsed === 'object' && parsed !== null && 'error' in parsed && typeof parsed.error === 'object'

// Nodes put revert data in `data`, in `data.data`, or behind a word ("Reverted 0x…").
function revertData(data: unknown): Hex | null {
  const inner = typeof data === 'object' && data !== null && 'data' in data ? data.data : data
  const found = typeof inner === 'string' ? /0x(?:[0-9a-f]{2})*$/i.exec(inner) : null
  return found ? (found[0].toLowerCase() as Hex) : null
}

// Codes of EIP-1474 and JSON-RPC for "I cannot", as against "the chain says no".
const ownFailureCodes = new Set([-32_700, -32_601, -32_603, -32_001, -32_002, -32_005, 429])
const ownFailureWords =
  /rate.?limit|too many requests|limit exceeded|capacity|timed? ?out|temporar|unavailable/i

function isOwnFailure({ code, message, data }: { code: number; message: string; data: Hex | null }): boolean {
  if (data !== null || code === 3) return false
  return ownFailureCodes.has(code) || ownFailureWords.test(message)
}
