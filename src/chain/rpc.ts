import { OpenSeedError } from '../base/errors.ts'
import type { Hex } from '../wire/hex.ts'
import { quorumOf } from './quorum.ts'
import { openAskAll, unavailable } from './rpc-all.ts'
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
 * error, or with an error of its own (rate limit, internal), is passed over for the next, and one that is slow is
 * joined by it; the one that answered is asked first from then on. Every method throws `chain_unavailable` when no URL answered, `chain_mismatch` when a
 * URL serves another chain and no other answered, and the signal's reason when aborted.
 */
export interface Rpc extends AsyncDisposable {
  readonly chainId: number
  /** The host of a client with one URL, or the hosts: paths and queries of RPC URLs hold access keys. */
  readonly name: string
  /** A client for each URL alone, for what must not rest on the word of one of them. */
  readonly sources: readonly Rpc[]
  /**
   * Puts a question to every URL at once and gives the answers of those that had one, at least as many as `needed`
   * says for them. A slow one is not waited for long once enough have answered. Throws `chain_unavailable` when too few
   * answer.
   */
  all<T>(ask: (source: Rpc) => Promise<T>): Promise<T[]>
  /** How many of `answered` URLs must agree before their word counts; see `quorum.ts`. */
  needed(answered: number): number
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
  /** How many URLs must agree where agreement is asked for; null or absent for the rule of `quorumOf`. */
  quorum?: number | null
}

/**
 * Opens a client. Nothing is sent before the first call; each URL's chain id is checked before its first use. Throws
 * `config_invalid` for a text that is no URL, and for a quorum of more than there are.
 */
export function openRpc({ urls, chainId, timeoutMs, quorum = null }: RpcOptions): Rpc {
  if (quorum !== null && quorum > urls.length) throw tooFewUrls(quorum, urls.length)
  const endpoints = urls.map((url) => checked(openEndpoint(url, timeoutMs), chainId))
  const single = endpoints.map((endpoint) => clientOf([endpoint], chainId, null))
  return endpoints.length === 1 ? (single[0] as Rpc) : clientOf(endpoints, chainId, quorum, single)
}

function clientOf(
  endpoints: readonly Endpoint[],
  chainId: number,
  wanted: number | null,
  single?: readonly Rpc[],
): Rpc {
  let preferred = 0

  async function batch(calls: readonly RpcCall[], signal?: AbortSignal): Promise<RpcReply[]> {
    if (calls.length === 0) return []
    const asked: Promise<{ index: number; replies: RpcReply[] }>[] = []
    const first = preferred
    for (let turn = 0; turn < endpoints.length; turn += 1) {
      const index = (first + turn) % endpoints.length
      const asking = (endpoints[index] as Endpoint).ask(calls, signal)
      asked.push(asking.then((replies) => ({ index, replies })))
      const isLast = turn === endpoints.length - 1
      const answer = await firstOf(asked, isLast ? null : slowMs)
      signal?.throwIfAborted()
      if (answer.kind === 'failed' && isLast) throw failureOf(answer.errors)
      if (answer.kind !== 'answered') continue
      preferred = answer.index
      return answer.replies
    }
    throw unavailable([])
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
  const needed = (answered: number) => quorumOf({ configured: endpoints.length, answered, wanted })
  const rpc: Rpc = {
    chainId,
    name: endpoints.map((endpoint) => endpoint.name).join(', '),
    // Its own only source, unless there are several.
    get sources() {
      return single ?? [rpc]
    },
    all: (ask) => askAll(ask),
    needed,
    send,
    batch,
    close,
    [Symbol.asyncDispose]: close,
  }
  const askAll = openAskAll(rpc.sources, needed)
  return rpc
}

// One that is slow, not down: the next is asked as well, and the first answer counts.
const slowMs = 2000

type FirstAnswer =
  | { kind: 'answered'; index: number; replies: RpcReply[] }
  | { kind: 'failed'; errors: unknown[] }
  | { kind: 'slow' }

async function firstOf(
  asked: readonly Promise<{ index: number; replies: RpcReply[] }>[],
  withinMs: number | null,
): Promise<FirstAnswer> {
  const answered = Promise.any(asked).then(
    (answer): FirstAnswer => ({ kind: 'answered', ...answer }),
    ({ errors }: AggregateError): FirstAnswer => ({ kind: 'failed', errors }),
  )
  if (withinMs === null) return answered
  const slow = Promise.withResolvers<FirstAnswer>()
  const timer = setTimeout(() => slow.resolve({ kind: 'slow' }), withinMs)
  return Promise.race([answered, slow.promise]).finally(() => clearTimeout(timer))
}

function failureOf(errors: readonly unknown[]): unknown {
  const foreign = errors.find((error) => !(error instanceof OpenSeedError))
  return foreign ?? unavailable(errors.filter((error) => error instanceof OpenSeedError))
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

const tooFewUrls = (quorum: number, urls: number) =>
  new OpenSeedError('config_invalid', {
    message: `rpc_quorum is ${quorum}, but there is only ${urls} RPC URL${urls === 1 ? '' : 's'}.`,
    hint: 'Name more in rpc_urls, or lower rpc_quorum.',
  })
