import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { judgeCharge, judgeCorrection } from './lane-ledger.ts'

test('a charge is booked when the seller states no more than it may', () => {
  const known = { charged: 100n, lost: null }
  expect(judgeCharge(known, 50n, { charged: 20n, cumulative: null })).toEqual({
    kind: 'booked',
    charged: 20n,
    lost: 0n,
  })
  expect(judgeCharge(known, 50n, { charged: 20n, cumulative: 120n }).kind).toBe('booked')
  expect(judgeCharge(known, 50n, { charged: 20n, cumulative: 121n }).kind).toBe('unclear')
  expect(judgeCharge(known, 50n, { charged: 51n, cumulative: 151n }).kind).toBe('unclear')
  const unsure = { charged: 100n, lost: 30n }
  expect(judgeCharge(unsure, 50n, { charged: 20n, cumulative: null }).kind).toBe('unclear')
  expect(judgeCharge(unsure, 50n, { charged: 20n, cumulative: 150n })).toEqual({
    kind: 'booked',
    charged: 20n,
    lost: 30n,
  })
})

const amount = fc.bigInt({ min: 0n, max: 2n ** 63n - 1n })

test('whatever a seller states, a request never costs more than its ceiling', () => {
  const lost = fc.option(amount, { nil: null })
  const stated = fc.record({ charged: amount, cumulative: fc.option(amount, { nil: null }) })
  fc.assert(
    fc.property(fc.record({ charged: amount, lost }), amount, stated, (facts, ceiling, stated) => {
      const charge = judgeCharge(facts, ceiling, stated)
      if (charge.kind === 'unclear') return
      expect(charge.charged <= ceiling && charge.lost <= (facts.lost ?? 0n) && charge.lost >= 0n).toBe(true)
    }),
  )
  fc.assert(
    fc.property(fc.record({ charged: amount, lost }), amount, (facts, stated) => {
      const verdict = judgeCorrection(facts, stated, null)
      if (verdict.kind === 'refuse') return
      expect(facts.lost !== null && verdict.charged <= facts.charged + facts.lost).toBe(true)
      expect(verdict.charged >= facts.charged).toBe(true)
    }),
  )
})

test('a buyer that lost its store believes nothing above its own signature and nothing below the chain', () => {
  const facts = { charged: 10n, lost: null }
  const judge = (stated: bigint, proven: bigint | null) =>
    judgeCorrection(facts, stated, { totalClaimed: 10n, proven }).kind
  expect([judge(10n, null), judge(11n, null), judge(9n, 50n)]).toEqual(['adopt', 'refuse', 'refuse'])
  expect([judge(50n, 50n), judge(51n, 50n)]).toEqual(['adopt', 'refuse'])
})
