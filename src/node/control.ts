/**
 * The running role's control socket: other commands of the same user ask it to do what needs its keys and its
 * database. HTTP with one JSON value each way, on a socket file that only its owner can open.
 */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmod, rm } from 'node:fs/promises'
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { asOpenSeedError, OpenSeedError } from '../base/errors.ts'
import { errorCodes, type ErrorCode } from '../base/error-codes.ts'
import { readRequestBody, sendJson } from '../net/http-json.ts'

/** What can be asked, by name. Values are JSON: amounts travel as decimal strings. */
export type ControlRoutes = Readonly<
  Record<string, (params: Record<string, unknown>, signal: AbortSignal) => Promise<unknown>>
>

export interface Control extends AsyncDisposable {
  close(): Promise<void>
}

const maxBytes = 64 * 1024
// The longest path that every system takes for a socket.
const longestPath = 100
const answerWithinMs = 180_000
// Time for questions that were cut off to be answered with that.
const lastWordsMs = 1000

/** Listens in the role's folder. To be called by the role that holds the folder's lock. */
export async function openControl(folder: string, routes: ControlRoutes): Promise<Control> {
  const path = socketPath(folder)
  const stop = new AbortController()
  const answering = new Set<Promise<void>>()
  const server = createServer((req, res) => {
    // Until its answer has left, not until it is made.
    const left = new Promise<void>((resolve) => res.on('close', resolve))
    answering.add(left)
    void left.then(() => answering.delete(left))
    answer(req, routes, stop.signal).then(
      (value) => sendJson(res, 200, value ?? null, { connection: 'close' }),
      (thrown: unknown) => sendJson(res, 400, { error: plainError(thrown) }, { connection: 'close' }),
    )
  })
  // Left by a process that was killed: the lock says that nobody listens there.
  if (process.platform !== 'win32') await rm(path, { force: true })
  server.listen(path)
  await once(server, 'listening')
  if (process.platform !== 'win32') await chmod(path, 0o600)
  const close = async () => {
    stop.abort(new OpenSeedError('shutting_down', { message: 'openseed is shutting down.' }))
    const closed = once(server, 'close')
    server.close()
    const cutOff = setTimeout(() => server.closeAllConnections(), lastWordsMs)
    await Promise.all(answering)
    clearTimeout(cutOff)
    server.closeAllConnections()
    await closed
  }
  return { close, [Symbol.asyncDispose]: close }
}

/** Asks the running role. Null when none listens; throws the error that the role answered with. */
export async function callControl(
  folder: string,
  name: string,
  params: Record<string, unknown>,
  signal: AbortSignal,
): Promise<{ value: unknown } | null> {
  const body = JSON.stringify(params)
  const req = httpRequest({
    socketPath: socketPath(folder),
    path: `/${name}`,
    method: 'POST',
    headers: { host: 'localhost', 'content-type': 'application/json' },
    signal: AbortSignal.any([signal, AbortSignal.timeout(answerWithinMs)]),
  })
  try {
    req.end(body)
    const [res] = (await once(req, 'response')) as [IncomingMessage]
    const text = await readRequestBody(res, maxBytes)
    const value = JSON.parse(text.toString()) as unknown
    if (res.statusCode === 200) return { value }
    throw errorFrom((value as { error?: unknown }).error)
  } catch (thrown) {
    if (thrown instanceof OpenSeedError) throw thrown
    const { code } = thrown as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ECONNREFUSED') return null
    throw asOpenSeedError(thrown)
  }
}

async function answer(req: IncomingMessage, routes: ControlRoutes, signal: AbortSignal): Promise<unknown> {
  const name = (req.url ?? '').slice(1)
  const route = Object.hasOwn(routes, name) ? routes[name] : undefined
  if (route === undefined || req.method !== 'POST') {
    throw new OpenSeedError('not_found', { message: `The running openseed does not know "${name}".` })
  }
  const body = await readRequestBody(req, maxBytes)
  return route(JSON.parse(body.toString()) as Record<string, unknown>, signal)
}

function plainError(thrown: unknown): Record<string, unknown> {
  const { code, message, hint, details } = asOpenSeedError(thrown)
  return { code, message, hint, details }
}

function errorFrom(input: unknown): OpenSeedError {
  const { code, message, hint, details } = (input ?? {}) as Record<string, unknown>
  const isKnown = typeof code === 'string' && Object.hasOwn(errorCodes, code)
  return new OpenSeedError(isKnown ? (code as ErrorCode) : 'internal_error', {
    message: typeof message === 'string' ? message : 'The running openseed failed.',
    hint: typeof hint === 'string' ? hint : undefined,
    details: typeof details === 'object' && details !== null ? { ...details } : undefined,
  })
}

function socketPath(folder: string): string {
  const name = createHash('sha256').update(folder).digest('hex').slice(0, 32)
  if (process.platform === 'win32') return `\\\\.\\pipe\\openseed-${name}`
  const path = join(folder, 'control.sock')
  return Buffer.byteLength(path) <= longestPath ? path : join(tmpdir(), `openseed-${name}.sock`)
}
