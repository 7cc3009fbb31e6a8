import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { judgeClaim } from './judge-claim.ts'

const channel = { balance: 1_000n, totalClaimed: 0n, withdrawAmount: 500n, withdrawInitiatedAtSec: 10_000 }
const held = { totalClaimed: 300n, withdrawDelay: 900 }
const at = (nowSec: number, headStartSec: number | null = null, least = 0n) => ({
  nowSec,
  headStartSec,
  least,
})

test('a quarter of the delay is left to the seller', () => {
  expect(judgeClaim(held, channel, at(10_224))).toEqual({ kind: 'wait', untilSec: 10_225 })
  expect(judgeClaim(held, channel, at(10_225))).toEqual({ kind: 'claim' })
})

test('the owner may say how long, but never more than half of the delay', () => {
  expect(judgeClaim(held, channel, at(10_000, 0))).toEqual({ kind: 'claim' })
  expect(judgeClaim(held, channel, at(10_000, 86_400))).toEqual({ kind: 'wait', untilSec: 10_450 })
})

test('a withdrawal that is found late is answered at once, also when its delay is over', () => {
  expect(judgeClaim(held, channel, at(10_899))).toEqual({ kind: 'claim' })
  expect(judgeClaim(held, channel, at(99_999))).toEqual({ kind: 'claim' })
})

test('without a withdrawal, with a newer claim, or below its gas nothing is claimed', () => {
  const late = at(10_800)
  expect(judgeClaim(held, { ...channel, withdrawAmount: 0n }, late)).toEqual({ kind: 'quiet' })
  expect(judgeClaim(held, { ...channel, totalClaimed: 300n }, late)).toEqual({ kind: 'done' })
  expect(judgeClaim(held, { ...channel, balance: 299n }, late)).toEqual({ kind: 'short' })
  expect(judgeClaim(held, channel, at(10_800, null, 301n))).toEqual({ kind: 'poor' })
  expect(judgeClaim(held, channel, at(10_800, null, 300n))).toEqual({ kind: 'claim' })
})

test('whenever money would be lost, at least half of the delay is left to claim it', () => {
  const amount = fc.bigInt({ min: 0n, max: 1_000_000n })
  const facts = fc.record({
    totalClaimed: fc.bigInt({ min: 1n, max: 1_000_000n }),
    withdrawDelay: fc.integer({ min: 900, max: 2_592_000 }),
    balance: amount,
    claimed: amount,
    withdrawAmount: amount,
    elapsedSec: fc.integer({ min: 0, max: 3_000_000 }),
    headStartSec: fc.option(fc.integer({ min: 0, max: 3_000_000 })),
  })
  fc.assert(
    fc.property(facts, ({ totalClaimed, withdrawDelay, balance, claimed, ...more }) => {
      const chain = {
        balance,
        totalClaimed: claimed,
        withdrawAmount: more.withdrawAmount,
        withdrawInitiatedAtSec: 10_000,
      }
      const moment = at(10_000 + more.elapsedSec, more.headStartSec)
      const { kind } = judgeClaim({ totalClaimed, withdrawDelay }, chain, moment)
      const isAtRisk = more.withdrawAmount > 0n && totalClaimed > claimed && totalClaimed <= balance
      if (isAtRisk && more.elapsedSec >= withdrawDelay / 2) expect(kind).toBe('claim')
      if (!isAtRisk) expect(kind).not.toBe('claim')
    }),
  )
})
