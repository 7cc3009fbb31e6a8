/** What becomes of sellers' records at a registry: listed, repeated word for word, refused, forgotten. */
import { expect, test } from 'vitest'
import { openRegistryClient } from '../../src/net/registry-client.ts'
import { encodeBinding } from '../../src/wire/peer-binding.ts'
import { encodeRecord } from '../../src/wire/record.ts'
import { announcedSeller, modelOf } from '../fixtures/announced-seller.ts'
import { startRegistry } from '../fixtures/registry.ts'

test('a seller that registers is listed with the very records it signed', async () => {
  await using registry = await startRegistry()
  const { client } = registry
  const seller = announcedSeller(1)
  const record = seller.record()
  expect(await client.register(record, seller.binding)).toEqual({ status: 'ok' })
  const heartbeat = seller.heartbeat()
  expect(await client.heartbeat(heartbeat)).toEqual({ status: 'ok' })

  const page = await client.sellers({ model: 'qwen3:8b' })
  expect(page).toMatchObject({ gone: [], next: null, reset: false, refused: 0 })
  const [listing] = page!.listings
  expect(listing).toMatchObject({ record, heartbeat, binding: seller.binding, state: 'live' })
  expect(listing!.measured).toMatchObject({ heartbeats: 1 })
  expect(await client.seller(seller.peer)).toMatchObject({ record, heartbeat })
  expect((await client.models()).models).toEqual([
    { id: 'qwen3:8b', sellers: 1, live: 1, minIn: 100_000n, minOut: 100_000n, maxContext: 32_768 },
  ])
  expect(await client.stats()).toMatchObject({ live: 1, stale: 0, models: 1, network: 'eip155:31337' })
})

test('a registry that lost its memory asks for the record and has all of it again', async () => {
  await using before = await startRegistry()
  const seller = announcedSeller(2)
  const record = seller.record()
  await before.client.register(record, seller.binding)
  const { port } = before.node
  await before.node[Symbol.asyncDispose]()

  await using after = await startRegistry({ listen: { host: '127.0.0.1', port } })
  expect(await after.client.heartbeat(seller.heartbeat())).toEqual({ status: 'need_record' })
  expect(await after.client.register(record, seller.binding)).toEqual({ status: 'ok' })
  expect(await after.client.heartbeat(seller.heartbeat())).toEqual({ status: 'ok' })
  expect((await after.client.sellers())!.listings).toHaveLength(1)
})

test('a heartbeat that belongs to a newer record asks for that record', async () => {
  await using registry = await startRegistry()
  const seller = announcedSeller(3)
  await registry.client.register(seller.record(), seller.binding)
  const dearer = seller.record({ models: [modelOf('qwen3:8b', 200_000n)] })
  const beat = seller.heartbeat()
  expect(await registry.client.heartbeat(beat)).toEqual({ status: 'need_record' })
  await registry.client.register(dearer, seller.binding)
  expect(await registry.client.heartbeat(beat)).toEqual({ status: 'ok' })
})

test('a process whose key another took over is told so, and neither its heartbeat nor its goodbye counts', async () => {
  let nowMs = 1_900_000_000_000
  await using registry = await startRegistry({ now: () => nowMs })
  const { client } = registry
  const seller = announcedSeller(14, nowMs)
  const old = seller.record()
  await client.register(old, seller.binding)
  const young = seller.record()
  await client.register(young, seller.binding)
  const superseded = { status: 'superseded', seq: young.seq }
  nowMs += 30_000
  expect(await client.heartbeat(seller.heartbeat({ recordSeq: old.seq }))).toEqual(superseded)
  expect(await client.heartbeat(seller.heartbeat({ recordSeq: old.seq, leaving: true }))).toEqual(superseded)
  expect(await client.seller(seller.peer)).toMatchObject({
    record: young,
    heartbeat: null,
    state: 'live',
    lastSeenMs: nowMs - 30_000,
  })
  expect(await client.heartbeat(seller.heartbeat())).toEqual({ status: 'ok' })
})

test('of two records of one seller the newer stays, whichever comes last', async () => {
  await using registry = await startRegistry()
  const { client } = registry
  const seller = announcedSeller(4)
  const old = seller.record()
  const young = seller.record({ models: [modelOf('llama3', 5n)] })
  await client.register(young, seller.binding)
  expect(await client.register(old, seller.binding)).toEqual({
    status: 'refused',
    reason: 'rollback',
    lastSeq: young.seq,
  })
  expect((await client.sellers())!.listings.map(({ record }) => record)).toEqual([young])
  expect((await client.sellers({ model: 'qwen3:8b' }))!.listings).toEqual([])
})

