import { expect, test } from 'vitest'
import { isBalanced, type DemoBooks } from './demo-ledger.ts'

const books: DemoBooks = {
  buyerPaid: 40n,
  sellerEarned: 40n,
  chainMoved: 40n,
  deposited: 100n,
  refunded: 60n,
  inEscrow: 0n,
  walletBefore: 500n,
  walletAfter: 460n,
}

test('books that agree to the unit are balanced', () => {
  expect(isBalanced(books)).toBe(true)
})

test.each(Object.keys(books) as (keyof DemoBooks)[])('one unit more in %s is noticed', (name) => {
  expect(isBalanced({ ...books, [name]: books[name] + 1n })).toBe(false)
})

test('a demo in which nothing was paid proves nothing', () => {
  const nothing = {
    ...books,
    buyerPaid: 0n,
    sellerEarned: 0n,
    chainMoved: 0n,
    refunded: 100n,
    walletAfter: 500n,
  }
  expect(isBalanced(nothing)).toBe(false)
})
