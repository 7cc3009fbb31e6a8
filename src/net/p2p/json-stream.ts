/** Short JSON messages over a stream, each with its length before it. */
import type { Stream } from '@libp2p/interface'
import { lpStream } from '@libp2p/utils'

export interface JsonStream {
  /** Rejects on what is no JSON, too long, or not there before the signal. */
  read(signal: AbortSignal): Promise<unknown>
  write(message: object, signal: AbortSignal): Promise<void>
}

const mostBytes = 1_024

export function jsonStream(stream: Stream): JsonStream {
  const messages = lpStream(stream, { maxDataLength: mostBytes, maxBufferSize: 4 * mostBytes })
  return {
    read: async (signal) =>
      JSON.parse(Buffer.from((await messages.read({ signal })).subarray()).toString()) as unknown,
    write: (message, signal) => messages.write(Buffer.from(JSON.stringify(message)), { signal }),
  }
}