test('the same record again is no fault and no sign of life', async () => {
  let nowMs = 1_900_000_000_000
  await using registry = await startRegistry({ now: () => nowMs })
  const { client } = registry
  const seller = announcedSeller(5, nowMs)
  const record = seller.record()
  await client.register(record, seller.binding)
  nowMs += 60_000
  expect(await client.register(record, seller.binding)).toEqual({ status: 'ok' })
  expect((await client.sellers())!.listings[0]!.lastSeenMs).toBe(nowMs - 60_000)
})

test('a silent seller is stale after 90 s, gone when its record expires, and live again with a heartbeat', async () => {
  const startMs = 1_900_000_000_000
  let nowMs = startMs
  await using registry = await startRegistry({ now: () => nowMs })
  const { client, node } = registry
  const seller = announcedSeller(6, nowMs)
  const record = seller.record()
  await client.register(record, seller.binding)

  nowMs += 90_000
  node.index.sweep()
  expect((await client.sellers())!.listings).toEqual([])
  expect((await client.sellers({ stale: true }))!.listings).toMatchObject([{ state: 'stale' }])
  expect((await client.models()).models).toMatchObject([{ sellers: 1, live: 0, minIn: null }])

  nowMs += 10_000
  await client.heartbeat(seller.heartbeat({}, { seq: nowMs }))
  const [again] = (await client.sellers())!.listings
  expect(again).toMatchObject({ state: 'live', measured: { uptime: 0.9 } })

  nowMs = (record.expSec + 120) * 1_000
  node.index.sweep()
  expect((await client.sellers({ stale: true }))!.listings).toEqual([])
  expect(await client.seller(seller.peer)).toBeNull()
})

test('a seller that says goodbye is gone at once, and its old record does not bring it back', async () => {
  await using registry = await startRegistry()
  const { client } = registry
  const seller = announcedSeller(7)
  const record = seller.record()
  await client.register(record, seller.binding)
  const { version } = (await client.sellers())!
  expect(await client.heartbeat(seller.heartbeat({ leaving: true }))).toEqual({ status: 'ok' })
  expect((await client.sellers({ stale: true }))!.listings).toEqual([])
  expect((await client.sellers({ since: version }))!.gone).toEqual([seller.peer])
  await client.register(record, seller.binding)
  expect((await client.sellers({ stale: true }))!.listings).toEqual([])
  await client.register(seller.record(), seller.binding)
  expect((await client.sellers())!.listings).toHaveLength(1)
})

test('what others could have made up is refused, each with its reason', async () => {
  await using registry = await startRegistry()
  const { client, url } = registry
  const seller = announcedSeller(8)
  const other = announcedSeller(9)
  const nowMs = Date.now()
  const send = async (record: unknown, binding: unknown = seller.binding) => {
    const reply = await fetch(`${url}/v1/sellers`, {
      method: 'POST',
      body: JSON.stringify({ record, binding }),
    })
    return { ...((await reply.json()) as object), status: reply.status }
  }
  const plain = (record: Parameters<typeof encodeRecord>[0]) =>
    JSON.parse(encodeRecord(record)) as { body: Record<string, unknown> }

  const record = plain(seller.record())
  const tampered = { ...record, body: { ...record.body, region: 'moon' } }
  expect(await send(tampered)).toMatchObject({
    status: 422,
    reason: 'forged',
    error: { code: 'record_refused' },
  })
  expect(await send({ ...record, peer: other.peer })).toMatchObject({ reason: 'forged' })
  expect(await send('nonsense')).toMatchObject({ status: 422, reason: 'malformed' })
  expect(await send(plain(seller.heartbeat()))).toMatchObject({ reason: 'wrong_type' })
  const future = seller.record({}, { seq: nowMs + 600_000 })
  expect(await client.register(future, seller.binding)).toMatchObject({ reason: 'future' })
  const past = seller.record({}, { seq: nowMs - 3_600_000 })
  expect(await client.register(past, seller.binding)).toMatchObject({ reason: 'expired' })
  const eternal = seller.record({}, { seq: nowMs, expSec: Math.floor(nowMs / 1_000) + 86_400 })
  expect(await client.register(eternal, seller.binding)).toMatchObject({ reason: 'too_long_lived' })
  expect(await client.register(seller.record(), other.binding)).toMatchObject({ reason: 'binding_other' })
  const forged = { ...seller.binding, signature: other.binding.signature }
  expect(await client.register(seller.record(), forged)).toMatchObject({ reason: 'binding_forged' })
  const elsewhere = seller.record({ networks: ['eip155:8453'] })
  expect(await client.register(elsewhere, seller.binding)).toMatchObject({ reason: 'wrong_network' })
  expect((await client.sellers({ stale: true }))!.listings).toEqual([])
})

