/** How a registry answers who sells what: order, filters, pages, and only what is new. */
import { expect, test } from 'vitest'
import { announcedSeller, modelOf, type AnnouncedSeller } from '../fixtures/announced-seller.ts'
import { startRegistry, type TestRegistry } from '../fixtures/registry.ts'

const model = 'qwen3:8b'

async function list(
  { client }: TestRegistry,
  prices: readonly bigint[],
  first = 100,
): Promise<AnnouncedSeller[]> {
  const sellers = prices.map((_, at) => announcedSeller(first + at))
  for (const [at, seller] of sellers.entries())
    await client.register(seller.record({ models: [modelOf(model, prices[at]!)] }), seller.binding)
  return sellers
}

test('sellers of a model come cheapest first, page after page, each once', async () => {
  await using registry = await startRegistry()
  const prices = [9n, 3n, 7n, 1n, 5n, 3n, 8n]
  await list(registry, prices)
  const seen: bigint[] = []
  const peers = new Set<string>()
  let cursor: string | null = null
  do {
    const page = await registry.client.sellers({ model, limit: 3, ...(cursor !== null && { cursor }) })
    for (const { record } of page!.listings) {
      seen.push(record.body.models![0]!.in)
      peers.add(record.peer)
    }
    cursor = page!.next
    expect(page!.more).toBe(cursor !== null)
  } while (cursor !== null)
  expect(seen).toEqual(prices.toSorted((a, b) => Number(a - b)))
  expect(peers.size).toBe(prices.length)
})

test('each filter leaves out what it says and nothing else', async () => {
  await using registry = await startRegistry()
  const { client } = registry
  const terms = [
    { models: [modelOf(model, 10n)] },
    { models: [modelOf(model, 20n, { ctx: 131_072 })] },
    { models: [modelOf(model, 30n, { in: 60n, out: 5n })], region: 'us-east' },
    { models: [modelOf(model, 40n), modelOf('llama3', 2n)], url: null, addrs: ['/ip4/10.0.0.1/tcp/1'] },
  ]
  const sellers = terms.map((_, at) => announcedSeller(200 + at))
  for (const [at, seller] of sellers.entries())
    await client.register(seller.record(terms[at]), seller.binding)
  const found = async (query: Parameters<typeof client.sellers>[0]) =>
    (await client.sellers(query))!.listings
      .map(({ record }) => sellers.findIndex(({ peer }) => peer === record.peer))
      .toSorted((a, b) => a - b)

  expect(await found({ model })).toEqual([0, 1, 2, 3])
  expect(await found({ model: 'llama3' })).toEqual([3])
  expect(await found({ model: 'none' })).toEqual([])
  expect(await found({ model, maxPrice: 20n })).toEqual([0, 1])
  expect(await found({ model, maxIn: 40n })).toEqual([0, 1, 3])
  expect(await found({ model, maxOut: 10n })).toEqual([0, 2])
  expect(await found({ model, minContext: 100_000 })).toEqual([1])
  expect(await found({ model, region: 'us-east' })).toEqual([2])
  expect(await found({ model, direct: true })).toEqual([0, 1, 2])
  expect(await found({ maxOut: 2n })).toEqual([3])
  expect(await found({})).toEqual([0, 1, 2, 3])
})

test('models are listed by name with the best of their live sellers, in pages', async () => {
  await using registry = await startRegistry()
  const { client, url } = registry
  const one = announcedSeller(250)
  const two = announcedSeller(251)
  await client.register(
    one.record({ models: [modelOf('a', 5n), modelOf('b', 6n, { ctx: 1_000 })] }),
    one.binding,
  )
  await client.register(two.record({ models: [modelOf('b', 4n), modelOf('c', 1n)] }), two.binding)
  expect((await client.models()).models).toMatchObject([
    { id: 'a', sellers: 1, live: 1, minIn: 5n },
    { id: 'b', sellers: 2, live: 2, minIn: 4n, maxContext: 32_768 },
    { id: 'c', sellers: 1 },
  ])
  const page = (await (await fetch(`${url}/v1/models?limit=2`)).json()) as { next: string }
  expect(page.next).toBe('b')
  expect(await client.models('b')).toMatchObject({ models: [{ id: 'c' }], next: null })
})

test('what did not change is not sent twice', async () => {
  await using registry = await startRegistry()
  const { client } = registry
  const [seller] = await list(registry, [1n])
  const { etag } = (await client.sellers({ model }))!
  expect(await client.sellers({ model, etag: etag! })).toBeNull()
  const other = announcedSeller(300)
  await client.register(other.record({ models: [modelOf('llama3', 1n)] }), other.binding)
  expect(await client.sellers({ model, etag: etag! })).toBeNull()
  await client.heartbeat(seller!.heartbeat())
  expect((await client.sellers({ model, etag: etag! }))!.listings).toHaveLength(1)
})

