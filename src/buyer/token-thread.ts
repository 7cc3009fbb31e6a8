/** Counts tokens in a thread of its own, started when first needed. Counting is a check, so it may always be left out. */
import { Worker } from 'node:worker_threads'
import { workerEntry } from '../base/assets.ts'
import type { Log } from '../base/log.ts'
import type { Counted, CountOrder } from './recount-thread.ts'

// A buyer that is busier than its counter checks a part of its replies.
const mostWaiting = 32
const answerWithinMs = 60_000

export class TokenThread {
  readonly #log: Log
  readonly #waiting = new Map<number, (counts: number[] | null) => void>()
  #worker: Worker | null = null
  #watchdog: NodeJS.Timeout | undefined
  #lastId = 0
  #isClosed = false

  constructor(log: Log) {
    this.#log = log
  }

  /** Tokens of each text; null when there is too much to count already, or the thread failed. */
  count(texts: readonly string[]): Promise<number[] | null> {
    if (this.#isClosed || this.#waiting.size >= mostWaiting) return Promise.resolve(null)
    const id = (this.#lastId += 1)
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve)
      this.#watchdog ??= setTimeout(() => this.#end(new Error('it did not answer')), answerWithinMs).unref()
      this.#started().postMessage({ id, texts } satisfies CountOrder)
    })
  }

  /** Drops what is still to be counted. */
  async close(): Promise<void> {
    this.#isClosed = true
    const worker = this.#worker
    this.#end(null)
    await worker?.terminate()
  }

  #started(): Worker {
    if (this.#worker !== null) return this.#worker
    const { source, options } = workerEntry('recount')
    const worker = new Worker(source, { ...options, execArgv: [] })
    // What is left to count keeps no process alive.
    worker.unref()
    worker.on('message', ({ id, counts }: Counted) => {
      this.#waiting.get(id)?.(counts)
      this.#waiting.delete(id)
      if (this.#waiting.size > 0) this.#watchdog?.refresh()
      else this.#callOff()
    })
    const failed = (reason: unknown) => {
      if (this.#worker === worker) this.#end(reason)
    }
    worker.on('error', failed)
    worker.on('exit', () => failed(new Error('it ended')))
    this.#worker = worker
    return worker
  }

  /** The next order starts a new thread. */
  #end(reason: unknown): void {
    if (reason !== null) this.#log.warn({ err: reason }, 'the thread that counts tokens failed')
    this.#callOff()
    const worker = this.#worker
    this.#worker = null
    void worker?.terminate()
    for (const resolve of this.#waiting.values()) resolve(null)
    this.#waiting.clear()
  }

  #callOff(): void {
    clearTimeout(this.#watchdog)
    this.#watchdog = undefined
  }
}
