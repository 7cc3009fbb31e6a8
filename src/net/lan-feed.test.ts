import { Readable } from 'node:stream'
import { afterEach, expect, test, vi } from 'vitest'
import { announcedSeller, type AnnouncedSeller } from '../../test/fixtures/announced-seller.ts'
import { silentLog } from '../base/log.ts'
import { encodeBinding } from '../wire/peer-binding.ts'
import { encodeRecord } from '../wire/record.ts'
import { openLanFeed, type LanFeed } from './lan-feed.ts'
import type { PeerTarget } from './p2p/open-host.ts'
import type { SellerNews } from './seller-news.ts'
import { patient } from '../../test/fixtures/patient.ts'

const feeds: LanFeed[] = []
afterEach(async () => {
  for (const feed of feeds.splice(0)) await feed[Symbol.asyncDispose]()
})

const seller = announcedSeller(1)
const other = announcedSeller(2)
const addrs = ['/ip4/192.168.1.7/tcp/8405']
const answerOf = (one: AnnouncedSeller) => {
  const binding = JSON.stringify(encodeBinding(one.binding))
  return `{"record":${encodeRecord(one.record())},"binding":${binding},"heartbeat":${encodeRecord(one.heartbeat())}}`
}

function feedWith(answer: () => string, status = 200) {
  const found: SellerNews[] = []
  const asked: PeerTarget[] = []
  const closed = vi.fn<() => Promise<void>>(async () => {})
  const clock = { nowMs: Date.now() }
  const feed = openLanFeed({
    clientOf(target) {
      asked.push(target)
      return {
        request: async () => ({ status, headers: {}, body: Readable.from([Buffer.from(answer())]) }),
        close: closed,
      }
    },
    onFound: async (news) => void found.push(...news),
    now: () => clock.nowMs,
    log: silentLog,
  })
  feeds.push(feed)
  return { feed, found, asked, closed, clock }
}

test('a neighbour is asked what it sells, and is found where it was met', async () => {
  const { feed, found, asked, closed } = feedWith(() => answerOf(seller))
  feed.met({ peer: seller.peer, addrs })
  feed.met({ peer: seller.peer, addrs })
  await vi.waitUntil(() => found.length === 1, patient)
  expect(found[0]).toMatchObject({ record: { peer: seller.peer }, binding: seller.binding, metAt: addrs })
  expect(found[0]?.heartbeat?.body.free).toBe(3)
  expect(asked).toHaveLength(1)
  await vi.waitUntil(() => closed.mock.calls.length === 1, patient)
})

test('it is asked again a minute later, so that its record does not run out', async () => {
  const { feed, found, clock } = feedWith(() => answerOf(seller))
  feed.met({ peer: seller.peer, addrs })
  await vi.waitUntil(() => found.length === 1, patient)
  clock.nowMs += 61_000
  feed.met({ peer: seller.peer, addrs })
  await vi.waitUntil(() => found.length === 2, patient)
})

test.each([
  ['says it is somebody else', () => answerOf(other), 200],
  ['is no seller', () => 'not found', 404],
  ['talks nonsense', () => '{"record":{}}', 200],
  ['sends too much', () => 'x'.repeat(100_000), 200],
])('a neighbour that %s is left alone', async (_name, answer, status) => {
  const { feed, found, closed } = feedWith(answer, status)
  feed.met({ peer: seller.peer, addrs })
  await vi.waitUntil(() => closed.mock.calls.length === 1, patient)
  expect(found).toEqual([])
})
