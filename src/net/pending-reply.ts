/** One request on its way: undici's events become a reply or one OpenSeedError. */
import { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { OpenSeedError } from '../base/errors.ts'
import type { ErrorCode } from '../base/error-codes.ts'

export interface SellerRequest {
  method: 'GET' | 'POST'
  path: string
  headers?: Record<string, string>
  body?: Buffer | string | null
  signal: AbortSignal
  /** From the request's start to the reply's head. */
  firstByteTimeoutMs: number
  /** Longest silence inside the reply's body. */
  idleTimeoutMs: number
}

export interface SellerReply {
  status: number
  headers: Record<string, string>
  body: Readable
}

// What ETIMEDOUT says of a connection that stood: no signs of life, and no reset either.
const wentSilent = "the seller's connection went silent."

type Controller = Dispatcher.DispatchController
type Phase = 'connect' | 'head' | 'body'

export class PendingReply implements Dispatcher.DispatchHandler {
  readonly head: Promise<SellerReply>
  readonly #resolve: (reply: SellerReply) => void
  readonly #reject: (error: OpenSeedError) => void
  readonly #seller: string
  readonly #request: SellerRequest
  readonly #connectTimeoutMs: number
  readonly #onAbort = () => this.#fail(abortError(this.#request.signal))
  #phase: Phase = 'connect'
  #controller: Controller | null = null
  #body: ReplyBody | null = null
  #timer: NodeJS.Timeout | undefined
  #settled = false

  constructor(seller: string, request: SellerRequest, connectTimeoutMs: number) {
    const { promise, resolve, reject } = Promise.withResolvers<SellerReply>()
    this.head = promise
    this.#resolve = resolve
    this.#reject = reject
    this.#seller = seller
    this.#request = request
    this.#connectTimeoutMs = connectTimeoutMs
    if (request.signal.aborted) {
      this.#onAbort()
    } else {
      request.signal.addEventListener('abort', this.#onAbort, { once: true })
      this.#expectWithin(connectTimeoutMs)
    }
  }

  /** True once nothing more will come: the reply ended or failed. */
  get settled(): boolean {
    return this.#settled
  }

  onRequestStart(controller: Controller): void {
    if (this.#settled) return controller.abort(abortError(this.#request.signal))
    this.#controller = controller
    this.#phase = 'head'
    this.#expectWithin(this.#request.firstByteTimeoutMs)
  }

  onResponseStart(
    controller: Controller,
    status: number,
    headers: Record<string, string | string[] | undefined>,
  ): void {
    if (status < 200) return
    this.#phase = 'body'
    this.#body = new ReplyBody(
      () => this.#resume(controller),
      (error) => this.#stop(error ?? new Error('the reader stopped')),
    )
    this.#expectWithin(this.#request.idleTimeoutMs)
    this.#resolve({ status, headers: flatHeaders(headers), body: this.#body })
  }

  onResponseData(controller: Controller, chunk: Buffer): void {
    this.#timer?.refresh()
    if (this.#body?.push(chunk)) return
    // The silence that follows is the reader's, not the seller's.
    clearTimeout(this.#timer)
    controller.pause()
  }

  onResponseEnd(): void {
    this.#settle()
    this.#body?.push(null)
  }

  onResponseError(_controller: Controller, error: Error): void {
    this.#fail(this.#explain(error))
  }

  /** What carried it broke before a byte had left: it waits for a connection again. */
  startOver(): void {
    this.#phase = 'connect'
    this.#controller = null
    if (!this.#settled) this.#expectWithin(this.#connectTimeoutMs)
  }

  /** There is no connection, and there will be none. */
  failToConnect(error: unknown): void {
    this.#phase = 'connect'
    this.#fail(this.#explain(error instanceof Error ? error : new Error(String(error))))
  }

  #resume(controller: Controller): void {
    if (this.#settled || !controller.paused) return
    this.#expectWithin(this.#request.idleTimeoutMs)
    controller.resume()
  }

  #expectWithin(ms: number): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => this.#fail(this.#late(ms)), ms)
  }

  #settle(): void {
    this.#settled = true
    clearTimeout(this.#timer)
    this.#request.signal.removeEventListener('abort', this.#onAbort)
  }

  #stop(cause: Error): void {
    if (this.#settled) return
    this.#settle()
    this.#controller?.abort(cause)
  }

  #fail(error: OpenSeedError): void {
    if (this.#settled) return
    this.#stop(error)
    if (this.#body) this.#body.destroy(error)
    else this.#reject(error)
  }

  #error(code: ErrorCode, message: string, cause?: unknown): OpenSeedError {
    const details = { seller: this.#seller, sent: this.#phase !== 'connect' }
    return new OpenSeedError(code, { message, details, cause })
  }

  #late(ms: number): OpenSeedError {
    if (this.#phase === 'connect') {
      return this.#error('seller_unreachable', `${this.#seller} took no connection within ${ms} ms.`)
    }
    const missing = this.#phase === 'head' ? 'an answer' : 'more of its answer'
    return this.#error('seller_timeout', `${this.#seller} did not send ${missing} within ${ms} ms.`)
  }

  #explain(cause: Error): OpenSeedError {
    const code = (cause as NodeJS.ErrnoException).code ?? cause.name
    const seller = this.#seller
    if (this.#phase === 'connect' && cause instanceof OpenSeedError) {
      return new OpenSeedError(cause.code, {
        message: cause.message,
        hint: cause.hint,
        details: { seller, sent: false },
        cause,
      })
    }
    if (this.#phase === 'body') {
      const why = code === 'ETIMEDOUT' ? `: ${wentSilent}` : ` (${code}).`
      return this.#error('seller_stream_broken', `${seller} broke off its answer${why}`, cause)
    }
    if (code === 'UND_ERR_HEADERS_OVERFLOW') {
      return this.#error('seller_failed', `${seller} sent response headers over 32 KiB.`, cause)
    }
    if (cause.name === 'HTTPParserError') {
      return this.#error('seller_failed', `${seller} does not speak HTTP (${code}).`, cause)
    }
    if (this.#phase === 'head' && code === 'ETIMEDOUT') {
      return this.#error('seller_unreachable', `${seller} did not answer: ${wentSilent}`, cause)
    }
    const what = this.#phase === 'connect' ? 'cannot be reached' : 'closed the connection without an answer'
    return this.#error('seller_unreachable', `${seller} ${what} (${code}).`, cause)
  }
}

class ReplyBody extends Readable {
  readonly #wantMore: () => void
  readonly #onDestroy: (error: Error | null) => void

  constructor(wantMore: () => void, onDestroy: (error: Error | null) => void) {
    super()
    // It may break before whoever asked has begun to read; the reader meets the error then.
    this.on('error', () => {})
    this.#wantMore = wantMore
    this.#onDestroy = onDestroy
  }

  override _read(): void {
    this.#wantMore()
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#onDestroy(error)
    callback(error)
  }
}

function flatHeaders(headers: Record<string, string | string[] | undefined>): Record<string, string> {
  const flat: Record<string, string> = Object.create(null)
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined) flat[name] = Array.isArray(value) ? value.join(', ') : value
  }
  return flat
}

function abortError(signal: AbortSignal): OpenSeedError {
  const reason: unknown = signal.reason
  if (reason instanceof OpenSeedError) return reason
  return new OpenSeedError('request_aborted', { message: 'The request was called off.', cause: reason })
}
