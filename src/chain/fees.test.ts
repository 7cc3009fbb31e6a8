import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { bumpFees, feesFor, isOutbid } from './fees.ts'

const wei = fc.bigInt({ min: 0n, max: 10n ** 13n })
const market = fc.record({ baseFeePerGas: wei, tip: wei })

test('what a new transaction offers is never outbid by the market it was priced at, and its tip has a limit', () => {
  fc.assert(
    fc.property(market, (now) => {
      const fees = feesFor(now)
      expect(isOutbid(fees, now)).toBe(false)
      const limit = now.baseFeePerGas > 1_000_000_000n ? now.baseFeePerGas : 1_000_000_000n
      expect(fees.maxPriorityFeePerGas <= limit).toBe(true)
    }),
  )
})

test('a bump raises both fees by more than a tenth and is not outbid, whatever the market did', () => {
  fc.assert(
    fc.property(market, market, (before, now) => {
      const offered = feesFor(before)
      const bumped = bumpFees(offered, now)
      expect(bumped.maxFeePerGas * 10n > offered.maxFeePerGas * 11n).toBe(true)
      expect(bumped.maxPriorityFeePerGas * 10n > offered.maxPriorityFeePerGas * 11n).toBe(true)
      expect(bumped.maxFeePerGas >= bumped.maxPriorityFeePerGas).toBe(true)
      expect(isOutbid(bumped, now)).toBe(false)
    }),
  )
})

test('an offer below the base fee is outbid', () => {
  const offered = feesFor({ baseFeePerGas: 10n, tip: 1n })
  expect(isOutbid(offered, { baseFeePerGas: 50n, tip: 1n })).toBe(false)
  expect(isOutbid(offered, { baseFeePerGas: 51n, tip: 1n })).toBe(true)
})
