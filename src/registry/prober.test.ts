import { expect, test, vi } from 'vitest'
import type { Probe, ProbeOutcome } from '../net/seller-probe.ts'
import { announcedSeller, type AnnouncedSeller } from '../../test/fixtures/announced-seller.ts'
import { listingText } from './entry.ts'
import { afterProbe, measuredHealth, type Health } from './health.ts'
import { openProber } from './prober.ts'
import { SellerIndex } from './seller-index.ts'
import { patient } from '../../test/fixtures/patient.ts'

const startMs = 1_900_000_000_000
const answered: ProbeOutcome = { kind: 'answered', via: 'url', rttMs: 20 }

function indexOf(sellers: readonly AnnouncedSeller[], now: () => number): SellerIndex {
  const index = new SellerIndex({ now, epoch: 'e' })
  for (const seller of sellers) index.upsert(seller.record(), seller.binding, { from: null, seenMs: now() })
  return index
}

test('every live seller is asked, none twice within its rest, and what came of it is told with the name of who says so', async () => {
  let nowMs = startMs
  const sellers = [1, 2, 3].map((number) => announcedSeller(number, startMs))
  const index = indexOf(sellers, () => nowMs)
  const asked: string[] = []
  let looks = 0
  const now = () => {
    looks += 1
    return nowMs
  }
  const probe: Probe = ({ peer }) => {
    asked.push(peer)
    return Promise.resolve(answered)
  }
  await using _prober = openProber({ index, probe, now, perSec: 1_000, everyMs: 60 })
  await vi.waitFor(() => expect(asked).toHaveLength(3), patient)
  nowMs += 59
  const before = looks
  await vi.waitFor(() => expect(looks).toBeGreaterThan(before + 2 * sellers.length), patient)
  expect(asked).toHaveLength(3)
  nowMs += 1
  await vi.waitFor(() => expect(asked).toHaveLength(6), patient)
  expect(asked.slice(3)).toEqual(asked.slice(0, 3))
  const listing = JSON.parse(listingText(index.find(sellers[0]!.peer)!, 'me', nowMs)) as object
  expect(listing).toMatchObject({ measured: { by: 'me', atMs: nowMs, via: 'url', rttMs: 20, success: 1 } })
})

test('silent sellers are not asked, and one that is spared is neither praised nor blamed', async () => {
  let nowMs = startMs
  const [silent, spared] = [announcedSeller(1, startMs), announcedSeller(2, startMs)] as const
  const index = indexOf([silent], () => nowMs)
  nowMs += 90_000
  index.sweep()
  index.upsert(spared.record(), spared.binding, { from: null, seenMs: nowMs })
  const asked: string[] = []
  const probe: Probe = ({ peer }) => {
    asked.push(peer)
    return Promise.resolve({ kind: 'spared' })
  }
  await using _prober = openProber({ index, probe, now: () => nowMs, perSec: 1_000, everyMs: 60 })
  await vi.waitFor(() => expect(asked).toEqual([spared.peer]), patient)
  expect(index.find(spared.peer)!.health).toBeNull()
})

test('no more than 64 questions wait at a time, and a probe that fails by itself stops nothing', async () => {
  const sellers = Array.from({ length: 80 }, (_, number) => announcedSeller(number, startMs))
  const index = indexOf(sellers, () => startMs)
  const waiting: (() => void)[] = []
  const probe: Probe = () => new Promise((_, reject) => waiting.push(() => reject(new Error('odd'))))
  {
    await using _prober = openProber({ index, probe, now: () => startMs, perSec: 100_000, everyMs: 60 })
    await vi.waitFor(() => expect(waiting).toHaveLength(64), patient)
    await new Promise((resolve) => setImmediate(resolve))
    expect(waiting).toHaveLength(64)
    for (const fail of waiting) fail()
    await vi.waitFor(() => expect(waiting).toHaveLength(80), patient)
    for (const fail of waiting) fail()
  }
})

test('success fades: what is half a day old counts half, and a round trip is only told while answers come', () => {
  const hourMs = 3_600_000
  let health: Health | null = null
  const at = (hours: number, outcome: Exclude<ProbeOutcome, { kind: 'spared' }>) => {
    health = afterProbe(health, outcome, startMs + hours * hourMs)
    return measuredHealth(health)
  }
  expect(at(0, { kind: 'silent' })).toEqual({ atMs: startMs, success: 0 })
  expect(at(12, { kind: 'answered', via: 'url', rttMs: 10 })).toMatchObject({ success: 0.667, rttMs: 10 })
  expect(at(12, { kind: 'answered', via: 'url', rttMs: 20 })).toMatchObject({ success: 0.8, rttMs: 13 })
  expect(at(12, { kind: 'answered', via: 'p2p', rttMs: 90 })).toMatchObject({ via: 'p2p', rttMs: 90 })
  expect(at(12, { kind: 'silent' })).not.toHaveProperty('rttMs')
  expect(at(12 * 20, { kind: 'silent' }).success).toBeLessThan(0.001)
})