test('a condition holds for any of its tags, weak or not, and for everything there is', async () => {
  await using registry = await startRegistry()
  await list(registry, [1n])
  const target = `${registry.url}/v1/sellers?model=${model}`
  const tag = (await fetch(target)).headers.get('etag')!
  expect(tag).toMatch(/^W\/"[^"]+"$/)
  for (const condition of [tag, tag.slice(2), `"other", ${tag}`, `W/"other",${tag.slice(2)}`, '*']) {
    const reply = await fetch(target, { headers: { 'if-none-match': condition } })
    expect([condition, reply.status, await reply.text()]).toEqual([condition, 304, ''])
  }
  expect((await fetch(target, { headers: { 'if-none-match': '"other"' } })).status).toBe(200)
})

test('an answer to nonsense is no longer than it has to be', async () => {
  await using registry = await startRegistry()
  const reply = await fetch(`${registry.url}/v1/sellers?${'x'.repeat(7_000)}=1`)
  expect(reply.status).toBe(400)
  expect((await reply.text()).length).toBeLessThan(1_000)
})

test('HEAD tells what GET would, without the body', async () => {
  await using registry = await startRegistry()
  await list(registry, [1n])
  for (const path of ['/v1/sellers?model=none', '/v1/models', '/healthz']) {
    const whole = await fetch(registry.url + path)
    const head = await fetch(registry.url + path, { method: 'HEAD' })
    const length = String((await whole.text()).length)
    expect([path, head.status, head.headers.get('content-length'), await head.text()]).toEqual([
      path,
      200,
      length,
      '',
    ])
  }
})

test('since a version only changes come: the new, the changed, and who is gone', async () => {
  await using registry = await startRegistry()
  const { client } = registry
  const [stays, changes, drops, leaves] = await list(registry, [1n, 2n, 3n, 4n])
  const { version: since } = (await client.sellers({ model }))!
  expect(await client.sellers({ model, since })).toMatchObject({ listings: [], gone: [], version: since })

  await client.register(changes!.record({ models: [modelOf(model, 7n)] }), changes!.binding)
  await client.register(drops!.record({ models: [modelOf('llama3', 1n)] }), drops!.binding)
  await client.heartbeat(leaves!.heartbeat({ leaving: true }))
  const news = (await client.sellers({ model, since }))!
  expect(news.listings.map(({ record }) => record.peer)).toEqual([changes!.peer])
  expect(news.gone.toSorted()).toEqual([drops!.peer, leaves!.peer].toSorted())
  expect(news.gone).not.toContain(stays!.peer)

  const after = (await client.sellers({ model, since: news.version }))!
  expect(after).toMatchObject({ listings: [], gone: [], reset: false })
})

test('many changes come in pieces that continue where the last one ended', async () => {
  await using registry = await startRegistry()
  const { client } = registry
  const { version } = (await client.sellers())!
  const sellers = await list(registry, [1n, 2n, 3n, 4n, 5n])
  const seen: string[] = []
  let since = version
  for (let more = true; more;) {
    const page = (await client.sellers({ since, limit: 2 }))!
    seen.push(...page.listings.map(({ record }) => record.peer))
    since = page.version
    more = page.more
  }
  expect(seen).toEqual(sellers.map(({ peer }) => peer))
})

test('a version of another run begins the whole list', async () => {
  await using registry = await startRegistry()
  await list(registry, [1n, 2n])
  const page = await registry.client.sellers({ since: '0123456789ab-7', waitSec: 10 })
  expect(page).toMatchObject({ reset: true, gone: [] })
  expect(page!.listings).toHaveLength(2)
})

test('who waits for news has them as soon as there are some', async () => {
  await using registry = await startRegistry()
  const { client } = registry
  const [seller] = await list(registry, [1n])
  const { version: since } = (await client.sellers({ model }))!
  const news = client.sellers({ model, since, waitSec: 30 })
  // Load alone is no news: this one does not end the wait.
  await client.heartbeat(seller!.heartbeat())
  const other = announcedSeller(400)
  const startedAtMs = performance.now()
  await client.register(other.record(), other.binding)
  const page = (await news)!
  expect(performance.now() - startedAtMs).toBeLessThan(15_000)
  expect(page.listings.map(({ record }) => record.peer)).toContain(other.peer)
})
