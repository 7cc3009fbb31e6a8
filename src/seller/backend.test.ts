import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { hasCode } from '../base/errors.ts'
import { gate, startScriptedEngine } from '../../test/fixtures/scripted-engine.ts'
import { openBackend, readEngineError, readReplyBody, type BackendOptions } from './backend.ts'

const never = new AbortController().signal

async function withEngine(options: Partial<BackendOptions> = {}) {
  const engine = await startScriptedEngine()
  const backend = openBackend({ baseUrl: engine.url, ...options })
  onTestFinished(async () => {
    await backend.close()
    await engine.close()
  })
  return { engine, backend }
}

const chat = (content: string, more: Record<string, unknown> = {}): string =>
  JSON.stringify({ model: 'test-model', messages: [{ role: 'user', content }], ...more })
const stream = { stream: true, stream_options: { include_usage: true } }

async function failure(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => expect.fail('it did not fail'),
    (error: unknown) => error,
  )
}

async function listenRaw(
  onData: (answer: (text: string) => void, close: () => void) => void,
): Promise<string> {
  const server: Server = createServer((socket) => {
    socket.on('error', () => {})
    socket.on('data', () =>
      onData(
        (text) => void socket.write(text),
        () => socket.destroy(),
      ),
    )
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const address = server.address()
  return typeof address === 'object' && address !== null ? `http://127.0.0.1:${address.port}` : ''
}

test('a reply streams through with its status and headers', async () => {
  const { backend } = await withEngine()
  const reply = await backend.chat(chat('tokens=3', stream), never)
  expect(reply.status).toBe(200)
  expect(reply.headers['content-type']).toBe('text/event-stream')
  expect((await readReplyBody(reply)).toString()).toContain('data: [DONE]')
})

test('the engine sees the body, the key and nothing else of the client', async () => {
  const { engine, backend } = await withEngine({ apiKey: 'secret' })
  await readReplyBody(await backend.chat(chat('hi'), never))
  const [call] = engine.calls
  expect(call?.url).toBe('/v1/chat/completions')
  expect(Object.keys(call?.headers ?? {}).toSorted()).toEqual([
    'accept',
    'authorization',
    'connection',
    'content-length',
    'content-type',
    'host',
  ])
  expect(call?.headers.authorization).toBe('Bearer secret')
})

test('an address that already ends in /v1 is not doubled', async () => {
  const engine = await startScriptedEngine()
  onTestFinished(() => engine.close())
  const backend = openBackend({ baseUrl: `${engine.url}/v1/` })
  onTestFinished(() => backend.close())
  expect((await backend.chat(chat('hi'), never)).status).toBe(200)
})

test('an abort in the middle of a stream reaches the engine', async () => {
  const { engine, backend } = await withEngine()
  const held = gate()
  engine.next({ tokens: 10, pause: { after: 3, gate: held } })
  const client = new AbortController()
  const reply = await backend.chat(chat('hi', stream), client.signal)
  await once(reply.body, 'readable')
  client.abort(new Error('client gone'))
  await engine.calls[0]!.aborted
  expect(await failure(readReplyBody(reply))).toMatchObject({ message: 'client gone' })
})

test('an abort before the first byte reaches the engine', async () => {
  const { engine, backend } = await withEngine()
  engine.next({ hang: 'headers' })
  const client = new AbortController()
  const arriving = engine.nextCall()
  const failed = failure(backend.chat(chat('hi'), client.signal))
  const call = await arriving
  client.abort(new Error('client gone'))
  await call.aborted
  expect(await failed).toMatchObject({ message: 'client gone' })
})

test('destroying the body closes the connection to the engine', async () => {
  const { engine, backend } = await withEngine()
  engine.next({ tokens: 10, hang: 3 })
  const reply = await backend.chat(chat('hi', stream), never)
  reply.body.destroy()
  expect(await engine.calls[0]!.aborted).toBeGreaterThan(0)
})

test('an abort before the call sends nothing', async () => {
  const { engine, backend } = await withEngine()
  const error = await failure(backend.chat(chat('hi'), AbortSignal.abort(new Error('too late'))))
  expect(error).toMatchObject({ message: 'too late' })
  expect(engine.calls).toHaveLength(0)
})

test('a refused connection is engine_unavailable', async () => {
  const { engine, backend } = await withEngine()
  await engine.close()
  expect(hasCode(await failure(backend.chat(chat('hi'), never)), 'engine_unavailable')).toBe(true)
})

test('an engine that never begins is engine_timeout, named as the first byte', async () => {
  const { engine, backend } = await withEngine({ firstByteTimeoutMs: 20 })
  engine.default = { hang: 'headers' }
  const error = await failure(backend.chat(chat('hi'), never))
  expect(error).toMatchObject({ code: 'engine_timeout', details: { phase: 'first-byte', afterMs: 20 } })
})

test('an engine that falls silent is engine_timeout, named as between chunks', async () => {
  const { engine, backend } = await withEngine({ idleTimeoutMs: 20 })
  engine.default = { tokens: 9, hang: 4 }
  const reply = await backend.chat(chat('hi', stream), never)
  expect(await failure(readReplyBody(reply))).toMatchObject({
    code: 'engine_timeout',
    details: { phase: 'between-chunks' },
  })
  await engine.calls[0]!.aborted
})

test('a connection that dies before the answer is engine_failed, in the middle engine_stream_broken', async () => {
  const { backend } = await withEngine()
  const before = await failure(backend.chat(chat('die=headers'), never))
  expect(hasCode(before, 'engine_failed')).toBe(true)
  const reply = await backend.chat(chat('tokens=9 die=4', stream), never)
  expect(hasCode(await failure(readReplyBody(reply)), 'engine_stream_broken')).toBe(true)
})

test('a reply that dies while nobody reads does not end the process and is found when read', async () => {
  const { backend } = await withEngine()
  const reply = await backend.chat(chat('tokens=2 die=1', stream), never)
  await new Promise((resolve) => void reply.body.once('close', resolve))
  expect(hasCode(await failure(readReplyBody(reply)), 'engine_stream_broken')).toBe(true)
})

test('an engine that answers no HTTP is engine_failed', async () => {
  const url = await listenRaw((answer, close) => {
    answer('SSH-2.0-OpenSSH_9.9\r\n')
    close()
  })
  await using backend = openBackend({ baseUrl: url })
  expect(hasCode(await failure(backend.chat(chat('hi'), never)), 'engine_failed')).toBe(true)
})

test('an error status is a reply whose reason can be read in one shape', async () => {
  const { engine, backend } = await withEngine()
  engine.next({ status: 404, errorBody: { error: 'model "x" not found, try pulling it first' } })
  const reply = await backend.chat(chat('hi'), never)
  expect(await readEngineError(reply)).toEqual({
    status: 404,
    message: 'model "x" not found, try pulling it first',
  })
})

test('a hundred calls at once each get their own answer', async () => {
  const { engine, backend } = await withEngine()
  const bodies = await Promise.all(
    Array.from({ length: 100 }, async (_, i) =>
      readReplyBody(await backend.chat(chat(`tokens=${i + 1}`), never)),
    ),
  )
  const counts = bodies.map(
    (body) => (JSON.parse(body.toString()) as { usage: { completion_tokens: number } }).usage,
  )
  expect(counts.map((usage) => usage.completion_tokens)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1))
  expect(engine.aborts).toBe(0)
})
