/**
 * The whole matrix, role by fault: which file holds which cells. The suites beside this one hold what no story showed
 * yet; a cell that a story of its own shows better stays there.
 *
 * Steps, as crash points in the order of the work:
 * buyer: opened, deposit-stored, deposit-sent, sent, final, booked; exact-opened; those of the outbox.
 * seller: verified, admitted, engine-called, first-byte, metered, finished, answered; refund-reserved, refund-sent;
 * claim-chosen, claim-sent; exact-reserved, exact-settling, exact-settled; those of the outbox.
 * tower: stored, claim-chosen, claim-sent; those of the outbox.
 * outbox: intended, signed, sent, confirmed, bumped, reopened. store: commit, committed.
 */
import type { Fault } from './cells.ts'

type Row = Record<Fault, readonly string[]>

const stories = (...names: string[]) => names.map((name) => `test/integration/${name}.test.ts`)
const buyer = 'test/faults/buyer.test.ts'
const exactBuyer = 'test/faults/exact-buyer.test.ts'
const seller = 'test/faults/seller.test.ts'
const tower = 'test/faults/tower.test.ts'

export const coverage: Record<'buyer' | 'seller' | 'tower', Row> = {
  buyer: {
    kill: [buyer, exactBuyer, ...stories('buyer-recovers', 'chain-outbox-crash', 'buyer-sweep')],
    disk: [buyer, 'src/store/durability.test.ts', ...stories('buyer-recovers')],
    stale: [buyer, ...stories('buyer-recovers', 'buyer-sweep')],
    lost: [buyer, ...stories('buyer-outcomes', 'buyer-recovers', 'buyer-money-back')],
    ahead: [buyer],
    behind: [buyer],
    twin: [buyer, 'src/store/lock.test.ts', ...stories('buyer-recovers')],
  },
  seller: {
    kill: [seller, ...stories('seller-crash', 'exact-crash', 'chain-outbox-crash')],
    disk: [seller, 'src/store/durability.test.ts', ...stories('seller-ledger')],
    stale: [seller, ...stories('seller-ledger')],
    lost: [seller, ...stories('seller-hostile', 'exact-unknown', 'seller-settle', 'chain-outbox')],
    ahead: [seller],
    behind: [seller],
    twin: [seller, 'src/store/lock.test.ts', ...stories('seller-start')],
  },
  tower: {
    kill: stories('tower-saves'),
    disk: [tower],
    stale: [tower],
    lost: stories('tower-hostile', 'tower-pairing'),
    ahead: [tower],
    behind: [tower],
    twin: [tower],
  },
}

/** Every file that is named. */
export const coveringFiles = (): string[] => [
  ...new Set(Object.values(coverage).flatMap((row) => Object.values(row).flat())),
]
