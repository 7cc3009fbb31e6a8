import type { Readable } from 'node:stream'
import { OpenSeedError } from '../base/errors.ts'

/** Reads a reply's body to its end. A body over `maxBytes` is cut off and throws `seller_failed`. */
export async function readBody(body: Readable, maxBytes: number): Promise<Buffer> {
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
