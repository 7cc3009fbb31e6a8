import { afterEach, expect, test, vi } from 'vitest'
import { announcedSeller, network, type AnnouncedSeller } from '../../test/fixtures/announced-seller.ts'
import { OpenSeedError } from '../base/errors.ts'
import { openDigests } from '../wire/digests.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { openDhtFeed, type DhtFeed, type DhtFeedParts } from './dht-feed.ts'
import type { SellerNews } from './seller-news.ts'
import { patient } from '../../test/fixtures/patient.ts'

const feeds: DhtFeed[] = []
afterEach(async () => {
  for (const feed of feeds.splice(0)) await feed[Symbol.asyncDispose]()
})

type FakeDht = NonNullable<Awaited<ReturnType<DhtFeedParts['dht']>>>

/** A DHT of a table: who is listed under which model, and what each says. */
function dhtOf(
  listed: Record<string, AnnouncedSeller[]>,
  bindings?: Map<PeerId, AnnouncedSeller['binding']>,
) {
  const asked: string[] = []
  const all = new Map(
    Object.values(listed)
      .flat()
      .map((seller) => [seller.peer, seller]),
  )
  const dht: FakeDht = {
    async findSellers(model) {
      asked.push(model)
      return (listed[model] ?? []).map(({ peer }) => peer)
    },
    async getSeller(peer) {
      const seller = all.get(peer)
      if (seller === undefined) return null
      const document = seller.record()
      return { document, holders: 1, url: document.body.url, addrs: [], binding: null }
    },
    async getBinding(peer) {
      const document = bindings?.get(peer) ?? all.get(peer)?.binding
      return document === undefined ? null : { document, holders: 1 }
    },
  }
  return { dht, asked }
}

function feedOver(dht: FakeDht | null, more: Partial<DhtFeedParts> = {}) {
  const found: SellerNews[] = []
  const states: (OpenSeedError | null)[] = []
  const clock = { nowMs: Date.now() }
  const feed = openDhtFeed({
    dht: async () => dht,
    isNeeded: () => true,
    digests: openDigests(network),
    onFound: async (news) => found.push(...news) && news.length,
    onState: (error) => states.push(error),
    now: () => clock.nowMs,
    ...more,
  })
  feeds.push(feed)
  return { feed, found, states, clock, peers: () => found.map(({ record }) => record.peer) }
}

const [a, b, c] = [1, 2, 3].map((number) => announcedSeller(number)) as [
  AnnouncedSeller,
  AnnouncedSeller,
  AnnouncedSeller,
]

test('everybody who is listed is found without being asked for, and a model once it is', async () => {
  const { dht, asked } = dhtOf({ '*': [a], m: [b] })
  const { feed, peers, found } = feedOver(dht)
  await vi.waitUntil(() => found.length === 1, patient)
  await feed.look('m')
  expect(peers()).toEqual([a.peer, b.peer])
  expect(found[1]?.binding).toEqual(b.binding)
  await feed.look('m')
  expect(asked).toEqual(['*', 'm'])
})

test('a model that nobody sells is not looked for again at once, but after a while', async () => {
  const { dht, asked } = dhtOf({})
  const { feed, clock } = feedOver(dht)
  await feed.look('m')
  await feed.look('m')
  expect(asked.filter((model) => model === 'm')).toHaveLength(1)
  clock.nowMs += 6_000
  await feed.look('m')
  expect(asked.filter((model) => model === 'm')).toHaveLength(2)
})

test('while the DHT is not needed nobody is asked and nobody waits', async () => {
  const { dht, asked } = dhtOf({ m: [a] })
  let isNeeded = false
  const { feed, peers } = feedOver(dht, { isNeeded: () => isNeeded })
  await feed.look('m')
  expect(asked).toEqual([])
  isNeeded = true
  await feed.look('m')
  expect(peers()).toEqual([a.peer])
})

test('a binding that is not the one the record names is not passed on', async () => {
  const { dht } = dhtOf({ m: [a, b] }, new Map([[a.peer, c.binding]]))
  const { feed, peers } = feedOver(dht)
  await feed.look('m')
  expect(peers()).toEqual([b.peer])
})

test('what keeps it from the DHT is told, and that it is over', async () => {
  const { dht } = dhtOf({})
  const gone = new OpenSeedError('dht_unreachable', { message: 'nobody' })
  let isGone = true
  const parts: Partial<DhtFeedParts> = {
    dht: async () => {
      if (isGone) throw gone
      return dht
    },
  }
  const { feed, states } = feedOver(dht, parts)
  await feed.look('m')
  expect(states).toContain(gone)
  isGone = false
  await feed.look('other')
  expect(states.at(-1)).toBeNull()
})

test('without a way into the DHT a look ends at once', async () => {
  const { feed, states } = feedOver(null)
  await feed.look('m')
  expect(states).not.toContainEqual(expect.anything())
})

test('however many models are asked for, it keeps looking for a bounded number of them', async () => {
  const { dht, asked } = dhtOf({})
  const { feed, clock } = feedOver(dht)
  for (let n = 0; n < 200; n += 1) await feed.look(`m${n}`)
  asked.length = 0
  clock.nowMs += 3_600_000
  await vi.waitUntil(() => asked.length >= 63, patient)
  expect(asked).not.toContain('m0')
  expect(asked).toContain('m199')
  expect(asked.length).toBeLessThanOrEqual(64)
})
