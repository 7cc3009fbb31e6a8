import { expect, test } from 'vitest'
import {
  dropDeposit,
  countServed,
  findRequest,
  listDeposits,
  listRequests,
  loadChannel,
  loadChannels,
  loadSellers,
  open,
  recordDeposit,
  saveChannel,
  saveSeller,
  settleRequest,
  spentSince,
} from './buyer-operations.ts'
import type { Db } from './open.ts'
import { buyerChannel, buyerRequest, channelId, hex32, testDb } from './samples.ts'

const id = hex32(10)
const conflictOf = (reason: string) =>
  expect.objectContaining({ code: 'store_conflict', details: { reason } })
const settled = { channelId, id, charged: 40n, receipt: '{}', outcome: 'ok', closedAtMs: 1000 }

function openOne(db: Db) {
  saveChannel(db, { channel: buyerChannel() })
  open(db, { channel: buyerChannel({ rev: 2, signed: 100n, signature: '0xaa' }), request: buyerRequest() })
}

test('a voucher and its request are stored together, and the final closes the request', () => {
  using store = testDb('buyer')
  const { db } = store
  openOne(db)
  const running = buyerChannel({ rev: 2, signed: 100n, signature: '0xaa', openRequests: [buyerRequest()] })
  expect(loadChannels(db)).toEqual([running])
  expect(loadChannel(db, { channelId })).toEqual(running)
  settleRequest(db, { channel: buyerChannel({ rev: 3, signed: 100n, charged: 40n }), request: settled })
  expect(loadChannel(db, { channelId })?.openRequests).toEqual([])
  expect(findRequest(db, { channelId, id })).toEqual(buyerRequest({ ...settled, state: 'final' }))
  expect(listRequests(db, { limit: 5, state: 'open' })).toEqual([])
  expect(listRequests(db, { limit: 5, state: 'final' })).toHaveLength(1)
  expect(listRequests(db, { limit: 5 })).toHaveLength(1)
})

test('a request is settled once and within its ceiling', () => {
  using store = testDb('buyer')
  const { db } = store
  openOne(db)
  const attempt = (charged: bigint, rev: number) =>
    db.transaction(() =>
      settleRequest(db, {
        channel: buyerChannel({ rev, signed: 900n, charged: 101n }),
        request: { ...settled, charged },
      }),
    )
  expect(attempt(101n, 3)).toThrow('CHECK')
  attempt(40n, 3)()
  expect(attempt(40n, 4)).toThrow(conflictOf('missing'))
})

test('a change computed from an older revision is refused', () => {
  using store = testDb('buyer')
  const { db } = store
  openOne(db)
  for (const rev of [1, 2, 4]) {
    expect(() => saveChannel(db, { channel: buyerChannel({ rev, signed: 100n }) })).toThrow(
      expect.objectContaining({ code: 'store_unavailable' }),
    )
  }
})

test('what was signed and what was charged never falls', () => {
  using store = testDb('buyer')
  const { db } = store
  saveChannel(db, { channel: buyerChannel({ signed: 100n, charged: 50n }) })
  for (const low of [
    { signed: 99n, charged: 50n },
    { signed: 100n, charged: 49n },
  ]) {
    expect(() => saveChannel(db, { channel: buyerChannel({ ...low, rev: 2 }) })).toThrow('never fall')
  }
})

test('the spending counts charges and deposits since then and every running ceiling', () => {
  using store = testDb('buyer')
  const { db } = store
  openOne(db)
  settleRequest(db, { channel: buyerChannel({ rev: 3, signed: 100n, charged: 40n }), request: settled })
  const second = buyerRequest({ id: hex32(20), ceiling: 30n })
  open(db, { channel: buyerChannel({ rev: 4, signed: 100n, charged: 40n }), request: second })
  recordDeposit(db, { channelId, salt: hex32(5), sellerUrl: 'u', amount: 900n, txHash: null, atMs: 1000 })
  expect(spentSince(db, { sinceMs: 1000 })).toEqual({ charged: 40n, openCeilings: 30n, deposited: 900n })
  expect(spentSince(db, { sinceMs: 1001 })).toEqual({ charged: 0n, openCeilings: 30n, deposited: 0n })
})

test('a deposit that can never arrive counts no longer', () => {
  using store = testDb('buyer')
  const { db } = store
  const deposit = { channelId, sellerUrl: 'u', txHash: null, atMs: 1 }
  recordDeposit(db, { ...deposit, salt: hex32(5), amount: 9n })
  recordDeposit(db, { ...deposit, salt: hex32(6), amount: 90n })
  dropDeposit(db, { channelId, salt: hex32(5) })
  expect(spentSince(db, { sinceMs: 0 }).deposited).toBe(90n)
})

test('a deposit learns its transaction and keeps it', () => {
  using store = testDb('buyer')
  const { db } = store
  const deposit = { channelId, salt: hex32(5), sellerUrl: 'u', amount: 9n, txHash: null, atMs: 1 }
  recordDeposit(db, deposit)
  recordDeposit(db, { ...deposit, txHash: hex32(6) })
  recordDeposit(db, deposit)
  expect(listDeposits(db, { limit: 5 })).toEqual([{ ...deposit, txHash: hex32(6) }])
})

test('the newest terms of a seller are kept', () => {
  using store = testDb('buyer')
  const { db } = store
  saveSeller(db, { url: 'http://b', terms: '1', atMs: 1 })
  saveSeller(db, { url: 'http://a', terms: '2', atMs: 2 })
  saveSeller(db, { url: 'http://b', terms: '3', atMs: 3 })
  saveSeller(db, { url: 'http://b', terms: 'late', atMs: 2 })
  expect(loadSellers(db)).toEqual([
    { url: 'http://a', terms: '2', atMs: 2 },
    { url: 'http://b', terms: '3', atMs: 3 },
  ])
})

test('what sellers answered is counted of the newest requests, and none that was broken off midway', () => {
  using store = testDb('buyer')
  const { db } = store
  saveChannel(db, { channel: buyerChannel() })
  let rev = 1
  let seed = 20
  const ask = (sellerUrl: string, outcome: string | null, charged = 0n) => {
    const request = buyerRequest({ id: hex32((seed += 1)), sellerUrl })
    const signed = 10_000n
    open(db, { channel: buyerChannel({ rev: (rev += 1), signed }), request })
    if (outcome === null) return
    const final = { channelId, id: request.id, charged, receipt: null, outcome, closedAtMs: seed }
    settleRequest(db, { channel: buyerChannel({ rev: (rev += 1), signed }), request: final })
  }
  ask('https://old', 'answered', 1n)
  for (const outcome of ['answered', 'answered', 'learned', 'refused', 'not_sent', null])
    ask('https://a', outcome, outcome === 'answered' ? 1n : 0n)
  ask('https://a', 'learned', 40n)
  ask('openseed://b', 'learned')
  expect(countServed(db, { newest: 7 })).toEqual([
    { sellerUrl: 'https://a', asked: 4, answered: 2 },
    { sellerUrl: 'openseed://b', asked: 1, answered: 0 },
  ])
})
