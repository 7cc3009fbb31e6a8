/** The seller's HTTP side: routes, limits, error replies. The story of a paid request is `serve.ts`. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { asOpenSeedError, OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { readRequestBody, sendBytes, sendJson } from '../net/http-json.ts'
import { listenOn } from '../net/listen-on.ts'
import { parseChatRequest, parseJsonBody } from '../wire/chat.ts'
import { errorReply } from '../wire/openai-error.ts'
import { towerPairPath, towerUpdatesPath } from '../wire/tower.ts'
import { paymentSignatureHeader } from '../wire/x402.ts'
import { catalogPath } from './announcement.ts'

export interface SellerRoutes {
  /** answers the request itself; throws only before it sent anything */
  chat: (call: ChatCall, response: ServerResponse, signal: AbortSignal) => Promise<void>
  /** GET on the paid route: a 402 with terms, or a refund */
  probe: (payment: string | undefined, url: string, response: ServerResponse) => Promise<void>
  models: () => unknown
  offer: () => unknown
  /** the document that a record too small for all models names by its hash, as text */
  catalog: () => string
  status: (body: unknown) => Promise<unknown>
  /** record, binding and heartbeat as registries list them, as text; null when this seller is not announced */
  record: () => Promise<string | null>
  pairTower: (body: unknown) => Promise<unknown>
  /** waits for news */
  towerUpdates: (
    call: { authorization: string | undefined; since: string | null },
    signal: AbortSignal,
  ) => Promise<unknown>
}

export interface ChatCall {
  chat: ReturnType<typeof parseChatRequest>
  body: Buffer
  payment: string | undefined
  url: string
  wantsTrailers: boolean
}

export interface SellerServer extends AsyncDisposable {
  url: string
  port: number
  /** Serves a connection that came another way than by the port. */
  accept: (socket: Duplex) => void
  /** Stops accepting, waits for running requests, cuts them after `graceMs`. */
  close: (graceMs: number) => Promise<void>
}

export interface SellerServerOptions {
  host: string
  port: number
  maxBodyBytes: number
  routes: SellerRoutes
  log: Log
}

// Stock clients echo the 402 in PAYMENT-SIGNATURE, so headers outgrow Node's 16 KiB.
const maxHeaderSize = 32 * 1024
const mostStatusBytes = 256 * 1024
const mostPairBytes = 4 * 1024
// Longer than buyers keep theirs, so that none is closed under a request that is on its way.
const keepAliveTimeout = 65_000

