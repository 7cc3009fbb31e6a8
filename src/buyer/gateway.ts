/** The local OpenAI-compatible server: where a client's request enters. Parses and answers; knows nothing of money. */
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Clock } from '../base/clock.ts'
import { asOpenSeedError, OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { answerChat } from './chat-route.ts'
import type { Exchange, ModelListing } from './exchange-types.ts'
import { sendJson } from '../net/http-json.ts'
import { listenOn } from '../net/listen-on.ts'
import { assertLocal } from './local-guard.ts'
import { encodeModel, encodeUnpriced } from './model-json.ts'
import { errorReply } from '../wire/openai-error.ts'

export interface GatewayOptions {
  host: string
  /** 0 takes any free port. */
  port: number
  exchange: Exchange
  listModels: () => ModelListing[]
  /** Ids of models whose price nobody says before they are asked. */
  unpricedModels?: () => readonly string[]
  maxBodyBytes?: number
  log: Log
  now: Clock
}

export interface Gateway {
  /** Where it listens, without `/v1`. */
  url: string
  port: number
  /** Takes no new requests, lets those that run finish until the deadline, then cuts them off with an error. */
  close(deadlineMs: number): Promise<void>
}

const defaultMaxBodyBytes = 32 * 1024 * 1024
// Coding agents send JSON in headers.
const maxHeaderBytes = 64 * 1024
const idleConnectionMs = 60_000
// Time for requests that were cut off to say so to their clients.
const lastWordsMs = 1000

/** Listens at once. Throws `port_in_use` with a hint that names a free port. */
export async function openGateway(options: GatewayOptions): Promise<Gateway> {
  const { host, listModels, unpricedModels = () => [], log } = options
  const unpriced = () => {
    const priced = new Set(listModels().map(({ id }) => id))
    return unpricedModels()
      .filter((id) => !priced.has(id))
      .map(encodeUnpriced)
  }
  const chat = { ...options, maxBodyBytes: options.maxBodyBytes ?? defaultMaxBodyBytes }
  const running = new Map<Promise<void>, AbortController>()
  let closing: Promise<void> | null = null

  const server = createServer(
    { noDelay: true, maxHeaderSize: maxHeaderBytes, keepAliveTimeout: idleConnectionMs },
    (req, res) => {
      const controller = new AbortController()
      // Until the answer has left, its connection does not count as idle.
      const left = new Promise((resolve) => res.on('close', resolve))
      const work = handle(req, res, controller)
        .then(() => left)
        .then(() => void running.delete(work))
      running.set(work, controller)
    },
  )

  async function handle(
    req: IncomingMessage,
    res: ServerResponse,
    controller: AbortController,
  ): Promise<void> {
    const traceId = `req_${randomUUID().replaceAll('-', '')}`
    res.setHeader('x-request-id', traceId)
    res.on('close', () => {
      if (!res.writableFinished) controller.abort(clientGone())
    })
    try {
      if (closing !== null) {
        res.setHeader('connection', 'close')
        throw shuttingDown()
      }
      assertLocal(req, host)
      await dispatch(req, res, traceId, controller.signal)
    } catch (thrown) {
      const error = asOpenSeedError(thrown)
      log[error.meaning.status === 500 ? 'error' : 'debug'](
        { traceId, code: error.code, err: error },
        'refused',
      )
      const { status, headers, body } = errorReply(error)
      sendJson(res, status, body, headers)
    }
  }

  function dispatch(
    req: IncomingMessage,
    res: ServerResponse,
    traceId: string,
    signal: AbortSignal,
  ): Promise<void> | void {
    const path = plainPath(req.url ?? '/')
    if (path === '/chat/completions') {
      allow(req, 'POST')
      return answerChat(req, res, chat, traceId, signal)
    }
    if (path === '/healthz') {
      allow(req, 'GET')
      return sendJson(res, 200, { status: 'ok' })
    }
    if (path === '/models') {
      allow(req, 'GET')
      return sendJson(res, 200, { object: 'list', data: [...listModels().map(encodeModel), ...unpriced()] })
    }
    if (path.startsWith('/models/')) {
      allow(req, 'GET')
      const id = path.slice('/models/'.length)
      const known = unpriced().find((model) => isNamed(model.id, id))
      return sendJson(res, 200, known ?? encodeModel(findModel(listModels(), id)))
    }
    throw new OpenSeedError('not_found', {
      message: `There is no ${req.method} ${path} here.`,
      hint: 'Served are /v1/chat/completions, /v1/models and /healthz.',
    })
  }

  await listenOn(server, host, options.port)
  const { port } = server.address() as AddressInfo
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    port,
    close: (deadlineMs) => (closing ??= drain(server, running, deadlineMs)),
  }
}

/** The path without `/v1`, which clients leave out, or double when the base URL has it already. */
function plainPath(url: string): string {
  const path = url.replace(/[?#].*$/s, '').replaceAll(/\/{2,}/g, '/')
  return path.replace(/^(?:\/v1)+(?=\/|$)/, '').replace(/(?<=.)\/$/, '')
}

function allow(req: IncomingMessage, method: 'GET' | 'POST'): void {
  if (req.method === method || (method === 'GET' && req.method === 'HEAD')) return
  throw new OpenSeedError('method_not_allowed', {
    message: `This route answers ${method}, not ${req.method}.`,
  })
}

/** Clients differ on whether they escape the slashes in a model's name. */
function isNamed(id: string, encodedId: string): boolean {
  return id === encodedId || encodeURIComponent(id) === encodedId.replaceAll('/', '%2F')
}

function findModel(models: readonly ModelListing[], encodedId: string): ModelListing {
  const model = models.find(({ id }) => isNamed(id, encodedId))
  if (model !== undefined) return model
  throw new OpenSeedError('model_not_found', {
    message: `No seller in reach offers the model "${encodedId}".`,
    hint: 'GET /v1/models lists those that are offered.',
  })
}

async function drain(
  server: Server,
  running: ReadonlyMap<Promise<void>, AbortController>,
  deadlineMs: number,
): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  const cutOff = setTimeout(() => {
    for (const controller of running.values()) controller.abort(shuttingDown())
  }, deadlineMs)
  let hangUp: NodeJS.Timeout | undefined
  const patienceEnds = new Promise<void>(
    (resolve) => (hangUp = setTimeout(resolve, deadlineMs + lastWordsMs)),
  )
  await Promise.race([Promise.all(running.keys()), patienceEnds])
  clearTimeout(cutOff)
  clearTimeout(hangUp)
  server.closeAllConnections()
  await closed
}

const clientGone = () =>
  new OpenSeedError('request_aborted', { message: 'The client closed the connection.' })

const shuttingDown = () => new OpenSeedError('shutting_down', { message: 'openseed is shutting down.' })
