import { expect, test } from 'vitest'
import {
  intend,
  outboxDone,
  outboxFind,
  outboxMaxNonce,
  outboxPending,
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
