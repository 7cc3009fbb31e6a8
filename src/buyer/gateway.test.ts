import { once } from 'node:events'
import { Agent } from 'node:http'
import { createServer, type AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import {
  ask,
  askChat,
  chatBody,
  headOf,
  listing,
  replyOf,
  send,
  startGateway,
} from '../../test/fixtures/buyer-gateway.ts'
import type { ErrorCode } from '../base/error-codes.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Exchange, ExchangeReply, ExchangeRequest } from './exchange-types.ts'
import type { Gateway, GatewayOptions } from './gateway.ts'

const opened: Gateway[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((gateway) => gateway.close(0)))
})

async function start(over: Partial<GatewayOptions> = {}): Promise<Gateway> {
  const gateway = await startGateway(over)
  opened.push(gateway)
  return gateway
}

function failing(error: unknown): Exchange {
  const failed = async () => {
    throw error
  }
  return failed
}

const errorOf = ({ text }: { text: string }) => (JSON.parse(text) as { error: Record<string, unknown> }).error

const encoded = (id: string) => ({
  id,
  object: 'model',
  created: 0,
  owned_by: 'openseed',
  context_length: 8192,
  top_provider: { context_length: 8192, max_completion_tokens: 2048 },
  pricing: { prompt: '0.00000015', completion: '10' },
  openseed: { sellers: 2 },
})

describe('models', () => {
  test.each(['/v1/models', '/models', '/v1/v1/models', '/v1//models/', '/v1/models?x=1'])(
    'are listed at %s',
    async (path) => {
      const { status, text } = await ask((await start()).url + path)
      expect(status).toBe(200)
      expect(JSON.parse(text)).toEqual({ object: 'list', data: [encoded('llama3:8b'), encoded('org/model')] })
    },
  )

  test.each([
    '/v1/models/org/model',
    '/v1/models/org%2Fmodel',
    '/models/llama3:8b',
    '/v1/models/llama3%3A8b',
  ])('are found by name at %s', async (path) => {
    const { status, text } = await ask((await start()).url + path)
    expect(status).toBe(200)
    expect(JSON.parse(text)).toHaveProperty('id', path.includes('org') ? 'org/model' : 'llama3:8b')
  })

  test('that nobody offers are not found', async () => {
    const answer = await ask(`${(await start()).url}/v1/models/%ff`)
    expect(answer.status).toBe(404)
    expect(errorOf(answer)).toMatchObject({ code: 'model_not_found', type: 'invalid_request_error' })
  })

  test('that are free cost 0', async () => {
    const { url } = await start({ listModels: () => [{ ...listing('free'), priceIn: 0n }] })
    expect(JSON.parse((await ask(`${url}/models`)).text)).toHaveProperty('data.0.pricing.prompt', '0')
  })
})

describe('other routes', () => {
  test('healthz says ok', async () => {
    expect(await ask(`${(await start()).url}/healthz`)).toMatchObject({
      status: 200,
      text: '{"status":"ok"}',
    })
  })

  test.each([
    ['GET', '/v1/unknown', 404, 'not_found'],
    ['GET', '/', 404, 'not_found'],
    ['GET', '/v1', 404, 'not_found'],
    ['GET', '/v1/chat/completions', 405, 'method_not_allowed'],
    ['POST', '/v1/models', 405, 'method_not_allowed'],
  ])('%s %s is refused in the shape of OpenAI', async (method, path, status, code) => {
    const answer = await ask((await start()).url + path, { method })
    expect(answer.status).toBe(status)
    expect(answer.headers['content-type']).toBe('application/json')
    expect(errorOf(answer)).toEqual({
      message: expect.any(String) as string,
      type: 'invalid_request_error',
      param: null,
      code,
    })
  })
})

