import { OpenSeedError } from '../base/errors.ts'

/** One event of an event stream. */
export interface SseEvent {
  /** The exact bytes with their blank line, so that forwarding changes nothing. */
  raw: Buffer
  /** The `data` lines joined by a newline; null when there is none. */
  data: string | null
  /** The comment lines joined by a newline; null when there is none. */
  comment: string | null
}

/** The longest event that is read, in bytes. */
export const maxEventBytes = 8 * 1024 * 1024

const lineFeed = 10
const carriageReturn = 13

/**
 * Cuts a byte stream into events at blank lines (LF or CRLF). The `raw` parts put together are the input, and how
 * the input was cut into chunks makes no difference. Chunks are not copied: do not write to them afterwards.
 */
export class SseSplitter {
  #held: Buffer = Buffer.alloc(0)
  #heldBytes = 0
  /** Where in the held bytes the line that is being read starts. */
  #lineStart = 0

  /** Takes a chunk and gives the events that it completes. Throws `invalid_message` above 8 MiB in one event. */
  push(chunk: Uint8Array): SseEvent[] {
    const isFresh = this.#heldBytes === 0
    const bytes = isFresh ? asBuffer(chunk) : this.#append(chunk)
    const events: SseEvent[] = []
    let start = 0
    let lineStart = this.#lineStart
    // Everything before the new chunk was searched already.
    let at = bytes.indexOf(lineFeed, bytes.length - chunk.length)
    while (at !== -1) {
      const isBlank = at === lineStart || (at === lineStart + 1 && bytes[lineStart] === carriageReturn)
      lineStart = at + 1
      if (isBlank) {
        const raw = withinLimit(bytes.subarray(start, lineStart))
        events.push(toEvent(isFresh ? raw : Buffer.from(raw)))
        start = lineStart
      }
      at = bytes.indexOf(lineFeed, lineStart)
    }
    this.#lineStart = lineStart - start
    const rest = withinLimit(bytes.subarray(start))
    this.#reserve(rest.length)
    // What was appended and completed nothing lies in its place already.
    if (isFresh || start > 0) this.#held.set(rest)
    this.#heldBytes = rest.length
    return events
  }

  /** What is left when the stream ended: an event cut short (its `raw` has no blank line), or nothing. */
  end(): SseEvent[] {
    const raw = Buffer.from(this.#held.subarray(0, this.#heldBytes))
    this.#heldBytes = 0
    this.#lineStart = 0
    return raw.length === 0 ? [] : [toEvent(raw)]
  }

  #append(chunk: Uint8Array): Buffer {
    this.#reserve(this.#heldBytes + chunk.length)
    this.#held.set(chunk, this.#heldBytes)
    return this.#held.subarray(0, this.#heldBytes + chunk.length)
  }

  // Doubling keeps a stream of tiny chunks from copying the whole event for each of them.
  #reserve(size: number): void {
    if (size <= this.#held.length) return
    const grown = Buffer.allocUnsafe(Math.max(size, this.#held.length * 2, 4096))
    this.#held.copy(grown, 0, 0, this.#heldBytes)
    this.#held = grown
  }
}

function withinLimit(event: Buffer): Buffer {
  if (event.length > maxEventBytes)
    throw new OpenSeedError('invalid_message', { message: 'An event of the stream is larger than 8 MiB.' })
  return event
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function toEvent(raw: Buffer): SseEvent {
  let data: string | null = null
  let comment: string | null = null
  for (const line of raw.toString().split(/\r?\n/)) {
    if (line.startsWith(':')) {
      comment = joined(comment, valueAfter(line, 1))
      continue
    }
    if (line === 'data' || line.startsWith('data:')) data = joined(data, valueAfter(line, 5))
  }
  return { raw, data, comment }
}

function valueAfter(line: string, colonEnd: number): string {
  return line.slice(line[colonEnd] === ' ' ? colonEnd + 1 : colonEnd)
}

function joined(before: string | null, value: string): string {
  return before === null ? value : `${before}\n${value}`
}
