/** Seller's stream -> client's connection: at once, with back-pressure both ways, and an honest end. */
import type { ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import { errorEvent } from '../wire/openai-error.ts'

/**
 * Sends `body` as the rest of a reply whose head is set. When it breaks, an event stream gets OpenAI's error event
 * and no [DONE]; anything else is cut off, so that no client takes a part for the whole. Resolves when the reply is
 * over either way; returns what broke it, or null.
 */
export function streamToClient(
  res: ServerResponse,
  body: Readable,
  isEventStream: boolean,
): Promise<unknown> {
  return new Promise((resolve) => {
    let last: Buffer | null = null
    body.on('data', (chunk: Buffer) => {
      last = chunk
      if (!res.write(chunk)) body.pause()
    })
    res.on('drain', () => body.resume())
    body.on('end', () => {
      res.end()
      resolve(null)
    })
    body.on('error', (error) => {
      if (isEventStream && !res.destroyed) res.end(lastEvent(error, last))
      else res.destroy()
      resolve(error)
    })
    body.on('close', () => resolve(null))
    res.on('close', () => body.destroy())
    if (res.destroyed) body.destroy()
  })
}

function lastEvent(error: unknown, last: Buffer | null): string {
  // A half event before it would swallow its first line.
  const closeOpenEvent = last === null || last.toString('latin1').endsWith('\n\n') ? '' : '\n\n'
  return closeOpenEvent + errorEvent(error)
}
