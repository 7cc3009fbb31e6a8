import { expect, test } from 'vitest'
import { findOffer, getMeta, saveOffer, setMeta } from './common-operations.ts'
import type { Db } from './open.ts'
import { channelId, hex32, sellerChannel, sellerRequest, testDb } from './samples.ts'
import {
  admit,
  closeUnknown,
  findRequest,
  finish,
  listRequests,
  loadChannel,
  loadChannels,
  meter,
  saveChannel,
  totals,
} from './seller-operations.ts'

const id = hex32(10)
const conflictOf = (reason: string) =>
  expect.objectContaining({ code: 'store_conflict', details: { reason } })
const finished = {
  channelId,
  id,
  charged: 60n,
  cumulative: 60n,
  receipt: '{}',
  closedAtMs: 9,
  streamed: true,
}

function admitOne(db: Db) {
  saveChannel(db, { channel: sellerChannel() })
  admit(db, { channel: sellerChannel({ rev: 2, signed: 100n, signature: '0xaa' }), request: sellerRequest() })
}

test('an admitted request is open under its channel until it is finished', () => {
  using store = testDb('seller')
  const { db } = store
  admitOne(db)
  const held = sellerChannel({ rev: 2, signed: 100n, signature: '0xaa', openRequests: [sellerRequest()] })
  expect(loadChannels(db)).toEqual([held])
  expect(loadChannel(db, { channelId })).toEqual(held)
  finish(db, { channel: sellerChannel({ rev: 3, signed: 100n, charged: 60n }), request: finished })
  expect(loadChannel(db, { channelId })?.openRequests).toEqual([])
  expect(findRequest(db, { channelId, id })).toEqual(sellerRequest({ ...finished, state: 'closed' }))
  expect(totals(db)).toEqual({ charged: 60n, claimed: 0n, requests: 1 })
})

test('a change computed from an older revision is refused', () => {
  using store = testDb('seller')
  const { db } = store
  admitOne(db)
  for (const rev of [1, 2, 4]) {
    expect(() => saveChannel(db, { channel: sellerChannel({ rev, signed: 100n }) })).toThrow(
      expect.objectContaining({ code: 'store_unavailable' }),
    )
  }
  saveChannel(db, { channel: sellerChannel({ rev: 3, signed: 100n }) })
})

test('a request id is admitted once per channel', () => {
  using store = testDb('seller')
  const { db } = store
  admitOne(db)
  const again = { channel: sellerChannel({ rev: 3, signed: 900n }), request: sellerRequest() }
  expect(() => admit(db, again)).toThrow('UNIQUE')
})

test('a request above what the buyer signed is refused', () => {
  using store = testDb('seller')
  const { db } = store
  admitOne(db)
  const second = sellerRequest({ id: hex32(20), ceiling: 1n })
  const over = { channel: sellerChannel({ rev: 3, signed: 100n }), request: second }
  expect(() => admit(db, over)).toThrow(conflictOf('invariant'))
})

test('a request is finished once, within its ceiling, and in the total of its channel', () => {
  using store = testDb('seller')
  const { db } = store
  admitOne(db)
  const attempt = (charged: bigint, total: bigint, rev = 3) =>
    db.transaction(() =>
      finish(db, {
        channel: sellerChannel({ rev, signed: 500n, charged: total }),
        request: { ...finished, charged },
      }),
    )
  expect(attempt(101n, 101n)).toThrow('CHECK')
  expect(attempt(60n, 59n)).toThrow(conflictOf('invariant'))
  attempt(60n, 60n)()
  expect(attempt(0n, 60n, 4)).toThrow(conflictOf('missing'))
})

test('signed, charged and claimed amounts never fall', () => {
  using store = testDb('seller')
  const { db } = store
  const high = { signed: 100n, charged: 50n, totalClaimed: 40n }
  saveChannel(db, { channel: sellerChannel(high) })
  for (const low of [{ signed: 99n }, { charged: 49n }, { totalClaimed: 39n }]) {
    const channel = sellerChannel({ ...high, ...low, rev: 2 })
    expect(() => saveChannel(db, { channel })).toThrow('never fall')
  }
  expect(() => saveChannel(db, { channel: sellerChannel({ ...high, charged: 101n, rev: 2 }) })).toThrow(
    'CHECK',
  )
})

test('nothing that proves money is ever deleted or rewritten', () => {
  using store = testDb('seller')
  const { db } = store
  admitOne(db)
  finish(db, { channel: sellerChannel({ rev: 3, signed: 100n, charged: 60n }), request: finished })
  expect(() => db.exec(`UPDATE requests SET receipt = NULL`)).toThrow('never changes')
  expect(() => db.exec(`DELETE FROM requests`)).toThrow('never deleted')
  expect(() => db.exec(`DELETE FROM channels`)).toThrow('never forgotten')
  expect(() => db.exec(`UPDATE channels SET config = '{}'`)).toThrow('never changes')
})

test('an unknown id is closed at zero for ever', () => {
  using store = testDb('seller')
  const { db } = store
  saveChannel(db, { channel: sellerChannel() })
  const unknown = sellerRequest({ ceiling: 0n, state: 'closed', closedAtMs: 5 })
  closeUnknown(db, { channel: sellerChannel({ rev: 2 }), requests: [unknown] })
  expect(findRequest(db, { channelId, id })).toEqual(unknown)
  const late = { channel: sellerChannel({ rev: 3, signed: 100n }), request: sellerRequest() }
  expect(() => admit(db, late)).toThrow('UNIQUE')
})

test('the journal of a running request only rises, to its ceiling at most', () => {
  using store = testDb('seller')
  const { db } = store
  admitOne(db)
  const metered = (amount: bigint) => {
    meter(db, { channelId, id, meter: amount })
    return findRequest(db, { channelId, id })?.meter
  }
  expect([metered(30n), metered(20n), metered(500n)]).toEqual([30n, 30n, 100n])
  expect(meter(db, { channelId, id: hex32(99), meter: 1n })).toBe(false)
})

test('requests are listed newest first, of one channel or of all', () => {
  using store = testDb('seller')
  const { db } = store
  admitOne(db)
  const other = hex32(2)
  saveChannel(db, { channel: sellerChannel({ id: other, signed: 100n }) })
  admit(db, {
    channel: sellerChannel({ id: other, signed: 100n, rev: 2 }),
    request: sellerRequest({ channelId: other, id: hex32(30) }),
  })
  expect(listRequests(db, { limit: 9 }).map((row) => row.id)).toEqual([hex32(30), id])
  expect(listRequests(db, { limit: 1 }).map((row) => row.id)).toEqual([hex32(30)])
  expect(listRequests(db, { channelId, limit: 9 }).map((row) => row.id)).toEqual([id])
})

test('offers and single facts are kept', () => {
  using store = testDb('seller')
  const { db } = store
  saveOffer(db, { hash: hex32(1), json: '{"a":1}', atMs: 3 })
  saveOffer(db, { hash: hex32(1), json: '{"a":1}', atMs: 4 })
  expect(findOffer(db, { hash: hex32(1) })).toEqual({ hash: hex32(1), json: '{"a":1}', atMs: 3 })
  expect(findOffer(db, { hash: hex32(2) })).toBeNull()
  setMeta(db, { key: 'k', value: 'old' })
  setMeta(db, { key: 'k', value: 'new' })
  expect([getMeta(db, { key: 'k' }), getMeta(db, { key: 'none' })]).toEqual(['new', null])
})
