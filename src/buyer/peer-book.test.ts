import { expect, test, vi } from 'vitest'
import { nodeKey, sellerDraft } from '../../test/fixtures/records.ts'
import { silentLog } from '../base/log.ts'
import { encodeRecord, signRecord, type SellerRecord } from '../wire/record.ts'
import type { KnownSeller } from './announced.ts'
import { openPeerBook, type PeerBookParts } from './peer-book.ts'
import { patient } from '../../test/fixtures/patient.ts'

const startMs = 1_800_000_000_000
const key = nodeKey(1)
const peer = key.peerId
const networks = ['eip155:1']

const recordAt = (port: number, atMs = startMs): SellerRecord =>
  signRecord(key, sellerDraft(atMs, { url: null, addrs: [`/ip4/8.8.8.8/tcp/${port}`], networks }))
const targetAt = (port: number) => ({ url: null, addrs: [`/ip4/8.8.8.8/tcp/${port}`] })
const listedAt = (port: number, atMs?: number): KnownSeller => ({
  record: recordAt(port, atMs),
  heartbeat: null,
  url: `openseed://${peer}`,
  target: targetAt(port),
  metAt: [],
})

function bookWith(parts: Partial<PeerBookParts> = {}) {
  const saved = new Map<string, string>()
  const clock = { nowMs: startMs }
  const lookUp = vi.fn<() => Promise<SellerRecord | null>>(async () => null)
  const book = openPeerBook({
    rules: { network: { caip2: 'eip155:1' }, allowPrivate: false, allowPlainHttp: false },
    find: () => null,
    lookUp,
    load: async (name) => saved.get(name) ?? null,
    save: async (name, text) => saved.set(name, text),
    now: () => clock.nowMs,
    log: silentLog,
    ...parts,
  })
  return { book, saved, clock, lookUp }
}

test('the table comes first, and what it said is remembered', async () => {
  const { book, saved, lookUp } = bookWith({ find: () => listedAt(1) })
  expect(await book.targetOf(peer)).toEqual(targetAt(1))
  await vi.waitUntil(() => saved.get(peer) === encodeRecord(recordAt(1)), patient)
  expect(lookUp).not.toHaveBeenCalled()
})

test('a seller that the table has lost is met where it was met the last time', async () => {
  const { book, lookUp } = bookWith({ load: async () => encodeRecord(recordAt(2)) })
  expect(await book.targetOf(peer)).toEqual(targetAt(2))
  expect(lookUp).not.toHaveBeenCalled()
})

test('while an old place is tried, the next one is looked up', async () => {
  const lookUp = vi.fn<() => Promise<SellerRecord>>(async () => recordAt(3, startMs + 2_000_000))
  const { book, clock } = bookWith({ load: async () => encodeRecord(recordAt(2)), lookUp })
  clock.nowMs += 2_000_000
  expect(await book.targetOf(peer)).toEqual(targetAt(2))
  await vi.waitUntil(() => lookUp.mock.results.length === 1, patient)
  await vi.waitUntil(async () => (await book.targetOf(peer))?.addrs[0]?.endsWith('3'), patient)
  expect(lookUp).toHaveBeenCalledTimes(1)
})

test('whoever is unknown is looked up, by one question at a time and not again at once', async () => {
  const { book, clock, lookUp } = bookWith()
  expect(await Promise.all([book.targetOf(peer), book.targetOf(peer)])).toEqual([null, null])
  expect(await book.targetOf(peer)).toBeNull()
  expect(lookUp).toHaveBeenCalledTimes(1)
  clock.nowMs += 60_000
  lookUp.mockResolvedValueOnce(recordAt(4, startMs + 60_000))
  expect(await book.targetOf(peer)).toEqual(targetAt(4))
})

test.each(['{', '[]', encodeRecord(signRecord(nodeKey(2), sellerDraft(startMs, { networks })))])(
  'what is stored and not of this peer counts for nothing (%#)',
  async (text) => {
    const { book } = bookWith({ load: async () => text })
    expect(await book.targetOf(peer)).toBeNull()
  },
)
