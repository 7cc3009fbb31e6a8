import { setImmediate as nextTurn } from 'node:timers/promises'
import { expect, test, vi } from 'vitest'
import { announcedSeller, network } from '../../test/fixtures/announced-seller.ts'
import { testDigests } from '../../test/fixtures/buyer-market.ts'
import { silentLog } from '../base/log.ts'
import type { RegistryNews } from '../net/registry-feed.ts'
import { curve } from '../wire/curve.ts'
import { openDirectory, type DirectoryOptions } from './directory.ts'
import { patient } from '../../test/fixtures/patient.ts'

const open = (over: Partial<DirectoryOptions> = {}) =>
  openDirectory({
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
    ...over,
  })
const feedOf = (next: () => Promise<RegistryNews>) => ({
  url: 'https://one.example',
  next,
  close: async () => undefined,
})
const nothing = { listings: [], gone: [], refused: 0, isPartial: false }
const seller = announcedSeller(1)
const news = [{ record: seller.record(), binding: seller.binding, heartbeat: null }]

test('sellers that no registry told of are on disk soon, without a clean end', async () => {
  const saved = Promise.withResolvers<string>()
  const directory = await open({ save: async (text) => saved.resolve(text) })
  expect(await directory.take('dht', news)).toBe(1)
  expect(await saved.promise).toContain(seller.record().peer)
  await directory.close()
})

test('what stands on disk in place of the last table is no reason not to start', async () => {
  for (const text of ['{', '{}', '7', '[{},7]', '[null]', '"x"', '']) {
    const directory = await open({ load: async () => text })
    expect(await directory.take('dht', news)).toBe(1)
    await directory.close()
  }
})

test('a registry that always has more to tell keeps nobody waiting, and is not asked without end', async () => {
  let asked = 0
  const directory = await open()
  directory.add(
    feedOf(async () => {
      asked += 1
      return { ...nothing, isPartial: true }
    }),
  )
  await directory.settled()
  const before = asked
  for (let turn = 0; turn < 100; turn += 1) await nextTurn()
  expect(asked - before).toBeLessThan(2)
  await directory.close()
})

test('what is new is asked for every few seconds, also where many sellers are known', async () => {
  const listings = Array.from({ length: 250 }, (_, number) => {
    const one = announcedSeller(number + 1)
    return {
      record: one.record(),
      binding: one.binding,
      heartbeat: null,
      lastSeenMs: Date.now(),
      state: 'live' as const,
      measured: { by: one.peer, sinceMs: 0, uptime: 1, heartbeats: 1 },
    }
  })
  const askedAtMs: number[] = []
  const directory = await open()
  directory.add(
    feedOf(async () => {
      askedAtMs.push(performance.now())
      return { ...nothing, listings: askedAtMs.length === 1 ? listings : [] }
    }),
  )
  await directory.settled()
  expect(directory.find(listings[249]!.record.peer)).not.toBeNull()
  await vi.waitUntil(() => askedAtMs.length >= 2, patient)
  await directory.close()
})
