import { afterEach, describe, expect, test, vi } from 'vitest'
import { nodeKey, recordModel } from '../../test/fixtures/records.ts'
import { testDigests } from '../../test/fixtures/buyer-market.ts'
import { OpenSeedError } from '../base/errors.ts'
import { silentLog } from '../base/log.ts'
import { curve } from '../wire/curve.ts'
import { bindingCovers, signBinding, type SignedBinding } from '../wire/peer-binding.ts'
import { encodeRecord, type HeartbeatRecord, type SellerRecord } from '../wire/record.ts'
import { catalogHash, catalogText } from '../wire/seller-record.ts'
import { validateRecord } from '../wire/validate-record.ts'
import { openAnnouncer, type Announcer, type AnnouncerParts, type AnnounceTarget } from './announcer.ts'
import { patient } from '../../test/fixtures/patient.ts'

const walletKey = `0x${'5e'.repeat(32)}` as const
const payTo = curve.addressOf(walletKey)
const key = nodeKey(1)

const profile = {
  payTo,
  authorizer: payTo,
  url: 'https://seller.example.com',
  region: null,
  hardware: null,
  network: 'eip155:31337',
  concurrency: 4,
  maxBodyBytes: 1024,
}

const opened: Announcer[] = []
afterEach(async () => {
  for (const announcer of opened.splice(0)) await announcer.close()
})

/** A registry as a list of what it was told; it judges like a real one. */
class TestRegistry implements AnnounceTarget {
  url = 'https://registry.example'
  records: SellerRecord[] = []
  beats: HeartbeatRecord[] = []
  isDown = false
  isLive = true

  async register(record: SellerRecord, binding: SignedBinding): Promise<void> {
    this.#check(record, this.records.at(-1)?.seq)
    if (!bindingCovers(testDigests, binding, record)) throw new Error('not bound')
    this.records.push(record)
  }

  async heartbeat(beat: HeartbeatRecord): Promise<'ok' | 'need_record' | 'superseded'> {
    this.#check(beat, this.beats.at(-1)?.seq)
    const known = this.records.at(-1)?.seq ?? 0
    if (beat.body.recordSeq < known && beat.body.leaving !== true) return 'superseded'
    this.beats.push(beat)
    return beat.body.recordSeq === known ? 'ok' : 'need_record'
  }

  async latest() {
    if (this.isDown) throw new Error('down')
    const last = this.records.at(-1)
    return last ? { seq: last.seq, isLive: this.isLive } : null
  }

  #check(record: SellerRecord | HeartbeatRecord, lastSeq: number | null = null): void {
    if (this.isDown) throw new OpenSeedError('registry_unreachable', { message: 'down' })
    const verdict = validateRecord(JSON.parse(encodeRecord(record)), { nowSec: Date.now() / 1000, lastSeq })
    if (verdict.ok || verdict.reason === 'replayed') return
    const { reason } = verdict
    throw new OpenSeedError('record_refused', { message: reason, details: { reason } })
  }
}

async function announcer(over: Partial<AnnouncerParts> = {}) {
  const stored: { seq: number | null } = { seq: null }
  const taken: { error: OpenSeedError; atStart: boolean }[] = []
  const now = over.now ?? Date.now
  const nowSec = Math.floor(now() / 1000)
  const signed = signBinding(testDigests, curve, walletKey, {
    peer: key.peerId,
    payTo,
    notBeforeSec: nowSec,
    notAfterSec: nowSec + 3600,
    seq: 1,
  })
  const started = await openAnnouncer({
    key,
    profile,
    models: () => [recordModel()],
    addrs: () => [],
    slots: { taken: 1, limit: 4 },
    load: () => ({ tps: 41.5, warm: ['llama-3.3-70b'] }),
    binding: async () => ({ signed, hash: testDigests.peerBinding(signed) }),
    loadSeq: async () => stored.seq,
    saveSeq: async (seq) => (stored.seq = seq),
    takeOver: false,
    onTakenOver: (error, atStart) => taken.push({ error, atStart }),
    now,
    log: silentLog,
    beatEveryMs: () => 10,
    ...over,
  })
  opened.push(started)
  return { announcer: started, stored, taken }
}

test('registers, then sends heartbeats with its load', async () => {
  const registry = new TestRegistry()
  const { announcer: seller, stored } = await announcer()
  seller.add(registry)
  await vi.waitUntil(() => registry.beats.length >= 3, patient)
  expect(registry.records).toHaveLength(1)
  const [record] = registry.records
  expect(record?.body.models).toEqual([recordModel()])
  expect(stored.seq).toBe(record?.seq)
  expect(registry.beats[0]?.body).toEqual({
    running: 1,
    free: 3,
    queued: 0,
    tps: 41.5,
    warm: ['llama-3.3-70b'],
    recordSeq: record?.seq,
  })
})