describe('a completion', () => {
  test('takes the bytes to the exchange and the answer back, named and priced', async () => {
    let asked: ExchangeRequest | null = null
    const gateway = await start({
      exchange: (request) => {
        asked = request
        const outcome = { charged: 137n, receipt: null, reason: null }
        const headers = { 'content-type': 'application/json', 'set-cookie': 'a=b', 'payment-response': 'x' }
        return Promise.resolve(
          replyOf({ id: 'chatcmpl-1' }, { headers, attempts: 2, done: Promise.resolve(outcome) }),
        )
      },
      now: () => 1234,
    })
    const body = Buffer.from(
      '{ "model":"m", "x":  [1,2], "messages":[], "stream_options":{"include_usage":true} }',
    )
    const { status, headers, text } = await askChat(gateway, body, {
      headers: { authorization: 'Bearer any' },
    })
    expect(status).toBe(200)
    expect(text).toBe('{"id":"chatcmpl-1"}')
    expect(asked).toEqual({
      path: '/v1/chat/completions',
      body,
      json: JSON.parse(body.toString()) as unknown,
      model: 'm',
      stream: false,
      wantsUsage: false,
      receivedAtMs: 1234,
      traceId: headers['x-request-id'],
    })
    expect(headers).toMatchObject({
      'content-type': 'application/json',
      'x-openseed-seller': 'http://seller:8403',
      'x-openseed-ceiling': '1300',
      'x-openseed-cost': '137',
      'x-openseed-attempts': '2',
      'x-openseed-overhead-ms': expect.stringMatching(/^\d+\.\d\d$/) as string,
      'x-request-id': expect.stringMatching(/^req_[0-9a-f]{32}$/) as string,
      'x-should-retry': 'false',
    })
    expect(headers).not.toHaveProperty('set-cookie')
    expect(headers).not.toHaveProperty('payment-response')
  })

  test('that failed at the seller and cost nothing may be tried again', async () => {
    const gateway = await start({
      exchange: () =>
        Promise.resolve(replyOf({ error: {} }, { status: 503, headers: { 'retry-after': '3' } })),
    })
    const { status, headers } = await askChat(gateway)
    expect(status).toBe(503)
    expect(headers).toMatchObject({ 'retry-after': '3', 'x-openseed-cost': '0' })
    expect(headers).not.toHaveProperty('x-should-retry')
  })

  test.each<[string, Partial<ExchangeReply>]>([
    ['402', { status: 402 }],
    ['409', { status: 409 }],
    ['an unknown charge', { done: Promise.resolve({ charged: null, receipt: null, reason: 'lost' }) }],
  ])('with %s must not be tried again', async (_what, over) => {
    const gateway = await start({ exchange: () => Promise.resolve(replyOf({}, over)) })
    expect((await askChat(gateway)).headers['x-should-retry']).toBe('false')
  })
})

