/** One HTTP call to the engine: undici's callbacks on one side, a promise and a Node stream on the other. */
import type { IncomingHttpHeaders } from 'node:http'
import { Readable } from 'node:stream'
import type { Dispatcher } from 'undici'
import { OpenSeedError } from '../base/errors.ts'

export interface EngineReply {
  status: number
  headers: IncomingHttpHeaders
  /** Destroying it closes the connection to the engine at once. */
  body: Readable
}

export interface CallDeadlines {
  firstByteTimeoutMs: number
  idleTimeoutMs: number
}

export class EngineCall implements Dispatcher.DispatchHandler {
  readonly reply: Promise<EngineReply>
  readonly #settle: PromiseWithResolvers<EngineReply>
  readonly #deadlines: CallDeadlines
  readonly #signal: AbortSignal
  readonly #onAbort = (): void => this.#stop(asError(this.#signal.reason))
  #controller: Dispatcher.DispatchController | null = null
  #body: Readable | null = null
  #timer: NodeJS.Timeout
  #answering = false
  #over = false
  #stopped: Error | null = null

  constructor(deadlines: CallDeadlines, signal: AbortSignal) {
    this.#deadlines = deadlines
    this.#signal = signal
    this.#settle = Promise.withResolvers()
    this.reply = this.#settle.promise
    this.#timer = setTimeout(
      () => this.#stop(tooSlow('first-byte', deadlines.firstByteTimeoutMs)),
      deadlines.firstByteTimeoutMs,
    )
    signal.addEventListener('abort', this.#onAbort, { once: true })
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller
    // Aborted while the connection was being made: the engine never sees the request.
    if (this.#stopped !== null) controller.abort(this.#stopped)
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: IncomingHttpHeaders,
  ): void {
    if (status < 200) return
    const body = new Readable({
      read: () => {
        if (!controller.paused) return
        controller.resume()
        this.#timer.refresh()
      },
      destroy: (error, done) => {
        if (!this.#over) this.#stop(error ?? new Error('the reader left'))
        done(error)
      },
    })
    // The reader may still be writing to its disk when the engine dies; it finds the error when it reads.
    body.on('error', () => {})
    this.#body = body
    this.#settle.resolve({ status, headers, body })
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    if (this.#answering) this.#timer.refresh()
    else this.#watchIdle(controller)
    if (this.#body?.push(chunk) === false) controller.pause()
  }

  onResponseEnd(): void {
    this.#finish()
    this.#body?.push(null)
  }

  onResponseError(_controller: Dispatcher.DispatchController, error: Error): void {
    if (this.#over) return
    this.#fail(this.#explain(error))
  }

  /** The deadline between chunks starts with the first: a long prompt may be read in silence before it. */
  #watchIdle(controller: Dispatcher.DispatchController): void {
    this.#answering = true
    clearTimeout(this.#timer)
    const { idleTimeoutMs } = this.#deadlines
    this.#timer = setTimeout(() => {
      // Waiting for a slow reader is not the engine's silence.
      if (controller.paused) this.#timer.refresh()
      else this.#stop(tooSlow('between-chunks', idleTimeoutMs))
    }, idleTimeoutMs)
  }

  #stop(reason: Error): void {
    if (this.#over) return
    this.#stopped = reason
    this.#fail(reason)
    this.#controller?.abort(reason)
  }

  #fail(error: Error): void {
    this.#finish()
    if (this.#body === null) this.#settle.reject(error)
    else this.#body.destroy(error)
  }

  #finish(): void {
    this.#over = true
    clearTimeout(this.#timer)
    this.#signal.removeEventListener('abort', this.#onAbort)
  }

  // No address in these messages: they travel to the buyer.
  #explain(cause: Error): OpenSeedError {
    if (this.#body !== null) {
      return new OpenSeedError('engine_stream_broken', {
        message: 'The engine closed the connection in the middle of its answer.',
        cause,
      })
    }
    if (this.#controller !== null) {
      return new OpenSeedError('engine_failed', {
        message: 'The engine closed the connection without an answer.',
        cause,
      })
    }
    return new OpenSeedError('engine_unavailable', {
      message: 'No connection to the engine could be made.',
      cause,
    })
  }
}

function tooSlow(phase: 'first-byte' | 'between-chunks', afterMs: number): OpenSeedError {
  const what = phase === 'first-byte' ? 'did not begin its answer' : 'went silent in the middle of its answer'
  return new OpenSeedError('engine_timeout', {
    message: `The engine ${what} for ${afterMs} ms.`,
    details: { phase, afterMs },
  })
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error('aborted', { cause: reason })
}
