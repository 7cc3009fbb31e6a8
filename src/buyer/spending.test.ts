import { expect, test } from 'vitest'
import { buyerChannel, buyerRequest, hex32, testDb } from '../store/samples.ts'
import { open, recordDeposit, settleRequest, spentSince } from '../store/buyer-operations.ts'
import { Spending } from './spending.ts'

const hour = 3_600_000
const T0 = 500_000 * hour + 1234

test('what is held counts at once, and what it cost counts from its end for a day', () => {
  const spending = new Spending()
  spending.hold(100n)
  spending.hold(50n)
  expect(spending.spent(T0)).toBe(150n)
  spending.settle(100n, 7n, T0)
  expect(spending.spent(T0)).toBe(57n)
  spending.settle(50n, 3n, T0 + hour)
  expect(spending.spent(T0 + 24 * hour)).toBe(10n)
  expect(spending.spent(T0 + 25 * hour)).toBe(3n)
  expect(spending.spent(T0 + 26 * hour)).toBe(0n)
})

test('an hour counts until all of it is a day old', () => {
  const spending = new Spending()
  const endOfHour = 500_001 * hour - 1
  spending.settle(0n, 5n, endOfHour)
  expect(spending.spent(endOfHour + 24 * hour)).toBe(5n)
})

test('after a restart the store gives back the same day', async () => {
  using home = testDb('buyer')
  const { db } = home
  const charges: [hoursAgo: number, charged: bigint][] = [
    [30, 1000n],
    [23, 20n],
    [2, 3n],
    [0, 4n],
  ]
  let rev = 0
  charges.forEach(([hoursAgo, charged], at) => {
    const id = hex32(100 + at)
    const atMs = T0 - hoursAgo * hour
    open(db, {
      channel: buyerChannel({ rev: ++rev, signed: 5000n, charged: sumBefore(at) }),
      request: buyerRequest({ id, ceiling: 2000n }),
    })
    settleRequest(db, {
      channel: buyerChannel({ rev: ++rev, signed: 5000n, charged: sumBefore(at + 1) }),
      request: { channelId: hex32(1), id, charged, receipt: null, outcome: 'answered', closedAtMs: atMs },
    })
  })
  open(db, {
    channel: buyerChannel({ rev: ++rev, signed: 5000n, charged: sumBefore(4) }),
    request: buyerRequest({ id: hex32(99), ceiling: 600n }),
  })
  const deposit = { channelId: hex32(1), sellerUrl: 'http://seller.test', txHash: null }
  recordDeposit(db, { ...deposit, salt: hex32(7), amount: 9n, atMs: T0 - hour })
  recordDeposit(db, { ...deposit, salt: hex32(8), amount: 90n, atMs: T0 - 40 * hour })

  const spending = await Spending.load(async (since) => spentSince(db, since), T0)
  expect(spending.spent(T0)).toBe(627n)
  expect(spending.depositedToday(T0)).toBe(9n)
  expect(spending.spent(T0 + 3 * hour)).toBe(607n)

  function sumBefore(count: number): bigint {
    return charges.slice(0, count).reduce((sum, [, charged]) => sum + charged, 0n)
  }
})
