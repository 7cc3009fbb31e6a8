/** A libp2p stream as a socket that HTTP/1.1 can run on. */
import { Duplex } from 'node:stream'
import type { Connection, Stream } from '@libp2p/interface'
import type { PeerPath, PeerSocket } from './open-host.ts'

const mostFrameBytes = 64 * 1024

export function pathOf(connection: Connection): PeerPath {
  return connection.direct ? 'direct' : 'relayed'
}

/** Who counts the sockets that hold bytes nobody reads. */
export interface UnreadCount {
  /** False when no more may; the stream is cut then. */
  mayHold: () => boolean
  released: () => void
}

/** Must be called in the same turn in which the stream was got: what arrives without a listener only fills memory. */
export function socketOf(stream: Stream, connection: Connection, unread?: UnreadCount): PeerSocket {
  return new StreamSocket(stream, connection, unread)
}

class StreamSocket extends Duplex implements PeerSocket {
  readonly remotePeer: string
  readonly path: PeerPath
  readonly #stream: Stream
  #bytesWritten = 0
  /** The other side said that it is done; whatever ends the stream without that has cut it. */
  #remoteDone = false
  #onRoom: (() => void) | null = null
  #timer: NodeJS.Timeout | undefined
  readonly #unread: UnreadCount | undefined
  #holding = false

  constructor(stream: Stream, connection: Connection, unread: UnreadCount | undefined) {
    // A whole head and the chunks before it in one turn; more than that waits in the stream's own window.
    super({ allowHalfOpen: true, highWaterMark: mostFrameBytes })
    this.remotePeer = connection.remotePeer.toString()
    this.path = pathOf(connection)
    this.#stream = stream
    this.#unread = unread
    // A stream may break between two owners, when nobody listens.
    this.on('error', () => {})
    stream.addEventListener('message', ({ data }) => {
      this.#timer?.refresh()
      const bytes = data.subarray()
      if (!this.push(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))) this.#hold()
    })
    stream.addEventListener('remoteCloseWrite', () => {
      this.#remoteDone = true
    })
    // Comes when the last byte was handed over, unlike remoteCloseWrite.
    stream.addEventListener('end', () => {
      if (this.#remoteDone && !this.destroyed) this.push(null)
    })
    stream.addEventListener('drain', () => this.#roomAgain())
    stream.addEventListener('close', ({ error }) => this.#closed(error))
    if (stream.timeline.close !== undefined) this.#closed(undefined)
  }

  get bytesWritten(): number {
    return this.#bytesWritten
  }

  override _read(): void {
    this.#release()
    // Throws when the stream has closed meanwhile; its events say the rest.
    attempt(() => this.#stream.resume())
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#send(chunk, 0, done)
  }

  /** HTTP writes a chunk in three parts, and each frame costs an encryption. */
  override _writev(parts: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this.#send(Buffer.concat(parts.map(({ chunk }) => chunk)), 0, done)
  }

  override _final(done: (error?: Error | null) => void): void {
    void this.#finish(done)
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#onRoom = null
    clearTimeout(this.#timer)
    this.#release()
    // A stream that one side still holds open takes one of the few there are.
    if (this.#stream.timeline.close === undefined) {
      this.#stream.abort(error ?? new Error('the socket was destroyed'))
    }
    done(error)
  }

  /** net.Socket's: what was written still goes out. */
  destroySoon(): void {
    if (this.writable) this.end()
    if (this.writableFinished) this.destroy()
    else this.once('finish', () => this.destroy())
  }

  /** net.Socket's: says `timeout` after so long a silence in both directions, and does no more. */
  setTimeout(ms: number, onTimeout?: () => void): this {
    clearTimeout(this.#timer)
    this.#timer = ms > 0 && !this.destroyed ? setTimeout(() => this.emit('timeout'), ms).unref() : undefined
    if (onTimeout) this.once('timeout', onTimeout)
    return this
  }

  // Node and undici call these on sockets; of a stream none of them can be asked.
  setNoDelay(): this {
    return this
  }

  setKeepAlive(): this {
    return this
  }

  ref(): this {
    return this
  }

  unref(): this {
    return this
  }

  async #finish(done: (error?: Error | null) => void): Promise<void> {
    const error = await this.#stream.close().catch((thrown: Error) => thrown)
    done(error ?? null)
  }

  #send(bytes: Buffer, from: number, done: (error?: Error | null) => void): void {
    this.#timer?.refresh()
    for (let at = from; at < bytes.length; at += mostFrameBytes) {
      const end = Math.min(at + mostFrameBytes, bytes.length)
      if (this.#stream.writeStatus !== 'writable') return done(cut(new Error('the stream is closed')))
      // Counted as soon as it may leave.
      this.#bytesWritten += end - at
      try {
        if (this.#stream.send(bytes.subarray(at, end))) continue
      } catch (error) {
        return done(error as Error)
      }
      // Not onDrain(): its promise is never renewed, and from the second time on it does not wait.
      this.#onRoom = () => this.#send(bytes, end, done)
      return
    }
    done()
  }

  #roomAgain(): void {
    // The stream sends what it kept in the microtask after this event; only then is there room, or again none.
    queueMicrotask(() => {
      if (this.#onRoom === null || this.#stream.writableNeedsDrain) return
      const goOn = this.#onRoom
      this.#onRoom = null
      goOn()
    })
  }

  #hold(): void {
    attempt(() => this.#stream.pause())
    if (this.#holding || this.#unread === undefined) return
    this.#holding = this.#unread.mayHold()
    if (!this.#holding) this.destroy(new Error('too much is unread'))
  }

  #release(): void {
    if (this.#holding) this.#unread?.released()
    this.#holding = false
  }

  #closed(cause: Error | undefined): void {
    if (!this.#remoteDone) {
      // What came in the same turn as the cut is read first: it may be the end of an answer.
      setImmediate(() => this.destroy(cut(cause)))
      return
    }
    // All that was promised is here, and must still be read; only what this side would say has nowhere to go.
    this.#onRoom = null
    if (this.writableFinished) return
    if (this.readableEnded) this.destroy(cut(cause))
    else this.once('end', () => this.destroy(cut(cause)))
  }
}

/** Whom nobody has heard any more has not reset anything. */
function cut(cause: (Error & { code?: unknown }) | undefined): Error {
  const code = cause?.code === 'ETIMEDOUT' ? 'ETIMEDOUT' : 'ECONNRESET'
  return Object.assign(new Error('the stream was cut', { cause }), { code })
}

function attempt(work: () => void): void {
  try {
    work()
  } catch {
    // Closed: its events have said so, or will.
  }
}
