import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { workerEntry } from '../base/assets.ts'
import { OpenSeedError } from '../base/errors.ts'
import { fromPlainError, unavailable } from './faults.ts'
import type { Call, Reply } from './group.ts'
import type { SchemaName } from './migrate.ts'
import type { Operations, OperationsOf, ParamsOf, ResultOf } from './operations.ts'
import type { FromWriter, ToWriter, WriterStart } from './writer-thread.ts'

export interface WriterOptions<Schema extends SchemaName> {
  path: string
  schema: Schema
  /** The thread died by itself. Nothing can be stored any more; the role should stop. */
  onFatal: (error: OpenSeedError) => void
}

interface Waiter {
  resolve: (value: unknown) => void
  reject: (error: OpenSeedError) => void
}

/** Starts the thread that owns a database, and waits until it is open and of the newest schema. */
export async function openWriter<Schema extends SchemaName>(
  options: WriterOptions<Schema>,
): Promise<Writer<OperationsOf[Schema]>> {
  const entry = workerEntry('writer')
  const workerData: WriterStart = { path: options.path, schema: options.schema }
  // Flags of the main script, such as --input-type, would keep the thread from starting.
  const worker = new Worker(entry.source, { ...entry.options, execArgv: [], workerData })
  const [first] = (await Promise.race([once(worker, 'message'), once(worker, 'exit')])) as [
    FromWriter | number,
  ]
  if (typeof first === 'number') throw unavailable(new Error('the writer thread did not start'))
  if (first.kind === 'failed') throw fromPlainError(first.error)
  return new Writer(worker, options.onFatal)
}

// A disk that hangs this long leaves outcomes unknown: the role must stop, and finds the truth when it starts again.
const patienceMs = 30_000

/** The main thread's end of a database: a promise resolves only after the commit it stands for is on disk. */
export class Writer<Ops extends Operations> {
  readonly #worker: Worker
  readonly #onFatal: (error: OpenSeedError) => void
  readonly #waiters = new Map<number, Waiter>()
  readonly #stats = { groups: 0, ops: 0 }
  #unsent: Call[] = []
  #watchdog: NodeJS.Timeout | undefined
  #lastId = 0
  #ended: OpenSeedError | null = null
  #closing: Promise<void> | null = null

  constructor(worker: Worker, onFatal: (error: OpenSeedError) => void) {
    this.#worker = worker
    this.#onFatal = onFatal
    worker.on('message', (message: FromWriter) => this.#settle(message))
    worker.on('error', (thrown) => this.#end(unavailable(thrown)))
    worker.on('exit', () => this.#end(unavailable(new Error('the writer thread ended'))))
  }

  /** Runs one write; it resolves after the commit of its group and rejects when it, or the group, was undone. */
  run<Name extends keyof Ops['writes'] & string>(
    name: Name,
    ...[params]: ParamsOf<Ops['writes'][Name]>
  ): Promise<ResultOf<Ops['writes'][Name]>> {
    return this.#call('write', name, params) as Promise<ResultOf<Ops['writes'][Name]>>
  }

  /** Runs one query; it sees every write that was called before it. */
  read<Name extends keyof Ops['reads'] & string>(
    name: Name,
    ...[params]: ParamsOf<Ops['reads'][Name]>
  ): Promise<ResultOf<Ops['reads'][Name]>> {
    return this.#call('read', name, params) as Promise<ResultOf<Ops['reads'][Name]>>
  }

  /** How many operations were answered, in how many groups: each group costs one fsync at most. */
  stats(): { groups: number; ops: number } {
    return { ...this.#stats }
  }

  /** Commits what was called before and closes the database. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  #call(kind: Call['kind'], name: string, params: unknown): Promise<unknown> {
    const refusal = this.#ended ?? (this.#closing && closed())
    if (refusal) return Promise.reject(refusal)
    // Calls of one turn share a message; the thread takes them as one group.
    if (this.#unsent.length === 0) queueMicrotask(() => this.#send())
    const id = (this.#lastId += 1)
    this.#unsent.push({ id, kind, name, params })
    return new Promise((resolve, reject) => this.#waiters.set(id, { resolve, reject }))
  }

  #send(): void {
    const calls = this.#unsent
    this.#unsent = []
    if (calls.length === 0) return
    this.#worker.postMessage(calls satisfies ToWriter)
    this.#watchdog ??= setTimeout(() => this.#giveUp(), patienceMs)
  }

  #settle(message: FromWriter): void {
    if (message.kind !== 'replies') return
    this.#stats.groups += 1
    this.#stats.ops += message.replies.length
    for (const reply of message.replies) this.#answer(reply)
    if (this.#waiters.size > 0) this.#watchdog?.refresh()
    else this.#callOff()
  }

  #answer(reply: Reply): void {
    const waiter = this.#waiters.get(reply.id)
    this.#waiters.delete(reply.id)
    if ('error' in reply) waiter?.reject(fromPlainError(reply.error))
    else waiter?.resolve(reply.value)
  }

  async #close(): Promise<void> {
    if (this.#ended) return
    const exit = once(this.#worker, 'exit')
    this.#send()
    this.#worker.postMessage('close' satisfies ToWriter)
    await exit
  }

  #giveUp(): void {
    this.#end(unavailable(new Error(`the disk did not answer for ${patienceMs / 1000} seconds`)))
    void this.#worker.terminate()
  }

  #callOff(): void {
    clearTimeout(this.#watchdog)
    this.#watchdog = undefined
  }

  #end(error: OpenSeedError): void {
    if (this.#ended) return
    this.#callOff()
    this.#ended = this.#closing ? closed() : error
    for (const waiter of this.#waiters.values()) waiter.reject(error)
    this.#waiters.clear()
    if (!this.#closing) this.#onFatal(error)
  }
}

function closed(): OpenSeedError {
  return new OpenSeedError('shutting_down', { message: 'The store is closed.' })
}