export async function openSellerServer(options: SellerServerOptions): Promise<SellerServer> {
  const running = new Set<AbortController>()
  const accepted = new Set<Duplex>()
  let isClosing = false
  const server = createServer(
    {
      maxHeaderSize,
      keepAliveTimeout,
      noDelay: true,
      headersTimeout: 20_000,
      requestTimeout: 60_000,
      connectionsCheckingInterval: 5_000,
    },
    (request, response) => {
      const stop = new AbortController()
      running.add(stop)
      response.on('close', () => {
        running.delete(stop)
        // Whoever keeps its connection would keep us from closing.
        if (isClosing) setImmediate(() => server.closeIdleConnections())
        // Finished replies close as well.
        if (response.writableFinished) return
        stop.abort(new OpenSeedError('request_aborted', { message: 'The client went away.' }))
      })
      answer(request, response, options, stop.signal).catch((error: unknown) => {
        sendError(error, response, options.log)
      })
    },
  )
  await listenOn(server, options.host, options.port)
  const { port } = server.address() as AddressInfo
  const close = (graceMs: number) => {
    isClosing = true
    return closeServer(server, { running, accepted }, graceMs)
  }
  return {
    url: `http://${options.host.includes(':') ? `[${options.host}]` : options.host}:${port}`,
    port,
    accept(socket) {
      if (isClosing) {
        socket.destroy()
        return
      }
      accepted.add(socket)
      socket.once('close', () => accepted.delete(socket))
      server.emit('connection', socket)
    },
    close,
    [Symbol.asyncDispose]: () => close(0),
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  { routes, maxBodyBytes }: SellerServerOptions,
  signal: AbortSignal,
): Promise<void> {
  const [path, query] = (request.url ?? '/').split('?', 2)
  const route = `${request.method} ${path}`
  const url = `http://${request.headers.host ?? 'localhost'}${path}`
  const header = request.headers[paymentSignatureHeader]
  const payment = Array.isArray(header) ? header[0] : header
  switch (route) {
    case 'POST /v1/chat/completions': {
      const body = await readRequestBody(request, maxBodyBytes)
      const chat = parseChatRequest(parseJsonBody(body))
      const wantsTrailers = /\btrailers\b/i.test(String(request.headers.te ?? ''))
      return routes.chat({ chat, body, payment, url, wantsTrailers }, response, signal)
    }
    case 'GET /v1/chat/completions':
      return routes.probe(payment, url, response)
    case 'POST /openseed/v1/status':
      return sendJson(
        response,
        200,
        await routes.status(parseJsonBody(await readRequestBody(request, mostStatusBytes))),
      )
    case 'GET /v1/models':
      return sendJson(response, 200, routes.models())
    case 'GET /openseed/v1/offer':
      return sendJson(response, 200, routes.offer())
    case `GET ${catalogPath}`:
      return sendBytes(response, 200, Buffer.from(routes.catalog()), { 'content-type': 'application/json' })
    case 'GET /openseed/v1/record': {
      const text = await routes.record()
      if (text === null)
        throw new OpenSeedError('not_found', { message: 'This seller is not announced anywhere.' })
      return sendBytes(response, 200, Buffer.from(text), { 'content-type': 'application/json' })
    }
    case `POST ${towerPairPath}`: {
      const body = await readRequestBody(request, mostPairBytes)
      return sendJson(response, 200, await routes.pairTower(parseJsonBody(body)))
    }
    case `GET ${towerUpdatesPath}`: {
      const since = new URLSearchParams(query).get('since')
      const { authorization } = request.headers
      return sendJson(response, 200, await routes.towerUpdates({ authorization, since }, signal))
    }
    case 'GET /healthz':
      return sendJson(response, 200, { status: 'ok' })
    default:
      throw new OpenSeedError('not_found', {
        message: `There is no ${route.slice(0, 200)} here.`,
        hint: 'Paid: POST /v1/chat/completions. Free: GET /v1/models, /openseed/v1/offer, /healthz.',
      })
  }
}

function sendError(thrown: unknown, response: ServerResponse, log: Log): void {
  const error = asOpenSeedError(thrown)
  if (error.code === 'internal_error') log.error({ error }, 'a request failed by a bug')
  else if (error.meaning.status >= 500) log.warn({ error }, 'a request failed')
  if (response.headersSent) {
    response.destroy()
    return
  }
  const { status, headers, body } = errorReply(forStrangers(error))
  sendJson(response, status, { ...body, ...receiptOf(error) }, headers)
}

/** Which RPC this seller asks, and how its disk is, is nobody's business. */
function forStrangers(error: OpenSeedError): OpenSeedError {
  // This one names no RPC, and says what to do.
  if (error.code === 'chain_stale' || !/^(chain|store)_/.test(error.code)) return error
  return new OpenSeedError(error.code, { message: error.meaning.meaning })
}

/** A repeated request gets its receipt with the refusal. */
function receiptOf(error: OpenSeedError): { receipt?: unknown } {
  const receipt = error.details?.['receipt']
  return receipt === undefined ? {} : { receipt }
}

async function closeServer(
  server: Server,
  { running, accepted }: { running: ReadonlySet<AbortController>; accepted: ReadonlySet<Duplex> },
  graceMs: number,
): Promise<void> {
  // The server only knows of connections to its port.
  const closed = [...accepted].map((socket) => new Promise<void>((resolve) => socket.once('close', resolve)))
  closed.push(new Promise<void>((resolve) => server.close(() => resolve())))
  server.closeIdleConnections()
  const cut = setTimeout(() => {
    for (const stop of running)
      stop.abort(new OpenSeedError('shutting_down', { message: 'The seller is stopping.' }))
    server.closeAllConnections()
  }, graceMs)
  await Promise.all(closed)
  clearTimeout(cut)
}
