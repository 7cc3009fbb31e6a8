import type { Readable } from 'node:stream'
import { OpenSeedError } from '../base/errors.ts'

/**
 * Reads a reply's body to its end. A body over `maxBytes` is cut off and throws `seller_failed`; one that is not
 * complete after `withinMs`, however steadily it comes, throws `seller_timeout`.
 */
export async function readBody(body: Readable, maxBytes: number, withinMs?: number): Promise<Buffer> {
  const late = () =>
    body.destroy(
      new OpenSeedError('seller_timeout', { message: `The seller's answer took over ${withinMs} ms.` }),
    )
  const deadline = withinMs === undefined ? undefined : setTimeout(late, withinMs)
  try {
    return await readAtMost(body, maxBytes)
  } finally {
    clearTimeout(deadline)
  }
}

async function readAtMost(body: Readable, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length
    if (bytes > maxBytes) {
      throw new OpenSeedError('seller_failed', { message: `The seller's answer is over ${maxBytes} bytes.` })
    }
    chunks.push(chunk)
  }
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, bytes)
}
