/** docs/registry.openapi.json against what a registry really answers, route by route. */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { signBatch } from '../../src/wire/delta-batch.ts'
import { nodeKeyOf } from '../../src/wire/node-key.ts'
import { encodeBinding } from '../../src/wire/peer-binding.ts'
import { encodeRecord } from '../../src/wire/record.ts'
import { announcedSeller } from '../fixtures/announced-seller.ts'
import { violations, type Schema } from '../fixtures/json-schema.ts'
import { startRegistry, type TestRegistry } from '../fixtures/registry.ts'

interface Operation {
  parameters?: { name: string; in: string }[]
  responses: Record<
    string,
    { headers?: Record<string, unknown>; content?: { 'application/json': { schema: Schema } } }
  >
  requestBody?: { content: { 'application/json': { schema: Schema } } }
}

const path = new URL('../../docs/registry.openapi.json', import.meta.url)
const api = JSON.parse(readFileSync(path, 'utf8')) as Schema & {
  paths: Record<string, Record<string, Operation>>
}
const seen = new Set<string>()
let registry: TestRegistry
let slow: TestRegistry

const seller = announcedSeller(700)
const heartbeat = () => JSON.parse(encodeRecord(seller.heartbeat())) as object
const registration = () =>
  `{"record":${encodeRecord(seller.record())},"binding":${JSON.stringify(encodeBinding(seller.binding))}}`

beforeAll(async () => {
  // Behind on purpose: the list of peers in the statistics is then not empty.
  registry = await startRegistry({ peers: ['http://127.0.0.1:9'], exchangeEveryMs: 60_000 })
  slow = await startRegistry({ requestsPerSec: 1, now: () => 1_900_000_000_000 })
})
afterAll(async () => {
  await registry[Symbol.asyncDispose]()
  await slow[Symbol.asyncDispose]()
})

/** Asks, and holds request and reply against the document. Gives the reply's body. */
async function ask(
  method: 'GET' | 'POST',
  target: string,
  status: number,
  {
    body,
    headers,
    base = registry.url,
  }: { body?: string; headers?: Record<string, string>; base?: string } = {},
): Promise<unknown> {
  const [plain = ''] = target.split('?', 1)
  const route = plain.replace(/^\/v1\/sellers\/.+/, '/v1/sellers/{peer}')
  const operation = api.paths[route]?.[method.toLowerCase()]
  expect(operation).toBeDefined()
  const wanted = operation!.requestBody?.content['application/json'].schema
  if (status === 200 && wanted && body) expect(violations(JSON.parse(body), wanted, api)).toEqual([])

  const reply = await fetch(base + target, {
    method,
    ...(body !== undefined && { body }),
    ...(headers && { headers }),
  })
  const text = await reply.text()
  expect({ status: reply.status, text }).toMatchObject({ status })
  const described = operation!.responses[String(status)]
  expect(described).toBeDefined()
  const promised = Object.keys(described!.headers ?? {})
  expect(promised.filter((name) => !reply.headers.has(name))).toEqual([])
  seen.add(`${method} ${route} ${status}`)
  if (!described!.content) return expect(text).toBe('')
  const json: unknown = JSON.parse(text)
  expect(violations(json, described!.content['application/json'].schema, api)).toEqual([])
  return json
}

