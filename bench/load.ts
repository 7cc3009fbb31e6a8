/** The client: as little as possible on top of undici's parser, in the bench's own process. */
import { Pool, type Dispatcher } from 'undici'
import type { Load } from './requests.ts'

export interface Answer {
  latencyMs: number
  /** to the first byte of the body */
  ttftMs: number
}

export interface Sample {
  answers: Answer[]
  elapsedMs: number
}

export interface Window {
  url: string
  load: Load
  concurrency: number
  /** Started within it is finished after it. */
  durationMs: number
  /** Sent on each connection before anything counts. */
  rampRequests?: number
  /** Called when the connections are open and warm, and when the last answer is there. */
  mark: () => Promise<void>
}

const answerTimeoutMs = 30_000
/** Keeps `concurrency` requests running for a while. Throws when one is not answered as it must be. */
export async function runWindow(window: Window): Promise<Sample> {
  const { url, load, concurrency, durationMs, rampRequests = 2, mark } = window
  await using cleanup = new AsyncDisposableStack()
  const pool = new Pool(url, {
    connections: concurrency,
    pipelining: 1,
    headersTimeout: answerTimeoutMs,
    bodyTimeout: answerTimeoutMs,
  })
  cleanup.defer(() => pool.close())
  const lanes = Array.from({ length: concurrency })
  const runLanes = (lane: () => Promise<void>) => Promise.all(lanes.map(lane))
  await runLanes(async () => {
    for (let sent = 0; sent < rampRequests; sent++) await ask(pool, load)
  })
  await mark()
  const answers: Answer[] = []
  const startedAtMs = performance.now()
  await runLanes(async () => {
    do answers.push(await ask(pool, load))
    while (performance.now() < startedAtMs + durationMs)
  })
  const elapsedMs = performance.now() - startedAtMs
  await mark()
  return { answers, elapsedMs }
}

const headers = { 'content-type': 'application/json', authorization: 'Bearer bench' }

function ask(pool: Pool, { body, events, name }: Load): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const startedAtMs = performance.now()
    const reader = new EventCounter()
    let status = 0
    let firstByteAtMs = 0
    let start: Buffer | undefined
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart: () => undefined,
      onResponseStart: (_controller, statusCode) => void (status = statusCode),
      onResponseData(_controller, bytes) {
        firstByteAtMs ||= performance.now()
        start ??= bytes
        if (events !== null) reader.push(bytes)
      },
      onResponseEnd() {
        if (status !== 200 || (events !== null && reader.count !== events)) {
          reject(
            new Error(
              `${name}: status ${status}, ${reader.count} events, ${start?.toString().slice(0, 500)}`,
            ),
          )
          return
        }
        resolve({ latencyMs: performance.now() - startedAtMs, ttftMs: firstByteAtMs - startedAtMs })
      },
      onResponseError: (_controller, error) => reject(error),
    }
    pool.dispatch({ method: 'POST', path: '/v1/chat/completions', headers, body }, handler)
  })
}

/** Counts the empty lines that end events, those that two chunks share among them. */
class EventCounter {
  count = 0
  #endsWithNewline = false

  push(bytes: Buffer): void {
    if (this.#endsWithNewline && bytes[0] === 10) this.count += 1
    let at = this.#endsWithNewline && bytes[0] === 10 ? 1 : 0
    while ((at = bytes.indexOf('\n\n', at)) >= 0) {
      this.count += 1
      at += 2
    }
    this.#endsWithNewline = bytes.at(-1) === 10 && (bytes.length < 2 || bytes.at(-2) !== 10)
  }
}
