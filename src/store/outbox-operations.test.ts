import { expect, test } from 'vitest'
import {
  intend,
  outboxBumped,
  outboxCopies,
  outboxDone,
  outboxFind,
  outboxMaxNonce,
  outboxMinedSince,
  outboxPending,
  outboxReopen,
  outboxSigned,
} from './outbox-operations.ts'
import { address, hex32, testDb } from './samples.ts'

const intent = (key: string, createdAtMs = 1) =>
  ({ key, kind: 'claim', to: address(9), data: '0x1234', createdAtMs }) as const
const signed = (key: string, nonce: number) => ({ key, nonce, raw: '0xbeef', hash: hex32(nonce) })
const done = (key: string, status: 'confirmed' | 'reverted' | 'dropped') => ({
  key,
  status,
  block: 5,
  result: '{}',
})

test('an intent is taken once and walks from intended over signed to confirmed', () => {
  using store = testDb('seller')
  const { db } = store
  expect(outboxMaxNonce(db)).toBeNull()
  expect(intend(db, intent('a'))).toBe(true)
  expect(intend(db, intent('a'))).toBe(false)
  expect(outboxFind(db, { key: 'a' })).toEqual({
    ...intent('a'),
    nonce: null,
    raw: null,
    hash: null,
    status: 'intended',
    block: null,
    result: null,
  })
  outboxSigned(db, signed('a', 7))
  expect(outboxPending(db)).toMatchObject([{ key: 'a', nonce: 7, raw: '0xbeef', status: 'signed' }])
  outboxDone(db, done('a', 'confirmed'))
  expect(outboxPending(db)).toEqual([])
  expect(outboxFind(db, { key: 'a' })).toMatchObject({ status: 'confirmed', block: 5, result: '{}' })
  expect(outboxMaxNonce(db)).toBe(7)
  expect(intend(db, intent('a'))).toBe(false)
})

test('pending rows come oldest first', () => {
  using store = testDb('buyer')
  for (const [key, at] of [
    ['b', 2],
    ['c', 3],
    ['a', 1],
  ] as const)
    intend(store.db, intent(key, at))
  expect(outboxPending(store.db).map(({ key }) => key)).toEqual(['a', 'b', 'c'])
})

test('a signed transaction keeps its bytes and its nonce', () => {
  using store = testDb('seller')
  const { db } = store
  intend(db, intent('a'))
  outboxSigned(db, signed('a', 1))
  expect(() => outboxSigned(db, signed('a', 2))).toThrow(expect.objectContaining({ code: 'store_conflict' }))
  expect(() => db.exec(`UPDATE outbox SET raw = '0x00'`)).toThrow('never changes')
  expect(() => db.exec(`DELETE FROM outbox`)).toThrow('never forgotten')
})

test('two transactions never share a nonce', () => {
  using store = testDb('seller')
  const { db } = store
  intend(db, intent('a'))
  intend(db, intent('b'))
  outboxSigned(db, signed('a', 1))
  expect(() => outboxSigned(db, signed('b', 1))).toThrow('UNIQUE')
})

test('only a row that was dropped unsigned can be intended again', () => {
  using store = testDb('seller')
  const { db } = store
  intend(db, intent('a'))
  outboxDone(db, done('a', 'dropped'))
  expect(intend(db, { ...intent('a', 9), data: '0x99' })).toBe(true)
  expect(outboxFind(db, { key: 'a' })).toMatchObject({
    status: 'intended',
    data: '0x99',
    result: null,
    block: null,
  })
  outboxSigned(db, signed('a', 1))
  outboxDone(db, done('a', 'dropped'))
  expect(intend(db, intent('a'))).toBe(false)
})

test('a transaction ends once', () => {
  using store = testDb('seller')
  const { db } = store
  intend(db, intent('a'))
  outboxSigned(db, signed('a', 1))
  outboxDone(db, done('a', 'reverted'))
  expect(() => outboxDone(db, done('a', 'confirmed'))).toThrow(
    expect.objectContaining({ code: 'store_conflict' }),
  )
})

test('copies at higher fees belong to a transaction that waits, in their order, and never change', () => {
  using store = testDb('seller')
  const { db } = store
  const bump = (n: number) => ({ key: 'a', raw: `0x0${n}`, hash: hex32(100 + n) })
  intend(db, intent('a'))
  expect(() => outboxBumped(db, bump(1))).toThrow('No signed transaction')
  outboxSigned(db, signed('a', 0))
  outboxBumped(db, bump(2))
  outboxBumped(db, bump(1))
  const copies = [bump(2), bump(1)].map(({ raw, hash }) => ({ raw, hash }))
  expect(outboxCopies(db, { key: 'a' })).toEqual(copies)
  expect(() => db.exec(`UPDATE outboxBumps SET raw = '0x'`)).toThrow('never changes')
  expect(() => db.exec('DELETE FROM outboxBumps')).toThrow('never forgotten')
  outboxDone(db, done('a', 'confirmed'))
  expect(() => outboxBumped(db, bump(3))).toThrow('No signed transaction')
})

test('what was mined in a block that is gone waits again with its bytes and nonce', () => {
  using store = testDb('seller')
  const { db } = store
  for (const [key, nonce] of [
    ['a', 0],
    ['b', 1],
  ] as const) {
    intend(db, intent(key))
    outboxSigned(db, signed(key, nonce))
  }
  outboxDone(db, { ...done('a', 'confirmed'), block: 5 })
  outboxDone(db, { ...done('b', 'reverted'), block: 6 })
  expect(outboxMinedSince(db, { block: 5 }).map(({ key }) => key)).toEqual(['a', 'b'])
  expect(outboxMinedSince(db, { block: 6 }).map(({ key }) => key)).toEqual(['b'])
  expect(outboxReopen(db, { key: 'b' })).toBe(true)
  expect(outboxReopen(db, { key: 'b' })).toBe(false)
  expect(outboxFind(db, { key: 'b' })).toMatchObject({ ...signed('b', 1), status: 'signed', block: null })
  expect(outboxMinedSince(db, { block: 0 }).map(({ key }) => key)).toEqual(['a'])
})
