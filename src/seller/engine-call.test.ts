import { beforeEach, expect, test, vi } from 'vitest'
import { EngineCall } from './engine-call.ts'

const deadlines = { firstByteTimeoutMs: 120_000, idleTimeoutMs: 60_000 }

beforeEach(() => {
  vi.useFakeTimers()
  return () => vi.useRealTimers()
})

function connection() {
  return {
    paused: false,
    aborted: false,
    reason: null as Error | null,
    rawHeaders: null,
    rawTrailers: null,
    pause() {
      this.paused = true
    },
    resume() {
      this.paused = false
    },
    abort(reason: Error) {
      this.aborted = true
      this.reason = reason
    },
  }
}

async function begin(signal = new AbortController().signal) {
  const call = new EngineCall(deadlines, signal)
  const wire = connection()
  call.onRequestStart(wire)
  call.onResponseStart(wire, 200, {})
  const { body } = await call.reply
  return { call, wire, body }
}

test('the deadline between chunks is reset by any bytes and starts with the first', async () => {
  const { call, wire, body } = await begin()
  vi.advanceTimersByTime(119_000)
  for (let i = 0; i < 5; i++) {
    call.onResponseData(wire, Buffer.from(': ping\n\n'))
    vi.advanceTimersByTime(59_000)
  }
  expect(body.errored).toBeNull()
  vi.advanceTimersByTime(1000)
  expect(body.errored).toMatchObject({ code: 'engine_timeout', details: { phase: 'between-chunks' } })
  expect(wire.reason).toBe(body.errored)
})

test('headers alone do not count as the first byte', async () => {
  const { wire, body } = await begin()
  vi.advanceTimersByTime(119_999)
  expect(body.errored).toBeNull()
  vi.advanceTimersByTime(1)
  expect(body.errored).toMatchObject({
    code: 'engine_timeout',
    details: { phase: 'first-byte', afterMs: 120_000 },
  })
  expect(wire.aborted).toBe(true)
})

test('a reader that waits is not taken for a silent engine', async () => {
  const { call, wire, body } = await begin()
  call.onResponseData(wire, Buffer.alloc(1_000_000))
  expect(wire.paused).toBe(true)
  vi.advanceTimersByTime(3_600_000)
  expect(body.errored).toBeNull()
  body.read()
  expect(wire.paused).toBe(false)
  vi.advanceTimersByTime(60_000)
  expect(body.errored).toMatchObject({ code: 'engine_timeout' })
})

test('an answer that ends leaves no timer and ignores a late abort', async () => {
  const client = new AbortController()
  const { call, wire, body } = await begin(client.signal)
  call.onResponseData(wire, Buffer.from('x'))
  call.onResponseEnd()
  expect(vi.getTimerCount()).toBe(0)
  client.abort()
  expect(wire.aborted).toBe(false)
  expect(body.errored).toBeNull()
})

test('an informational status is not the answer', async () => {
  const call = new EngineCall(deadlines, new AbortController().signal)
  const wire = connection()
  call.onRequestStart(wire)
  call.onResponseStart(wire, 103, {})
  call.onResponseStart(wire, 200, {})
  call.onResponseEnd()
  expect((await call.reply).status).toBe(200)
})

test('a call aborted while it connects is stopped before it is sent', async () => {
  const client = new AbortController()
  const call = new EngineCall(deadlines, client.signal)
  client.abort(new Error('gone'))
  await expect(call.reply).rejects.toThrow('gone')
  const wire = connection()
  call.onRequestStart(wire)
  expect(wire.reason).toMatchObject({ message: 'gone' })
})
