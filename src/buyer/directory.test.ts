import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, test, vi } from 'vitest'
import { announcedSeller, network } from '../../test/fixtures/announced-seller.ts'
import { testDigests } from '../../test/fixtures/buyer-market.ts'
import { silentLog } from '../base/log.ts'
import type { RegistryFeed, RegistryNews } from '../net/registry-feed.ts'
import { curve } from '../wire/curve.ts'
import { openDirectory } from './directory.ts'

const open = (feedOf: () => Promise<RegistryNews>) => {
  const feed: RegistryFeed = { url: 'https://one.example', next: feedOf, close: async () => undefined }
  return openDirectory({
    network,
    allowPrivate: true,
    allowPlainHttp: true,
    digests: testDigests,
    curve,
    onChange: () => undefined,
    load: async () => null,
    save: async () => undefined,
    now: Date.now,
    log: silentLog,
  }).then((directory) => {
    directory.add(feed)
    return directory
  })
}
const nothing = { listings: [], gone: [], refused: 0, isPartial: false }

test('a registry that always has more to tell keeps nobody waiting, and is not asked without end', async () => {
  let asked = 0
  const directory = await open(async () => {
    asked += 1
    return { ...nothing, isPartial: true }
  })
  await directory.settled()
  const before = asked
  for (let turn = 0; turn < 100; turn += 1) await nextTurn()
  expect(asked - before).toBeLessThan(2)
  await directory.close()
})

test('what is new is asked for every few seconds, also where many sellers are known', async () => {
  const listings = Array.from({ length: 250 }, (_, number) => {
    const seller = announcedSeller(number + 1)
    return {
      record: seller.record(),
      binding: seller.binding,
      heartbeat: null,
      lastSeenMs: Date.now(),
      state: 'live' as const,
      measured: { by: seller.peer, sinceMs: 0, uptime: 1, heartbeats: 1 },
    }
  })
  const askedAtMs: number[] = []
  const directory = await open(async () => {
    askedAtMs.push(performance.now())
    return { ...nothing, listings: askedAtMs.length === 1 ? listings : [] }
  })
  await directory.settled()
  expect(directory.find(listings[249]!.record.peer)).not.toBeNull()
  await vi.waitUntil(() => askedAtMs.length >= 2, { timeout: 5000 })
  await directory.close()
})
