import { OpenSeedError } from '../base/errors.ts'
import type { Hex } from '../wire/hex.ts'
import { openEndpoint, type Endpoint } from './rpc-endpoint.ts'

/** One JSON-RPC call. */
export interface RpcCall {
  method: string
  params?: readonly unknown[]
}

/** What the chain answered: a result, or its own refusal (a revert, a nonce already used). `data` is revert data. */
export type RpcReply =
  | { ok: true; result: unknown }
  | { ok: false; code: number; message: string; data: Hex | null }

/**
 * A JSON-RPC client over one or more URLs of the same chain. A URL that does not answer in time, answers with an HTTP
 * error, or with an error of its own (rate limit, internal), is passed over for the next; the one that answered is
 * asked first from then on. Every method throws `chain_unavailable` when no URL answered, `chain_mismatch` when a
 * URL serves another chain and no other answered, and the signal's reason when aborted.
 */
export interface Rpc extends AsyncDisposable {
  readonly chainId: number
  /** One call. Throws `chain_refused` when the chain itself refuses it; `decodeRevert` reads the reason. */
  send(method: string, params?: readonly unknown[], signal?: AbortSignal): Promise<unknown>
  /** Several calls in one round trip, answered in order. */
  batch(calls: readonly RpcCall[], signal?: AbortSignal): Promise<RpcReply[]>
  close(): Promise<void>
}

export interface RpcOptions {
  /** Tried in this order. */
  urls: readonly string[]
  chainId: number
  /** For each URL and call, in milliseconds. */
  timeoutMs: number
}

/** Opens a client. Nothing is sent before the first call; each URL's chain id is checked before its first use. */
export function openRpc({ urls, chainId, timeoutMs }: RpcOptions): Rpc {
  const endpoints = urls.map((url) => checked(openEndpoint(url, timeoutMs), chainId))
  let preferred = 0

  async function batch(calls: readonly RpcCall[], signal?: AbortSignal): Promise<RpcReply[]> {
    if (calls.length === 0) return []
    const failures: OpenSeedError[] = []
    const first = preferred
    for (let turn = 0; turn < endpoints.length; turn += 1) {
      const index = (first + turn) % endpoints.length
      try {
        const replies = await (endpoints[index] as Endpoint).ask(calls, signal)
        preferred = index
        return replies
      } catch (thrown) {
        signal?.throwIfAborted()
        if (!(thrown instanceof OpenSeedError)) throw thrown
        failures.push(thrown)
      }
    }
    throw unavailable(failures)
  }

  async function send(
    method: string,
    params: readonly unknown[] = [],
    signal?: AbortSignal,
  ): Promise<unknown> {
    const [reply] = await batch([{ method, params }], signal)
    return resultOf(reply, method)
  }

  const close = async () => {
    await Promise.all(endpoints.map((endpoint) => endpoint.close()))
  }
  return { chainId, send, batch, close, [Symbol.asyncDispose]: close }
}

/** The result of a reply of a batch. Throws `chain_refused` for a refusal. */
export function resultOf(reply: RpcReply | undefined, method: string): unknown {
  if (reply?.ok) return reply.result
  throw new OpenSeedError('chain_refused', {
    message: `The chain refused ${method}: ${reply?.message ?? 'no reply'}.`,
    details: { method, code: reply?.code, data: reply?.data },
  })
}

function checked(endpoint: Endpoint, chainId: number): Endpoint {
  let check: Promise<void> | undefined
  // Shared by all callers, so no caller's signal may end it; the endpoint's own deadline does.
  const ensureChain = () => {
    check ??= readChainId(endpoint, chainId).catch((thrown: unknown) => {
      check = undefined
      throw thrown
    })
    return check
  }
  return {
    ...endpoint,
    ask: async (calls, signal) => {
      await ensureChain()
      return endpoint.ask(calls, signal)
    },
  }
}

async function readChainId(endpoint: Endpoint, wanted: number): Promise<void> {
  const [reply] = await endpoint.ask([{ method: 'eth_chainId' }])
  const found = Number(resultOf(reply, 'eth_chainId'))
  if (found === wanted) return
  throw new OpenSeedError('chain_mismatch', {
    message: `The RPC at ${endpoint.name} serves chain ${found}, not ${wanted}.`,
    hint: 'Check the RPC URLs and the network in the config.',
  })
}

function unavailable(failures: readonly OpenSeedError[]): OpenSeedError {
  const mismatch = failures.find((failure) => failure.code === 'chain_mismatch')
  if (mismatch) return mismatch
  return new OpenSeedError('chain_unavailable', {
    message: `No RPC answered: ${failures.map((failure) => failure.message).join(' ') || 'none is configured.'}`,
    hint: 'Check the network connection and the RPC URLs in the config.',
    cause: failures[0],
  })
}
