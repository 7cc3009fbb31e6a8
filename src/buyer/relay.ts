/** Seller's stream -> client's stream: every event as it came, without the receipt; and what passed, for the check. */
import { finished, Transform, type Readable, type TransformCallback } from 'node:stream'
import { asOpenSeedError, OpenSeedError } from '../base/errors.ts'
import type { Hex } from '../wire/hex.ts'
import { createKeccak } from '../wire/keccak.ts'
import { SseSplitter, type SseEvent } from '../wire/sse.ts'
import { parseSettlementResponse, paymentResponseComment, type SettlementResponse } from '../wire/x402.ts'
import { nothingObserved, observe, type ObservedOutput } from './observed.ts'
import { errorEvent } from '../wire/openai-error.ts'

export interface RelayFacts {
  /** keccak256 of all bytes before the receipt's comment; of all that came when there was none. */
  responseHash: Hex
  output: ObservedOutput
  /** The receipt's comment arrived, and with it every byte that it covers. */
  receiptSeen: boolean
  /** What the comment holds; null when none came or it was unreadable. */
  settlement: SettlementResponse | null
  /** How the seller closed the stream: by [DONE], by an error event, or not in form (null). */
  ended: 'done' | 'error' | null
  /** What broke the stream, or made the receipt unreadable. Null too when the client left first. */
  failure: OpenSeedError | null
}

/**
 * `body` is for the client: whole events only. When the seller's stream breaks or stops without an end mark, the
 * last of them is an error event, after all that was delivered. Destroying it closes the seller's connection.
 * `facts` come when it is over and never reject.
 */
export function relay(
  source: Readable,
  output = nothingObserved(),
): { body: Readable; facts: Promise<RelayFacts> } {
  const stage = new RelayStage(output, () => source.unpipe(stage).destroy())
  const facts = new Promise<RelayFacts>((resolve) => {
    stage.on('close', () => {
      resolve(stage.facts())
      source.destroy()
    })
  })
  finished(source, { writable: false }, (error) => {
    if (error) stage.sourceFailed(error instanceof OpenSeedError ? error : cutShort(error))
  })
  source.pipe(stage)
  return { body: stage, facts }
}

class RelayStage extends Transform {
  readonly #splitter = new SseSplitter()
  readonly #hash = createKeccak()
  readonly #output: ObservedOutput
  #receiptSeen = false
  #settlement: SettlementResponse | null = null
  #ended: RelayFacts['ended'] = null
  #failure: OpenSeedError | null = null
  #broken = false
  readonly #stopSource: () => void

  constructor(output: ObservedOutput, stopSource: () => void) {
    super()
    this.#output = output
    this.#stopSource = stopSource
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    if (this.#broken) return callback()
    try {
      callback(null, this.#relayEvents(this.#splitter.push(chunk)))
    } catch (thrown) {
      this.#stopSource()
      this.sourceFailed(asOpenSeedError(thrown))
      callback()
    }
  }

  override _flush(callback: TransformCallback): void {
    // What has no blank line was cut; only the end mark and the receipt may stand without one.
    const rest = this.#splitter.end().filter(({ data }) => this.#ended !== null || data === endMark)
    const forward = this.#relayEvents(rest)
    if (this.#ended !== null) return callback(null, forward)
    this.#failure ??= cutShort()
    callback(null, Buffer.from(errorEvent(this.#failure)))
  }

  sourceFailed(error: OpenSeedError): void {
    // After the end mark nothing was missed.
    if (this.#ended === null) this.#failure ??= error
    this.#broken = true
    this.end()
  }

  facts(): RelayFacts {
    return {
      responseHash: this.#hash.digest(),
      output: this.#output,
      receiptSeen: this.#receiptSeen,
      settlement: this.#settlement,
      ended: this.#ended,
      failure: this.#failure,
    }
  }

  // One piece for what came in one piece: each write to the client is a system call.
  #relayEvents(events: readonly SseEvent[]): Buffer | undefined {
    const forward: Buffer[] = []
    for (const event of events) {
      if (event.data !== null) this.#note(event.data)
      const left = this.#withoutReceipt(event)
      if (left !== null) forward.push(left)
    }
    return forward.length > 1 ? Buffer.concat(forward) : forward[0]
  }

  #withoutReceipt({ raw, comment }: SseEvent): Buffer | null {
    const receipt = comment?.includes(paymentResponseComment) === true ? findReceipt(raw) : null
    if (receipt === null) {
      if (!this.#receiptSeen) this.#hash.update(raw)
      return raw
    }
    const before = raw.subarray(0, receipt.start)
    if (!this.#receiptSeen) {
      this.#hash.update(before)
      this.#receiptSeen = true
      this.#readReceipt(receipt.value)
    }
    // Usually the comment stands alone and only its blank line is left.
    const left = Buffer.concat([before, raw.subarray(receipt.end)])
    return left.some((byte) => byte !== lineFeed && byte !== carriageReturn) ? left : null
  }

  #note(data: string): void {
    if (data === endMark) {
      this.#ended ??= 'done'
      return
    }
    const json = parseOrNull(data)
    if (isErrorEvent(json)) this.#ended = 'error'
    observe(json, this.#output)
  }

  #readReceipt(value: string): void {
    try {
      this.#settlement = parseSettlementResponse(value)
    } catch (thrown) {
      this.#failure ??= asOpenSeedError(thrown)
    }
  }
}

const endMark = '[DONE]'
const lineFeed = 10
const carriageReturn = 13
const receiptLine = new RegExp(`^: ?${paymentResponseComment}([^\\r\\n]*)\\r?\\n?`, 'm')

function findReceipt(raw: Buffer): { start: number; end: number; value: string } | null {
  // latin1: one character for each byte, so that positions are byte positions.
  const match = receiptLine.exec(raw.toString('latin1'))
  return match && { start: match.index, end: match.index + match[0].length, value: match[1] ?? '' }
}

function isErrorEvent(json: unknown): boolean {
  if (typeof json !== 'object' || json === null) return false
  const { error, object } = json as Record<string, unknown>
  return (error !== undefined && error !== null) || object === 'error'
}

function parseOrNull(data: string): unknown {
  try {
    return JSON.parse(data)
  } catch {
    return null
  }
}

function cutShort(cause?: unknown): OpenSeedError {
  const message = 'The seller ended its stream before the answer was complete.'
  return new OpenSeedError('seller_stream_broken', { message, cause })
}
