import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { ChannelOnChain } from './escrow.ts'
import { agreeOnChannel } from './agree.ts'
import { quorumOf, vouched } from './quorum.ts'

test.for([
  { configured: 1, answered: 1, needed: 1 },
  { configured: 2, answered: 2, needed: 2 },
  { configured: 2, answered: 1, needed: 2 },
  { configured: 3, answered: 3, needed: 2 },
  { configured: 3, answered: 2, needed: 2 },
  { configured: 5, answered: 5, needed: 4 },
  { configured: 5, answered: 3, needed: 2 },
])('of $configured RPCs $answered answered: $needed must agree', ({ needed, ...ask }) => {
  expect(quorumOf({ ...ask, wanted: null })).toBe(needed)
})

test('the owner may ask for another number', () => {
  expect(quorumOf({ configured: 3, answered: 2, wanted: 1 })).toBe(1)
  expect(quorumOf({ configured: 3, answered: 2, wanted: 3 })).toBe(3)
})

const money = fc.bigInt({ min: 0n, max: 1000n })
const reading: fc.Arbitrary<ChannelOnChain> = fc.record({
  balance: money,
  totalClaimed: money,
  withdrawAmount: money,
  withdrawInitiatedAtSec: fc.nat(1000),
  refundNonce: money,
})

describe('what several RPCs say', () => {
  test('is vouched for by as many as are needed, and nothing higher is', () => {
    fc.assert(
      fc.property(
        fc.array(money, { minLength: 1, maxLength: 7 }),
        fc.integer({ min: 1, max: 7 }),
        (all, needed) => {
          const found = vouched(all, needed)
          if (all.length < needed) {
            expect(found).toBeNull()
            return
          }
          const backing = (value: bigint) => all.filter((one) => one >= value).length
          expect(backing(found!)).toBeGreaterThanOrEqual(needed)
          expect(backing(found! + 1n)).toBeLessThan(needed)
        },
      ),
    )
  })

  test('fewer liars than are needed cannot make up money, one liar of three cannot hide it, nobody hides a withdrawal', () => {
    fc.assert(
      fc.property(reading, reading, fc.nat(2), (truth, lie, place) => {
        const told = [truth, truth, truth].with(place, lie)
        const agreed = agreeOnChannel(told, 2)
        const { balance, totalClaimed, refundNonce } = truth
        expect(agreed).toMatchObject({ balance, totalClaimed, refundNonce })
        expect(agreed!.withdrawAmount >= truth.withdrawAmount).toBe(true)
      }),
    )
  })

  test('one that reports a withdrawal is enough, with its amount and its time', () => {
    const quiet = {
      balance: 9n,
      totalClaimed: 0n,
      withdrawAmount: 0n,
      withdrawInitiatedAtSec: 0,
      refundNonce: 0n,
    }
    const alarmed = { ...quiet, withdrawAmount: 5n, withdrawInitiatedAtSec: 77 }
    expect(agreeOnChannel([quiet, quiet, alarmed], 2)).toEqual(alarmed)
  })

  test('is nothing when too few say anything', () => {
    expect(agreeOnChannel([], 1)).toBeNull()
  })
})
