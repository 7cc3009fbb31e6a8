import { expect, test } from 'vitest'
import {
  exactFinal,
  exactOpen,
  exactUnresolved,
  listExact,
  type BuyerExactRow,
} from './buyer-exact-operations.ts'
import { spentSince } from './buyer-operations.ts'
import { address, hex32, testDb } from './samples.ts'

const rowOf = (n: number): BuyerExactRow => ({
  nonce: hex32(n),
  sellerUrl: 'http://seller.test',
  payTo: address(1),
  amount: 100n,
  validBeforeSec: 2_000_000_000,
  model: 'tiny',
  bodyHash: hex32(2),
  openedAtMs: 1,
  state: 'open',
  charged: 0n,
  outcome: null,
  txHash: null,
  closedAtMs: null,
})
const end = { txHash: null, outcome: 'paid', closedAtMs: 1000 }

test('a payment counts in full until it is final, and then as what was taken', () => {
  using store = testDb('buyer')
  const { db } = store
  for (const n of [1, 2, 3]) exactOpen(db, rowOf(n))
  expect(spentSince(db, { sinceMs: 0 })).toMatchObject({ charged: 0n, openCeilings: 300n })
  exactFinal(db, { nonce: hex32(1), charged: 100n, ...end })
  exactFinal(db, { nonce: hex32(2), charged: 0n, ...end, outcome: 'expired' })
  expect(spentSince(db, { sinceMs: 0 })).toMatchObject({ charged: 100n, openCeilings: 100n })
  expect(spentSince(db, { sinceMs: 1001 })).toMatchObject({ charged: 0n, openCeilings: 100n })
  expect(exactUnresolved(db).map(({ nonce }) => nonce)).toEqual([hex32(3)])
  expect(listExact(db, { limit: 1 })).toEqual([rowOf(3)])
})

test('a payment is final once, takes all or nothing, and is never forgotten', () => {
  using store = testDb('buyer')
  const { db } = store
  exactOpen(db, rowOf(1))
  expect(() => exactOpen(db, rowOf(1))).toThrow('UNIQUE')
  expect(() => exactFinal(db, { nonce: hex32(1), charged: 50n, ...end })).toThrow('CHECK')
  exactFinal(db, { nonce: hex32(1), charged: 100n, ...end })
  expect(() => exactFinal(db, { nonce: hex32(1), charged: 0n, ...end })).toThrow('No open payment')
  expect(() => db.exec('DELETE FROM exactPayments')).toThrow('never forgotten')
})