test('a change is told to every registry at once, not at the next heartbeat', async () => {
  const registries = [new TestRegistry(), new TestRegistry()]
  let models = [recordModel()]
  const { announcer: seller } = await announcer({ models: () => models, beatEveryMs: () => 3_600_000 })
  for (const registry of registries) seller.add(registry)
  await vi.waitUntil(() => registries.every(({ beats }) => beats.length === 1), patient)
  models = [recordModel({ in: 7n })]
  seller.changed()
  await vi.waitUntil(() => registries.every(({ records }) => records.length === 2), patient)
  const [first, second] = registries
  expect(first?.records[1]?.body.models?.[0]?.in).toBe(7n)
  expect(first?.records[1]).toEqual(second?.records[1])
})

test('a registry that lost its memory is told again', async () => {
  const registry = new TestRegistry()
  const { announcer: seller } = await announcer()
  seller.add(registry)
  await vi.waitUntil(() => registry.beats.length >= 1, patient)
  registry.records = []
  await vi.waitUntil(() => registry.records.length === 1, patient)
})

test('a registry that is down is tried until it is back, and the other one hears nothing of it', async () => {
  const [down, up] = [new TestRegistry(), new TestRegistry()]
  down.isDown = true
  const { announcer: seller } = await announcer()
  seller.add(down)
  seller.add(up)
  await vi.waitUntil(() => up.beats.length >= 3, patient)
  expect(down.records).toEqual([])
  down.isDown = false
  await vi.waitUntil(() => down.beats.length >= 1, patient)
  expect(down.records).toEqual(up.records)
})

test('a clean end says goodbye', async () => {
  const registry = new TestRegistry()
  const { announcer: seller } = await announcer({ beatEveryMs: () => 3_600_000 })
  seller.add(registry)
  await vi.waitUntil(() => registry.beats.length === 1, patient)
  await seller.close()
  expect(registry.beats.at(-1)?.body.leaving).toBe(true)
})

test('the sequence goes on rising although the clock went back', async () => {
  const registry = new TestRegistry()
  const nowMs = Date.now()
  const { announcer: seller, stored } = await announcer({ loadSeq: async () => nowMs + 60_000 })
  seller.add(registry)
  await vi.waitUntil(() => registry.beats.length >= 1, patient)
  expect(stored.seq).toBe(nowMs + 60_001)
  expect(registry.records[0]?.seq).toBe(nowMs + 60_001)
})

test('a sequence that a wrong clock left in the far future is not gone on from', async () => {
  const registry = new TestRegistry()
  const { announcer: seller } = await announcer({ loadSeq: async () => Date.now() + 86_400_000 })
  seller.add(registry)
  await vi.waitUntil(() => registry.beats.length >= 1, patient)
  expect(registry.records[0]?.seq).toBeLessThan(Date.now() + 1000)
})

test('a seller whose clock was ahead is announced once the clock is put right, without being started anew', async () => {
  const registry = new TestRegistry()
  const refusals: unknown[] = []
  let aheadMs = 3_600_000
  const log = { ...silentLog, warn: (details: unknown) => void refusals.push(details) }
  const { announcer: seller } = await announcer({ now: () => Date.now() + aheadMs, log })
  seller.add(registry)
  await vi.waitUntil(() => refusals.length === 1, patient)
  aheadMs = 0
  await vi.waitUntil(() => registry.beats.length >= 2, patient)
  expect(registry.records.at(-1)!.seq).toBeLessThanOrEqual(Date.now())
  expect(registry.beats.at(-1)!.seq).toBeLessThanOrEqual(Date.now())
})

test('of two homes with one key the second does not announce', async () => {
  const registry = new TestRegistry()
  const { announcer: first } = await announcer()
  first.add(registry)
  await vi.waitUntil(() => registry.beats.length >= 1, patient)
  const { announcer: second, taken } = await announcer()
  second.add(registry)
  await vi.waitUntil(() => taken.length > 0, patient)
  expect(taken[0]).toMatchObject({ atStart: true, error: { code: 'identity_in_use' } })
  expect(registry.records).toHaveLength(1)
})

test('the second takes over when told so, and the first gives way at its next heartbeat', async () => {
  const registry = new TestRegistry()
  const { announcer: first, taken } = await announcer()
  first.add(registry)
  await vi.waitUntil(() => registry.beats.length >= 1, patient)
  const { announcer: second } = await announcer({ takeOver: true })
  second.add(registry)
  await vi.waitUntil(() => taken.length === 1, patient)
  expect(taken[0]).toMatchObject({ atStart: false, error: { code: 'identity_in_use' } })
  expect(registry.records).toHaveLength(2)
})