test('sellers at private addresses are listed only where that is allowed', async () => {
  await using registry = await startRegistry({ allowPrivate: false })
  const { client } = registry
  const seller = announcedSeller(10)
  for (const url of [
    'http://127.0.0.1:8403',
    'http://10.1.2.3',
    'http://169.254.169.254',
    'http://localhost',
  ])
    expect(await client.register(seller.record({ url }), seller.binding)).toMatchObject({
      reason: 'private_address',
    })
  const hidden = seller.record({ url: 'https://seller.example.com', addrs: ['/ip4/192.168.0.7/tcp/4001'] })
  expect(await client.register(hidden, seller.binding)).toMatchObject({ reason: 'private_address' })
  const open = seller.record({ url: 'https://seller.example.com' })
  expect(await client.register(open, seller.binding)).toEqual({ status: 'ok' })
})

test('clocks two minutes off are tolerated in both directions', async () => {
  await using registry = await startRegistry()
  const { client } = registry
  for (const [number, skewMs] of [
    [11, -115_000],
    [12, 115_000],
  ] as const) {
    const seller = announcedSeller(number, Date.now() + skewMs)
    expect(await client.register(seller.record(), seller.binding)).toEqual({ status: 'ok' })
    expect(await client.heartbeat(seller.heartbeat())).toEqual({ status: 'ok' })
  }
  expect((await client.sellers())!.listings).toHaveLength(2)
})

test('a thousand garbage records do not keep a good one waiting', async () => {
  await using registry = await startRegistry()
  const { client, url } = registry
  const seller = announcedSeller(13)
  await client.register(seller.record(), seller.binding)
  const good = JSON.parse(encodeRecord(seller.heartbeat())) as object
  const garbage = JSON.stringify({
    heartbeats: Array.from({ length: 200 }, (_, n) => ({ ...good, seq: Date.now() + n, signature: 'x' })),
  })
  const flood = Promise.all(
    Array.from({ length: 5 }, () => fetch(`${url}/v1/heartbeats`, { method: 'POST', body: garbage })),
  )
  expect(await client.heartbeat(seller.heartbeat())).toEqual({ status: 'ok' })
  for (const reply of await flood) {
    const { results } = (await reply.json()) as { results: { status: string }[] }
    expect(new Set(results.map(({ status }) => status))).toEqual(new Set(['refused']))
  }
  expect((await client.sellers())!.listings).toHaveLength(1)
})

