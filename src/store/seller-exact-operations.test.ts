import { expect, test } from 'vitest'
import { address, hex32, testDb } from './samples.ts'
import {
  exactAbandon,
  exactFind,
  exactInState,
  exactMove,
  exactReserve,
  type SellerExactRow,
} from './seller-exact-operations.ts'

const rowOf = (change: Partial<SellerExactRow> = {}): SellerExactRow => ({
  payer: address(1),
  nonce: hex32(1),
  paymentId: null,
  amount: 100n,
  bodyHash: hex32(2),
  offerHash: hex32(3),
  payment: '{}',
  streamed: false,
  openedAtMs: 1,
  state: 'open',
  txHash: null,
  receipt: null,
  outcome: null,
  closedAtMs: null,
  ...change,
})
const key = { payer: address(1), nonce: hex32(1) }

test('an authorization is reserved once, and again only after it was released', () => {
  using store = testDb('seller')
  const { db } = store
  expect(exactReserve(db, rowOf())).toBe('reserved')
  expect(exactReserve(db, rowOf())).toBe('used')
  exactMove(db, { ...key, state: 'released', outcome: 'engine_failed', closedAtMs: 2 })
  expect(exactReserve(db, rowOf({ bodyHash: hex32(9) }))).toBe('reserved')
  expect(exactFind(db, key)).toEqual(rowOf({ bodyHash: hex32(9) }))
  expect(exactReserve(db, rowOf({ nonce: hex32(7) }))).toBe('reserved')
})

test('a payment id pays for one request of a payer', () => {
  using store = testDb('seller')
  const { db } = store
  const paymentId = 'an-id-of-the-client'
  expect(exactReserve(db, rowOf({ paymentId }))).toBe('reserved')
  expect(exactReserve(db, rowOf({ paymentId, nonce: hex32(7) }))).toBe('id_used')
  expect(exactReserve(db, rowOf({ paymentId, nonce: hex32(7), payer: address(2) }))).toBe('reserved')
  exactMove(db, { ...key, state: 'released' })
  expect(exactReserve(db, rowOf({ paymentId, nonce: hex32(7) }))).toBe('reserved')
})

test('a payment goes from reserved to paid to served, and never back', () => {
  using store = testDb('seller')
  const { db } = store
  exactReserve(db, rowOf())
  expect(() => exactMove(db, { ...key, state: 'settled', txHash: hex32(5) })).toThrow('never goes back')
  exactMove(db, { ...key, state: 'settling' })
  expect(() => exactMove(db, { ...key, state: 'released' })).toThrow('never goes back')
  expect(() => exactMove(db, { ...key, state: 'settled' })).toThrow('CHECK')
  exactMove(db, { ...key, state: 'settled', txHash: hex32(5) })
  expect(exactInState(db, { state: 'settled', limit: 10 })).toHaveLength(1)
  exactMove(db, { ...key, state: 'served', receipt: '{}', outcome: 'complete', closedAtMs: 3 })
  expect(() => exactMove(db, { ...key, state: 'served' })).toThrow('never goes back')
  expect(() => db.exec(`DELETE FROM exactPayments`)).toThrow('never forgotten')
  expect(exactFind(db, key)).toMatchObject({ state: 'served', txHash: hex32(5), outcome: 'complete' })
})

test('a restart abandons what was only reserved, and nothing else', () => {
  using store = testDb('seller')
  const { db } = store
  for (const nonce of [1, 2, 3]) exactReserve(db, rowOf({ nonce: hex32(nonce) }))
  exactMove(db, { payer: address(1), nonce: hex32(2), state: 'settling' })
  exactMove(db, { payer: address(1), nonce: hex32(3), state: 'released' })
  expect(exactAbandon(db, { closedAtMs: 9 })).toBe(1)
  expect(exactFind(db, key)).toMatchObject({ state: 'abandoned', closedAtMs: 9 })
  expect(exactReserve(db, rowOf())).toBe('used')
})
