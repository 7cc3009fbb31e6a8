/** The demo's final account: three independent books of the same money, and whether they agree. Pure. */
import { formatUsd, type Usdc } from '../wire/amount.ts'

/** What each party's own book says, in atomic USDC. */
export interface DemoBooks {
  /** the buyer's store: charges it checked and booked */
  buyerPaid: Usdc
  /** the sellers' stores: charges they made */
  sellerEarned: Usdc
  /** the chain: what arrived at the payout addresses */
  chainMoved: Usdc
  deposited: Usdc
  refunded: Usdc
  /** what the escrow still holds for the channels */
  inEscrow: Usdc
  walletBefore: Usdc
  walletAfter: Usdc
}

export interface DemoTable {
  columns: { title: string; align?: 'right' }[]
  rows: string[][]
}

/** True when no unit is missing and none is counted twice. */
export function isBalanced(books: DemoBooks): boolean {
  const { buyerPaid, sellerEarned, chainMoved, deposited, refunded, inEscrow, walletBefore, walletAfter } =
    books
  return (
    buyerPaid > 0n &&
    buyerPaid === sellerEarned &&
    sellerEarned === chainMoved &&
    walletBefore - deposited + refunded === walletAfter &&
    deposited - refunded - chainMoved === inEscrow
  )
}

export function demoTable(books: DemoBooks): DemoTable {
  const row = (what: string, whose: string, amount: Usdc) => [
    what,
    whose,
    amount.toString(),
    formatUsd(amount),
  ]
  return {
    columns: [
      { title: 'MONEY' },
      { title: 'SAYS' },
      { title: 'ATOMIC USDC', align: 'right' },
      { title: 'USD', align: 'right' },
    ],
    rows: [
      row('wallet before', 'chain', books.walletBefore),
      row('deposited in the channels', 'chain', books.deposited),
      row('paid for requests', "buyer's ledger", books.buyerPaid),
      row('earned by requests', "sellers' ledgers", books.sellerEarned),
      row('moved to the sellers', 'chain', books.chainMoved),
      row('refunded to the buyer', 'chain', books.refunded),
      row('left in escrow', 'chain', books.inEscrow),
      row('wallet after', 'chain', books.walletAfter),
      [isBalanced(books) ? 'every unit is accounted for' : 'THE BOOKS DO NOT AGREE', '', '', ''],
    ],
  }
}