test('a thousand bad registrations of every kind are refused, each for what it is, and do not hold up a good one', async () => {
  await using registry = await startRegistry()
  const { client, url } = registry
  const seller = announcedSeller(15)
  const good = `{"record":${encodeRecord(seller.record())},"binding":${JSON.stringify(encodeBinding(seller.binding))}}`
  const other = JSON.stringify(encodeBinding(announcedSeller(16).binding))
  const bad = [
    'no json',
    '{"record":null}',
    '{"record":"x","binding":{}}',
    good.replace('"exp":', '"exp":1'),
    good.replace('eu-west', 'on-moon'),
    good.replace(/"binding":.*/, `"binding":${other}}`),
    good.replace(/"signature":"0x..../, '"signature":"0x0000'),
    `{"record":${'['.repeat(7_000)}`,
    'x'.repeat(17_000),
  ]
  const statuses: number[] = []
  const bodies = Array.from({ length: 1_000 }, (_, at) => bad[at % bad.length]!).values()
  const begun = Promise.withResolvers<void>()
  const lane = async () => {
    for (const body of bodies) {
      const { status } = await fetch(`${url}/v1/sellers`, { method: 'POST', body })
      statuses.push(status)
      begun.resolve()
    }
  }
  const flood = Promise.all(Array.from({ length: 20 }, lane))
  await begun.promise
  expect(await client.register(seller.record(), seller.binding)).toEqual({ status: 'ok' })
  expect(statuses.length).toBeLessThan(500)
  await flood
  expect(statuses).toHaveLength(1_000)
  expect(new Set(statuses)).toEqual(new Set([400, 413, 422]))
  expect(await client.stats()).toMatchObject({ live: 1, stale: 0 })
  expect(registry.node.index.counts).toEqual({ live: 1, stale: 0, left: 0 })
})

test('a heartbeat that somebody sends again keeps nobody alive', async () => {
  let nowMs = 1_900_000_000_000
  await using registry = await startRegistry({ now: () => nowMs })
  const { client, node } = registry
  const seller = announcedSeller(17, nowMs)
  await client.register(seller.record(), seller.binding)
  const older = seller.heartbeat()
  const newer = seller.heartbeat()
  await client.heartbeats([older, newer])
  nowMs += 60_000
  expect(await client.heartbeats([older, newer])).toEqual([
    { status: 'refused', reason: 'rollback', lastSeq: newer.seq },
    { status: 'ok' },
  ])
  nowMs += 30_000
  node.index.sweep()
  expect(await client.seller(seller.peer)).toMatchObject({ state: 'stale', lastSeenMs: nowMs - 90_000 })
})

test('an old record that a stranger brings makes nobody alive, and the next heartbeat does', async () => {
  const nowMs = 1_900_000_000_000
  await using registry = await startRegistry({ now: () => nowMs })
  const { client, node } = registry
  const seller = announcedSeller(18, nowMs - 600_000)
  await client.register(seller.record(), seller.binding)
  expect(node.index.counts).toEqual({ live: 0, stale: 1, left: 0 })
  expect((await client.sellers())!.listings).toEqual([])
  await client.heartbeat(seller.heartbeat({}, { seq: nowMs }))
  expect(node.index.counts).toEqual({ live: 1, stale: 0, left: 0 })
})

test('who asks too often is told when to come back', async () => {
  await using registry = await startRegistry({ requestsPerSec: 1, now: () => 1_900_000_000_000 })
  const remaining: (string | null)[] = []
  for (let asked = 0; asked < 5; asked += 1) {
    const reply = await fetch(`${registry.url}/v1/models`)
    expect(reply.status).toBe(200)
    remaining.push(reply.headers.get('ratelimit-remaining'))
  }
  expect(remaining).toEqual(['4', '3', '2', '1', '0'])
  const refused = await fetch(`${registry.url}/v1/models`)
  expect(refused.status).toBe(429)
  expect(Object.fromEntries(refused.headers)).toMatchObject({
    'retry-after': '1',
    'ratelimit-limit': '5',
    'ratelimit-remaining': '0',
    'ratelimit-reset': '5',
  })
  expect((await fetch(`${registry.url}/healthz`)).status).toBe(200)
  await using client = openRegistryClient(registry.url)
  await expect(client.stats()).rejects.toMatchObject({
    code: 'rate_limit_exceeded',
    details: { retryAfterSec: 1 },
  })
})

test('behind a proxy each client has its own allowance, by the address that the proxy wrote', async () => {
  const scarce = { requestsPerSec: 1, now: () => 1_900_000_000_000 }
  await using proxied = await startRegistry({ ...scarce, trustForwarded: true })
  await using open = await startRegistry(scarce)
  const remaining = async ({ url }: { url: string }, forwarded: string) => {
    const reply = await fetch(`${url}/v1/models`, { headers: { 'x-forwarded-for': forwarded } })
    return reply.headers.get('ratelimit-remaining')
  }
  expect(await remaining(proxied, '192.0.2.1')).toBe('4')
  expect(await remaining(proxied, '203.0.113.9, 192.0.2.1')).toBe('3')
  expect(await remaining(proxied, '192.0.2.2')).toBe('4')
  expect(await remaining(open, '192.0.2.1')).toBe('4')
  expect(await remaining(open, '192.0.2.2')).toBe('3')
})

test('bodies over the limit, unknown routes and unknown filters are refused with a reason', async () => {
  await using registry = await startRegistry()
  const { url } = registry
  const big = await fetch(`${url}/v1/sellers`, { method: 'POST', body: 'x'.repeat(20_000) })
  expect(big.status).toBe(413)
  const refused: [path: string, method: string, allowed: string][] = [
    ['/v1/sellers', 'DELETE', 'GET, HEAD, POST'],
    ['/v1/heartbeats', 'GET', 'POST'],
    [`/v1/sellers/${announcedSeller(19).peer}`, 'PUT', 'GET, HEAD'],
    ['/healthz', 'POST', 'GET, HEAD'],
  ]
  for (const [path, method, allowed] of refused) {
    const { status, headers } = await fetch(url + path, { method })
    expect([path, status, headers.get('allow')]).toEqual([path, 405, allowed])
  }
  expect((await fetch(`${url}/v2`)).status).toBe(404)
  const queries = ['modle=x', 'limit=0', 'limit=501', 'max_price=-1', 'direct=yes', 'cursor=zzz', 'wait=31']
  const replies = await Promise.all(queries.map((query) => fetch(`${url}/v1/sellers?${query}`)))
  expect(replies.map(({ status }) => status)).toEqual(queries.map(() => 400))
})