test('every answer of every route is as the document says', async () => {
  await ask('GET', '/healthz', 200)
  await ask('POST', '/v1/heartbeats', 200, { body: JSON.stringify({ heartbeats: [heartbeat()] }) })
  await ask('POST', '/v1/sellers', 200, { body: registration() })
  await ask('POST', '/v1/heartbeats', 200, { body: JSON.stringify({ heartbeats: [heartbeat()] }) })
  const old = JSON.parse(encodeRecord(seller.heartbeat({ recordSeq: 1 }))) as object
  expect(
    await ask('POST', '/v1/heartbeats', 200, { body: JSON.stringify({ heartbeats: [old] }) }),
  ).toMatchObject({ results: [{ peer: seller.peer, status: 'superseded' }] })
  const refused = '{"heartbeats":[7]}'
  expect(
    await (await fetch(`${registry.url}/v1/heartbeats`, { method: 'POST', body: refused })).json(),
  ).toEqual({
    results: [{ peer: null, status: 'refused', reason: 'malformed' }],
  })
  await ask('POST', '/v1/heartbeats', 400, { body: '{"heartbeats":7}' })
  await ask('POST', '/v1/heartbeats', 413, { body: 'x'.repeat(600_000) })
  await ask('POST', '/v1/sellers', 422, { body: registration().replace('eu-west', 'on-moon') })
  await ask('POST', '/v1/sellers', 400, { body: 'no json' })
  await ask('POST', '/v1/sellers', 413, { body: 'x'.repeat(20_000) })

  const page = (await ask('GET', '/v1/sellers?model=qwen3:8b&limit=1', 200)) as { version: string }
  await ask('GET', `/v1/sellers?since=${page.version}`, 200)
  await ask('GET', '/v1/sellers?since=ffff-1', 200)
  await ask('GET', '/v1/sellers?limit=x', 400)
  const { headers } = await fetch(`${registry.url}/v1/sellers`)
  await ask('GET', '/v1/sellers', 304, { headers: { 'if-none-match': headers.get('etag')! } })
  await ask('GET', `/v1/sellers/${seller.peer}`, 200)
  await ask('GET', `/v1/sellers/${announcedSeller(701).peer}`, 404)
  await ask('GET', '/v1/models', 200)
  await ask('GET', '/v1/models?limit=0', 400)
  await ask('GET', '/v1/stats', 200)
  await ask('GET', '/v1/index', 200)
  await ask('GET', '/v1/index?all=true', 400)

  const batch = (await ask('GET', '/v1/deltas', 200)) as { batch: string }
  const deltaBatch = (api['components'] as { schemas: Record<string, Schema> }).schemas['DeltaBatch']!
  expect(violations(JSON.parse(batch.batch), deltaBatch, api)).toEqual([])
  await ask('GET', '/v1/deltas?until=1', 400)
  const pushed = JSON.stringify(signBatch(nodeKeyOf(randomBytes(32)), batch.batch))
  await ask('POST', '/v1/deltas', 200, { body: pushed })
  await ask('POST', '/v1/deltas', 400, { body: pushed.replace('\\"more', '\\"most') })
  await ask('POST', '/v1/deltas', 413, { body: 'x'.repeat(4_200_000) })

  for (let asked = 0; asked < 5; asked += 1) await fetch(`${slow.url}/v1/models`)
  for (const [route, methods] of Object.entries(api.paths))
    for (const [method, { responses }] of Object.entries(methods))
      if (responses['429'])
        await ask(method === 'get' ? 'GET' : 'POST', route.replace('{peer}', seller.peer), 429, {
          base: slow.url,
          ...(method === 'post' && { body: '{}' }),
        })

  const described = Object.entries(api.paths).flatMap(([route, methods]) =>
    Object.entries(methods).flatMap(([method, { responses }]) =>
      Object.keys(responses).map((status) => `${method.toUpperCase()} ${route} ${status}`),
    ),
  )
  expect([...seen].toSorted()).toEqual(described.toSorted())
})

test('the parameters that are described are those that are known, on every route that has any', async () => {
  const routes = Object.entries(api.paths).flatMap(([route, methods]) =>
    Object.entries(methods).map(([method, { parameters = [] }]) => ({ route, method, parameters })),
  )
  const described = routes.filter(({ parameters }) => parameters.some((one) => one.in === 'query'))
  expect(described.map(({ method, route }) => `${method} ${route}`)).toEqual([
    'get /v1/sellers',
    'get /v1/models',
    'get /v1/deltas',
    'post /v1/deltas',
  ])
  for (const { route, method, parameters } of described) {
    const reply = await fetch(`${registry.url}${route}?nonsense=1`, {
      method,
      ...(method === 'post' && { body: '{}' }),
    })
    expect(await reply.json()).toMatchObject({
      error: {
        code: 'invalid_request',
        message: `nonsense must be one of ${parameters.map(({ name }) => name).join(', ')}.`,
      },
    })
  }
})
