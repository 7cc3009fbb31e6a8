import { afterEach, expect, test, vi } from 'vitest'
import { announcedSeller } from '../../test/fixtures/announced-seller.ts'
import { silentLog } from '../base/log.ts'
import type { PutOutcome } from '../net/p2p/open-host.ts'
import type { SellerRecord } from '../wire/record.ts'
import { openDhtAnnouncer, type DhtAnnouncer, type DhtAnnouncerParts } from './dht-announcer.ts'
import { patient } from '../../test/fixtures/patient.ts'

const opened: DhtAnnouncer[] = []
afterEach(async () => {
  for (const announcer of opened.splice(0)) await announcer.close()
})

/** What the network was told, in order. */
class Told implements Pick<DhtAnnouncerParts, 'dht'> {
  records: number[] = []
  bindings = 0
  provided: string[] = []
  withdrawn: string[] = []
  holders = 8
  refusal: Extract<PutOutcome, { ok: false }> | null = null
  failure: Error | null = null

  readonly dht: DhtAnnouncerParts['dht'] = {
    putRecord: async ({ seq }) => this.#put(() => this.records.push(seq)),
    putBinding: async () => this.#put(() => (this.bindings += 1)),
    provide: async (model) => {
      if (this.holders > 0) this.provided.push(model)
      return this.holders
    },
    withdraw: async (model) => void this.withdrawn.push(model),
  }

  #put(note: () => unknown): PutOutcome {
    if (this.failure !== null) throw this.failure
    if (this.refusal !== null) return this.refusal
    if (this.holders > 0) note()
    return { ok: true, holders: this.holders }
  }
}

function start(over: Partial<DhtAnnouncerParts> = {}) {
  const seller = announcedSeller(1)
  const now = { record: seller.record() as SellerRecord | null, models: ['a', 'b'], atMs: 1_000_000 }
  const told = new Told()
  let change = Promise.withResolvers<void>()
  const announcer = openDhtAnnouncer({
    dht: told.dht,
    announced: async () => now.record && { record: now.record, binding: seller.binding },
    models: () => now.models,
    checkAlone: async () => {},
    nextChange: async () => change.promise,
    now: () => now.atMs,
    log: silentLog,
    ...over,
  })
  opened.push(announcer)
  const changed = () => {
    change.resolve()
    change = Promise.withResolvers()
  }
  const whole = (count = 5) => vi.waitUntil(() => announcer.progress().told === count, patient)
  return { announcer, told, now, seller, changed, whole }
}

test('tells the record, the binding, and its name in the directories of its models and of all sellers', async () => {
  const { told, now, whole, announcer } = start()
  await whole()
  expect(told.records).toEqual([now.record?.seq])
  expect(told.bindings).toBe(1)
  expect(told.provided.toSorted()).toEqual(['*', 'a', 'b'])
  expect(announcer.progress()).toEqual({ told: 5, of: 5 })
})

test('a change tells what is new at once and repeats nothing', async () => {
  const { told, now, seller, changed, whole } = start()
  await whole()
  const first = now.record?.seq
  now.record = seller.record()
  now.models = ['a', 'c']
  changed()
  await vi.waitUntil(() => told.provided.includes('c'), patient)
  expect(told.records).toEqual([first, now.record.seq])
  expect(told.bindings).toBe(1)
  expect(told.provided).toHaveLength(4)
  expect(told.withdrawn).toEqual(['b'])
})

test('before a record is told it is asked whether another home has told one, beside the last one told', async () => {
  const asked: (number | null)[] = []
  let isAlone = true
  const { told, now, seller, changed, whole } = start({
    async checkAlone(toldSeq) {
      asked.push(toldSeq)
      if (!isAlone) throw new Error('another home')
    },
  })
  await whole()
  const first = now.record!.seq
  isAlone = false
  now.record = seller.record()
  changed()
  await vi.waitUntil(() => asked.length === 2, patient)
  expect(asked).toEqual([null, first])
  expect(told.records).toEqual([first])
})

test('after ten minutes all of it is told again', async () => {
  const { told, now, changed, whole } = start()
  await whole()
  now.atMs += 599_999
  changed()
  now.atMs += 1
  changed()
  await vi.waitUntil(() => told.provided.length === 6, patient)
  expect(told.bindings).toBe(2)
})

test.each([
  ['nobody is there', (told: Told) => (told.holders = 0)],
  ['holders refuse', (told: Told) => (told.refusal = { ok: false, reason: 'too_often' })],
  ['the network fails', (told: Told) => (told.failure = new Error('broken'))],
])('while %s it goes on trying', async (_, fail) => {
  let asked = 0
  const clock = { atMs: 0 }
  const seller = announcedSeller(1)
  const record = seller.record()
  const told = new Told()
  fail(told)
  const change = Promise.withResolvers<void>()
  const announcer = openDhtAnnouncer({
    dht: told.dht,
    async announced() {
      asked += 1
      return { record, binding: seller.binding }
    },
    models: () => [],
    checkAlone: async () => {},
    nextChange: async () => change.promise,
    now: () => clock.atMs,
    log: silentLog,
  })
  opened.push(announcer)
  await vi.waitUntil(() => asked === 1, patient)
  expect(told.records).toEqual([])
  Object.assign(told, { holders: 8, refusal: null, failure: null })
  change.resolve()
  await vi.waitUntil(() => announcer.progress().told === 3, patient)
  expect(told.records).toEqual([record.seq])
})

test('the first record of a run is told again soon, when those who have one of the run before take it', async () => {
  const { told, now, changed, whole } = start()
  await whole()
  now.atMs += 31_000
  changed()
  await vi.waitUntil(() => told.records.length === 2, patient)
  expect(told.records[1]).toBe(told.records[0])
  now.atMs += 31_000
  now.models = ['c']
  changed()
  await vi.waitUntil(() => told.provided.includes('c'), patient)
  expect(told.records).toHaveLength(2)
  expect(told.bindings).toBe(1)
})

test('what is announced nowhere is not told either', async () => {
  const { told, now, changed, seller, whole } = start({})
  await whole()
  now.record = null
  now.atMs += 600_000
  changed()
  now.record = seller.record()
  expect(told.records).toHaveLength(1)
})

test('a clean end takes its name from every directory', async () => {
  const { announcer, told, whole } = start()
  await whole()
  await announcer.close()
  expect(told.withdrawn.toSorted()).toEqual(['*', 'a', 'b'])
})