describe('of two homes that only the DHT knows', () => {
  test('the second does not announce', async () => {
    const { announcer: second, taken } = await announcer()
    await second.announced()
    expect(() => second.checkNewest('The DHT', Date.now() - 60_000, null)).toThrow(
      'The DHT hears from another',
    )
    expect(taken).toMatchObject([{ atStart: true, error: { code: 'identity_in_use' } }])
    expect(await second.announced()).toBeNull()
  })

  test('the second takes over when told so, with a record that is newer whatever the clock of the first', async () => {
    const { announcer: second } = await announcer({ takeOver: true })
    const before = (await second.announced())!.record.seq
    second.checkNewest('The DHT', before + 60_000, null)
    const told = (await second.announced())!.record.seq
    expect(told).toBeGreaterThan(before + 60_000)
    // What the first told before it noticed.
    second.checkNewest('The DHT', told - 1, told)
    expect(await second.announced()).not.toBeNull()
    expect(() => second.checkNewest('The DHT', told + 1, told)).toThrow('another')
  })

  test('nobody gives way to its own record, to none, or to one that was not renewed', async () => {
    const nowMs = Date.now()
    const { announcer: seller, taken } = await announcer({ loadSeq: async () => nowMs - 60_000 })
    const own = (await seller.announced())!.record.seq
    for (const seq of [null, own, nowMs - 60_000, nowMs - 90_000]) seller.checkNewest('The DHT', seq, null)
    const { announcer: restored } = await announcer()
    restored.checkNewest('The DHT', nowMs - 8 * 60_000, null)
    expect(taken).toEqual([])
    expect(await restored.announced()).not.toBeNull()
  })
})

test('a home restored from a backup announces once the record of the lost one is stale', async () => {
  const registry = new TestRegistry()
  const { announcer: lost } = await announcer()
  lost.add(registry)
  await vi.waitUntil(() => registry.beats.length >= 1, patient)
  await lost.close()
  registry.isLive = false
  const { announcer: restored } = await announcer({ loadSeq: async () => 5 })
  restored.add(registry)
  await vi.waitUntil(() => registry.records.length === 2, patient)
})

test('more models than a record holds go by the hash of a catalogue', async () => {
  const registry = new TestRegistry()
  const models = Array.from({ length: 200 }, (_, n) => recordModel({ id: `model ${n}` }))
  const { announcer: seller } = await announcer({ models: () => models })
  seller.add(registry)
  await vi.waitUntil(() => registry.records.length === 1, patient)
  expect(registry.records[0]?.body).toMatchObject({
    models: null,
    catalog: {
      hash: catalogHash(catalogText(models)),
      url: 'https://seller.example.com/openseed/v1/catalog',
    },
  })
})

test('a seller without an address is announced, and again when it has one', async () => {
  const registry = new TestRegistry()
  let addrs: string[] = []
  const { announcer: seller } = await announcer({ profile: { ...profile, url: null }, addrs: () => addrs })
  seller.add(registry)
  expect(seller.isReachable()).toBe(false)
  await vi.waitUntil(() => registry.beats.length > 0, patient)
  expect(registry.records[0]?.body).toMatchObject({ url: null, addrs: [] })
  addrs = ['/ip4/9.9.9.9/tcp/8405']
  seller.changed()
  await vi.waitUntil(() => registry.records.length === 2, patient)
  expect(seller.isReachable()).toBe(true)
  expect(registry.records[1]?.body).toMatchObject({ url: null, addrs })
})

test('addresses give way before models do, and models that are still too many go by their hash', async () => {
  const addrs = Array.from(
    { length: 4 },
    (_, n) => `/ip4/9.9.9.${n}/tcp/8406/p2p/${key.peerId}/p2p-circuit/p2p/${key.peerId}`,
  )
  const bodyOf = async (count: number) => {
    const models = Array.from({ length: count }, (_, n) => recordModel({ id: `model ${n}` }))
    const { announcer: seller } = await announcer({ models: () => models, addrs: () => addrs })
    return (await seller.announced())?.record.body
  }
  expect(await bodyOf(4)).toMatchObject({ addrs, catalog: null })
  expect(await bodyOf(9)).toMatchObject({ addrs: addrs.slice(0, 2), catalog: null })
  expect(await bodyOf(30)).toMatchObject({ addrs, models: null })
})

test('whoever asks often gets the same documents', async () => {
  const { announcer: seller } = await announcer()
  const first = await seller.announced()
  expect(first?.heartbeat.body.recordSeq).toBe(first?.record.seq)
  expect(await seller.announced()).toEqual(first)
  seller.changed()
  const second = await seller.announced()
  expect(second?.record.seq).toBeGreaterThan(first?.record.seq ?? 0)
  expect(second?.heartbeat.body.recordSeq).toBe(second?.record.seq)
})

test('names of loaded models that would not fit into a heartbeat are left out', async () => {
  const warm = Array.from({ length: 40 }, (_, n) => `${n} ${'x'.repeat(200)}`)
  const { announcer: seller } = await announcer({ load: () => ({ tps: null, warm }) })
  expect((await seller.announced())?.heartbeat.body.warm).toEqual(warm.slice(0, 2))
})
