import type { IncomingMessage, ServerResponse } from 'node:http'
import { OpenSeedError } from '../base/errors.ts'

/** Answers with one JSON value. A client that has gone is not an error here. */
export function sendJson(
  res: ServerResponse,
  status: number,
  value: unknown,
  headers: Record<string, string> = {},
): void {
  sendBytes(res, status, Buffer.from(JSON.stringify(value)), {
    ...headers,
    'content-type': 'application/json',
  })
}

/** Answers with a body that is complete. */
export function sendBytes(
  res: ServerResponse,
  status: number,
  body: Buffer,
  headers: Record<string, string>,
): void {
  if (res.destroyed || res.headersSent) return
  res.writeHead(status, { ...headers, 'content-length': body.length }).end(body)
}

/** Reads a request's body. Throws `body_too_large`, `invalid_request` (compressed) or `request_aborted`. */
export function readRequestBody(req: IncomingMessage, maxBytes: number): Promise<Buffer> {
  const encoding = req.headers['content-encoding'] ?? 'identity'
  if (encoding !== 'identity') {
    return Promise.reject(
      new OpenSeedError('invalid_request', {
        message: `The body's content-encoding "${encoding}" is not supported.`,
        hint: 'Send it uncompressed.',
      }),
    )
  }
  // Decided on the announced length, so that a client learns it before it has sent everything.
  if (Number(req.headers['content-length'] ?? 0) > maxBytes) return Promise.reject(tooLarge(maxBytes))
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let bytes = 0
    req.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes <= maxBytes) {
        chunks.push(chunk)
        return
      }
      // The rest is read and dropped: closing now would take the answer away from a client that is still sending.
      req.removeAllListeners('data').resume()
      reject(tooLarge(maxBytes))
    })
    req.on('end', () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks, bytes)))
    req.on('error', (cause) =>
      reject(new OpenSeedError('request_aborted', { message: 'The client went away while sending.', cause })),
    )
  })
}

function tooLarge(maxBytes: number): OpenSeedError {
  return new OpenSeedError('body_too_large', { message: `The body is over the limit of ${maxBytes} bytes.` })
}