describe('a request that cannot be read', () => {
  const limit = 1000
  const tooLong = chatBody({ user: 'x'.repeat(limit) })

  test.each<[string, Buffer, Record<string, string>, number, ErrorCode]>([
    ['broken JSON', Buffer.from('{"model":'), {}, 400, 'invalid_json'],
    ['invalid UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), {}, 400, 'invalid_json'],
    ['no object', Buffer.from('[]'), {}, 400, 'invalid_json'],
    ['nothing', Buffer.alloc(0), {}, 400, 'invalid_json'],
    ['no model', Buffer.from('{}'), {}, 400, 'invalid_request'],
    ['a compressed body', chatBody(), { 'content-encoding': 'gzip' }, 400, 'invalid_request'],
    [
      'a body over the limit, as announced',
      tooLong,
      { 'content-length': String(tooLong.length) },
      413,
      'body_too_large',
    ],
    [
      'a body over the limit, unannounced',
      tooLong,
      { 'transfer-encoding': 'chunked' },
      413,
      'body_too_large',
    ],
  ])('%s is refused before anybody is asked', async (_what, body, headers, status, code) => {
    const answer = await askChat(await start({ maxBodyBytes: limit }), body, { headers })
    expect(answer.status).toBe(status)
    expect(errorOf(answer)).toHaveProperty('code', code)
  })

  test('a body of 20 MB is taken by default', async () => {
    const gateway = await start({ exchange: ({ body }) => Promise.resolve(replyOf({ bytes: body.length })) })
    const { text } = await askChat(gateway, chatBody({ user: 'x'.repeat(20_000_000) }))
    expect(JSON.parse(text)).toEqual({ bytes: expect.any(Number) as number })
  })

  test('a client that goes away while sending harms nobody', async () => {
    const gateway = await start()
    const sent = send(`${gateway.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-length': '99' },
    })
    await once(sent, 'socket')
    sent.destroy()
    expect(await ask(`${gateway.url}/healthz`)).toHaveProperty('status', 200)
  })
})

describe('an error of the exchange', () => {
  test('about money is a 402 with the next step, not to be tried again', async () => {
    const error = new OpenSeedError('channel_underfunded', {
      message: 'The channel holds 5.',
      hint: 'Run: openseed channels top-up',
      details: { seller: 'http://s', attempts: 1 },
    })
    const answer = await askChat(await start({ exchange: failing(error) }))
    expect(answer.status).toBe(402)
    expect(answer.headers).toMatchObject({
      'x-should-retry': 'false',
      'x-openseed-seller': 'http://s',
      'x-openseed-attempts': '1',
    })
    expect(errorOf(answer)).toEqual({
      message: 'The channel holds 5. Run: openseed channels top-up',
      type: 'insufficient_quota',
      param: null,
      code: 'channel_underfunded',
    })
  })

  test('that everybody is busy is a 429 with the time to wait', async () => {
    const error = new OpenSeedError('rate_limit_exceeded', {
      message: 'Busy.',
      details: { retryAfterSec: 1.2 },
    })
    const answer = await askChat(await start({ exchange: failing(error) }))
    expect(answer.status).toBe(429)
    expect(answer.headers['retry-after']).toBe('2')
    expect(answer.headers).not.toHaveProperty('x-should-retry')
  })

  test.each([null, '12'])('after money was spent (%j) must not be tried again', async (charged) => {
    const error = new OpenSeedError('seller_timeout', { message: 'Silent.', details: { charged } })
    expect((await askChat(await start({ exchange: failing(error) }))).headers['x-should-retry']).toBe('false')
  })

  test('that is a bug is a 500', async () => {
    const answer = await askChat(await start({ exchange: failing(new TypeError('oops')) }))
    expect(answer.status).toBe(500)
    expect(errorOf(answer)).toMatchObject({ code: 'internal_error', type: 'server_error' })
  })
})

describe('a web page cannot spend', () => {
  test.each([{ host: 'evil.example' }, { host: 'localhost.evil.example:8402' }, { host: '10.1.2.3:8402' }])(
    'by a name of its own: %j',
    async (headers) => {
      const answer = await ask(`${(await start()).url}/v1/models`, { headers })
      expect(answer.status).toBe(403)
      expect(errorOf(answer)).toHaveProperty('code', 'origin_forbidden')
    },
  )

  test.each(['https://evil.example', 'http://localhost:3000', 'null'])('from origin %s', async (origin) => {
    const answer = await askChat(await start(), chatBody(), {
      headers: { origin, 'content-type': 'text/plain' },
    })
    expect(answer.status).toBe(403)
    expect(answer.headers).not.toHaveProperty('access-control-allow-origin')
  })

  test('and a preflight is not answered', async () => {
    const { status, headers } = await ask(`${(await start()).url}/v1/chat/completions`, {
      method: 'OPTIONS',
      headers: { origin: 'https://evil.example', 'access-control-request-method': 'POST' },
    })
    expect(status).toBe(403)
    expect(Object.keys(headers).filter((name) => name.startsWith('access-control'))).toEqual([])
  })

  test.each(['localhost:1', '127.0.0.1', '127.9.9.9:80', '[::1]:8402', 'openseed.localhost'])(
    'but a program that calls this machine %s can ask',
    async (host) => {
      expect(await ask(`${(await start()).url}/v1/models`, { headers: { host } })).toHaveProperty(
        'status',
        200,
      )
    },
  )

  test('and an editor can, whose origin is no web site', async () => {
    const headers = { origin: 'vscode-webview://abc' }
    expect(await ask(`${(await start()).url}/v1/models`, { headers })).toHaveProperty('status', 200)
  })
})

describe('the port', () => {
  test('that is taken is an error naming the next free one', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    await expect(startGateway({ port })).rejects.toMatchObject({
      code: 'port_in_use',
      hint: expect.stringMatching(/^Port \d+ is free: --port \d+$/) as string,
    })
    taken.close()
  })

  test('of a host that is not ours is an error', async () => {
    await expect(startGateway({ host: '192.0.2.1' })).rejects.toMatchObject({ code: 'config_invalid' })
  })

  test('may be any', async () => {
    const gateway = await start()
    expect(gateway.url).toBe(`http://127.0.0.1:${gateway.port}`)
  })
})

describe('closing', () => {
  test('lets a running request finish and takes no new one', async () => {
    const reply = Promise.withResolvers<ExchangeReply>()
    const asked = Promise.withResolvers<void>()
    const gateway = await start({
      exchange: () => {
        asked.resolve()
        return reply.promise
      },
    })
    const running = askChat(gateway)
    await asked.promise
    const closed = gateway.close(60_000)
    await expect(ask(`${gateway.url}/healthz`)).rejects.toThrow('ECONNREFUSED')
    reply.resolve(replyOf({ ok: true }))
    expect((await running).text).toBe('{"ok":true}')
    await closed
  })

  test('cuts off what runs past the deadline, and says why', async () => {
    const asked = Promise.withResolvers<void>()
    const gateway = await start({
      exchange: async (_request, signal) => {
        asked.resolve()
        await once(signal, 'abort')
        throw signal.reason
      },
    })
    const running = askChat(gateway)
    await asked.promise
    await gateway.close(0)
    expect(errorOf(await running)).toHaveProperty('code', 'shutting_down')
  })

  test('does not wait for what ignores the deadline', async () => {
    const asked = Promise.withResolvers<void>()
    const gateway = await start({
      exchange: () => {
        asked.resolve()
        return new Promise(() => {})
      },
    })
    const running = askChat(gateway)
    await asked.promise
    const [answer] = await Promise.allSettled([running, gateway.close(0)])
    expect(answer).toMatchObject({ status: 'rejected', reason: { message: 'socket hang up' } })
  })

  test('hangs up on a client that does not go', async () => {
    const gateway = await start()
    const sent = send(`${gateway.url}/healthz`, { agent: new Agent({ keepAlive: true }) })
    const reply = await headOf(sent)
    const hungUp = once(reply.socket, 'close')
    await gateway.close(60_000)
    await expect(hungUp).resolves.toBeDefined()
  })
})
