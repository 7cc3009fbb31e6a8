/** Connections to a seller that is met by its peer id: each knows which way it took, and what the seller is called there. */
import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { Client, type Dispatcher } from 'undici'
import { OpenSeedError } from '../base/errors.ts'
import type { PendingReply } from './pending-reply.ts'

/** The way to a seller: to its URL, or to its peer, straight or through a relay. */
export type SellerPath = 'url' | 'direct' | 'relayed'

export interface SellerSocket {
  /** `bytesWritten` counts what it took to send, so that a request that never left can be told. */
  socket: Duplex & { readonly bytesWritten: number }
  path: SellerPath
  /** Of the path `url`: the seller's URL, whose path goes before every request's. */
  base?: string
}

export type DialSeller = (signal: AbortSignal) => Promise<SellerSocket>

export interface SellerLinesOptions {
  dial: DialSeller
  /** What a peer is called in the Host header. */
  host: string
  connectTimeoutMs: number
  client: Client.Options
}

type Controller = Dispatcher.DispatchController

interface Line {
  client: Client
  socket: SellerSocket['socket']
  path: SellerPath
  /** What goes before every path. */
  prefix: string
  /** Has carried a request. */
  isUsed: boolean
  /** Takes no further requests. */
  isOld: boolean
}

export interface LineRequest {
  method: 'GET' | 'POST'
  path: string
  headers: Record<string, string>
  body: Buffer | string | null
}

/** One request at a time on each connection; a new one is dialled when all are busy. */
export class SellerLines {
  readonly #options: SellerLinesOptions
  readonly #lines = new Set<Line>()
  readonly #idle = new Set<Line>()
  readonly #closed = new AbortController()
  #path: SellerPath | null = null
  #retired = 0

  constructor(options: SellerLinesOptions) {
    this.#options = options
  }

  /** The way the last request took. */
  get path(): SellerPath | null {
    return this.#path
  }

  dispatch(request: LineRequest, reply: PendingReply): void {
    const line = [...this.#idle].at(-1)
    if (line === undefined) void this.#dispatchAnew(request, reply)
    else this.#send(line, request, reply)
  }

  /** New requests get new connections; what runs ends undisturbed on its own. */
  retire(): void {
    this.#retired += 1
    for (const line of this.#lines) line.isOld = true
    for (const line of this.#idle) this.#drop(line)
  }

  async close(): Promise<void> {
    this.#closed.abort(new OpenSeedError('request_aborted', { message: 'The connections were closed.' }))
    this.#idle.clear()
    await Promise.all([...this.#lines].map(({ client }) => client.destroy()))
  }

  async #dispatchAnew(request: LineRequest, reply: PendingReply): Promise<void> {
    const retired = this.#retired
    const { signal } = this.#closed
    try {
      const late = AbortSignal.timeout(this.#options.connectTimeoutMs)
      const opened = await this.#options.dial(AbortSignal.any([signal, late]))
      if (signal.aborted) opened.socket.destroy()
      signal.throwIfAborted()
      const line = this.#add(opened, retired !== this.#retired)
      if (reply.settled) this.#rest(line)
      else this.#send(line, request, reply)
    } catch (error) {
      reply.failToConnect(error)
    }
  }

  #add({ socket, path, base }: SellerSocket, isOld: boolean): Line {
    const { origin, pathname } = new URL(base ?? 'http://peer.openseed')
    let unused: SellerSocket['socket'] | null = socket
    const client = new Client(origin, {
      ...this.#options.client,
      connect: (_options, done) => {
        const found = unused
        unused = null
        // undici does not expect its answer in the same turn, and needs no more of a socket than ours have.
        queueMicrotask(() => {
          if (found === null) done(new Error('the connection has ended'), null)
          else done(null, found as unknown as Socket)
        })
      },
    })
    const line = { client, socket, path, prefix: pathname.replace(/\/$/, ''), isUsed: false, isOld }
    socket.once('close', () => this.#drop(line))
    client.on('drain', () => this.#rest(line))
    this.#lines.add(line)
    return line
  }

  #send(line: Line, request: LineRequest, reply: PendingReply): void {
    this.#idle.delete(line)
    this.#path = line.path
    const { host } = this.#options
    const headers = line.path === 'url' ? request.headers : { ...request.headers, host }
    const { bytesWritten } = line.socket
    const turn = new Turn(reply, {
      hasSent: () => line.socket.bytesWritten !== bytesWritten,
      // A connection that lay idle may have ended unnoticed; a new one that fails is a failure.
      again: line.isUsed ? () => void this.#dispatchAnew(request, reply) : null,
    })
    line.isUsed = true
    line.client.dispatch({ ...request, headers, path: line.prefix + request.path }, turn)
  }

  #rest(line: Line): void {
    if (!this.#lines.has(line)) return
    if (line.isOld) this.#drop(line)
    else this.#idle.add(line)
  }

  #drop(line: Line): void {
    this.#idle.delete(line)
    if (!this.#lines.delete(line)) return
    // What the closed socket still means to a request comes out first.
    setImmediate(() => void line.client.destroy())
  }
}

interface Attempt {
  hasSent: () => boolean
  again: (() => void) | null
}

/** One request on one connection. When that breaks before a byte has left, the request is as good as new. */
class Turn implements Dispatcher.DispatchHandler {
  readonly #reply: PendingReply
  readonly #attempt: Attempt

  constructor(reply: PendingReply, attempt: Attempt) {
    this.#reply = reply
    this.#attempt = attempt
  }

  onRequestStart(controller: Controller): void {
    this.#reply.onRequestStart(controller)
  }

  onResponseStart(
    controller: Controller,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    this.#reply.onResponseStart(controller, status, headers)
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    this.#reply.onResponseData(controller, chunk)
  }

  onResponseEnd(): void {
    this.#reply.onResponseEnd()
  }

  onResponseError(controller: Controller, error: Error): void {
    const { hasSent, again } = this.#attempt
    if (this.#reply.settled || hasSent()) return this.#reply.onResponseError(controller, error)
    if (again === null) return this.#reply.failToConnect(error)
    this.#reply.startOver()
    again()
  }
}
