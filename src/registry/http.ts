/** The registry's HTTP side: limits before work, one route per question, errors that explain themselves. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { asOpenSeedError, OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { readRequestBody, sendBytes, sendJson } from '../net/http-json.ts'
import { listenOn } from '../net/listen-on.ts'
import { errorReply } from '../wire/openai-error.ts'
import { capConnections } from './cap-connections.ts'
import { networkOf, type Allowance, type RateLimit } from './rate-limit.ts'
import type { Ask, Reply, Route, Routes } from './routes.ts'
import { Unsent } from './unsent.ts'

export interface RegistryServerOptions {
  host: string
  port: number
  routes: Routes
  rateLimit: RateLimit
  /** Behind a proxy: the last address it wrote into X-Forwarded-For is the client's. */
  trustForwarded: boolean
  log: Log
  /** How long a connection may stand still, be it that nobody reads what is sent; longer than anybody may wait for news. */
  stillMs?: number
}

export interface RegistryServer extends AsyncDisposable {
  url: string
  port: number
}

const maxHeaderSize = 8 * 1024
const mostConnections = 8_192
const mostOfNetwork = 1_024
const graceMs = 1_000
const usualStillMs = 40_000
// Of a body, for one token more: parsing 4 MiB of brackets takes most of a second.
const bytesOfToken = 32 * 1_024

/** Listens at once. Throws `port_in_use`. */
export async function openRegistryServer(options: RegistryServerOptions): Promise<RegistryServer> {
  const { host, log, stillMs = usualStillMs } = options
  const stopping = new AbortController()
  const unsent = new Unsent()
  const server = createServer(
    {
      maxHeaderSize,
      noDelay: true,
      headersTimeout: 5_000,
      requestTimeout: 10_000,
      // Otherwise Node looks after both only every half minute.
      connectionsCheckingInterval: 1_000,
    },
    (request, response) => {
      answer(request, response, options, unsent, stopping.signal).catch((thrown: unknown) =>
        sendError(thrown, response, log),
      )
    },
  )
  server.maxConnections = mostConnections
  // Behind a proxy all connections are the proxy's.
  if (!options.trustForwarded) capConnections(server, mostOfNetwork)
  server.timeout = stillMs
  // One for each answer that waits for those before it.
  server.on('connection', (socket) => socket.setMaxListeners(0))
  await listenOn(server, host, options.port)
  const { port } = server.address() as AddressInfo
  return {
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    port,
    async [Symbol.asyncDispose]() {
      stopping.abort()
      await closeServer(server)
    },
  }
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  options: RegistryServerOptions,
  unsent: Unsent,
  stopping: AbortSignal,
): Promise<void> {
  const { routes, rateLimit } = options
  const target = request.url ?? '/'
  const [path = '/'] = target.split('?', 1)
  // The same without its body: Node leaves that out.
  const method = request.method === 'HEAD' ? 'GET' : (request.method ?? 'GET')
  if (path === '/healthz' && method === 'GET') return sendJson(response, 200, { status: 'ok' })

  const address = addressOf(request, options.trustForwarded)
  const caller = networkOf(address)
  const allowance = rateLimit.take(address, 1)
  setRateHeaders(response, allowance)
  if (!allowance.ok) throw tooMany(`Too many requests from ${caller}.`, allowance.retryAfterSec)
  if (unsent.isFull(caller)) throw tooMany(`${caller} has not read what it asked for.`, 1)
  const charge = (cost: number) => setRateHeaders(response, rateLimit.owe(address, cost))

  const gone = new AbortController()
  response.on('close', () => gone.abort())
  const ask: Ask = {
    params: new URLSearchParams(target.slice(path.length)),
    ifNoneMatch: request.headers['if-none-match'],
    signal: AbortSignal.any([gone.signal, stopping]),
    readJson: async (maxBytes) => {
      // Before it is read: bodies that come at the same time would all be read before the first one is paid for.
      const announced = Number(request.headers['content-length'] ?? maxBytes)
      charge(Math.floor(Math.min(announced, maxBytes) / bytesOfToken))
      return parseJson(await readRequestBody(request, maxBytes))
    },
    charge,
  }
  const route = find(method, path, routes)
  if (typeof route !== 'function') {
    if (route.allowed.length > 0) response.setHeader('allow', route.allowed.join(', '))
    throw noRoute(`${request.method} ${path.slice(0, 200)}`, route.allowed)
  }
  const reply = await route(ask)
  const body = Buffer.from(reply.text)
  unsent.add(caller, body.length, response)
  send(response, reply, body)
}

function find(method: string, path: string, { fixed, seller }: Routes): Route | { allowed: string[] } {
  const route = fixed.get(`${method} ${path}`)
  if (route !== undefined) return route
  const peer = /^\/v1\/sellers\/([^/]{1,64})$/.exec(path)?.[1]
  if (peer !== undefined && method === 'GET') return () => seller(peer)
  const known = [...fixed.keys()]
    .filter((name) => name.endsWith(` ${path}`))
    .map((name) => name.split(' ', 1)[0]!)
  const methods = peer !== undefined || path === '/healthz' ? ['GET'] : known
  return { allowed: methods.flatMap((one) => (one === 'GET' ? ['GET', 'HEAD'] : [one])).toSorted() }
}

function noRoute(name: string, allowed: readonly string[]): OpenSeedError {
  return new OpenSeedError(allowed.length > 0 ? 'method_not_allowed' : 'not_found', {
    message: `There is no ${name} here.`,
    hint: 'GET /v1/sellers, /v1/models, /v1/stats, /v1/index, /v1/deltas; POST /v1/sellers, /v1/heartbeats, /v1/deltas.',
  })
}

function send(response: ServerResponse, { status, headers = {} }: Reply, body: Buffer): void {
  if (status === 304) {
    if (!response.destroyed) response.writeHead(status, headers).end()
    return
  }
  sendBytes(response, status, body, { ...headers, 'content-type': 'application/json' })
}

function sendError(thrown: unknown, response: ServerResponse, log: Log): void {
  const error = asOpenSeedError(thrown)
  if (error.code === 'internal_error') log.error({ err: error }, 'a request failed by a bug')
  if (response.headersSent) {
    response.destroy()
    return
  }
  const { status, headers, body } = errorReply(error)
  sendJson(response, status, body, headers)
}

function setRateHeaders(response: ServerResponse, { limit, remaining, resetSec }: Allowance): void {
  response.setHeader('ratelimit-limit', limit)
  response.setHeader('ratelimit-remaining', remaining)
  response.setHeader('ratelimit-reset', resetSec)
}

function addressOf(request: IncomingMessage, trustForwarded: boolean): string {
  const forwarded = trustForwarded ? request.headers['x-forwarded-for'] : undefined
  // What stands before was written by the client itself.
  const last = String(forwarded ?? '')
    .split(',')
    .at(-1)
    ?.trim()
  return last || (request.socket.remoteAddress ?? '')
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'))
  } catch (cause) {
    throw new OpenSeedError('invalid_json', { message: 'The body is not JSON.', cause })
  }
}

function tooMany(message: string, retryAfterSec: number): OpenSeedError {
  return new OpenSeedError('rate_limit_exceeded', { message, details: { retryAfterSec } })
}

async function closeServer(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeIdleConnections()
  const cut = setTimeout(() => server.closeAllConnections(), graceMs)
  await closed
  clearTimeout(cut)
}
