import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { chooseExit, type ExitFacts } from './part-ways.ts'

const facts = (change: Partial<ExitFacts>): ExitFacts => ({
  state: 'distrusted',
  unspent: 100n,
  refunding: 0n,
  refusals: 0,
  unlocksAtSec: null,
  nowSec: 1000,
  ...change,
})

test('the seller is asked first, a few times; then its word is not needed any more', () => {
  expect(chooseExit(facts({}))).toBe('refund')
  expect(chooseExit(facts({ refusals: 2 }))).toBe('refund')
  expect(chooseExit(facts({ refusals: 3 }))).toBe('withdraw')
})

test('a withdrawal is finished when its delay is over, and not before', () => {
  const state = 'withdrawing'
  expect(chooseExit(facts({ state }))).toBe('withdraw')
  expect(chooseExit(facts({ state, unlocksAtSec: 1001 }))).toBe('wait')
  expect(chooseExit(facts({ state, unlocksAtSec: 1000 }))).toBe('finalize')
  expect(chooseExit(facts({ state: 'closed' }))).toBe('done')
})

test('where money of ours may be, it never says that it is done', () => {
  const states = fc.constantFrom<ExitFacts['state']>('open', 'distrusted', 'withdrawing', 'closed')
  fc.assert(
    fc.property(
      fc.record({
        state: states,
        unspent: fc.bigInt(-5n, 5n),
        refunding: fc.bigInt(0n, 3n),
        refusals: fc.nat(5),
        unlocksAtSec: fc.option(fc.nat(2000)),
        nowSec: fc.nat(2000),
      }),
      (any) => {
        const isLeft = any.state === 'withdrawing' || any.unspent > 0n || any.refunding > 0n
        expect(chooseExit(any) === 'done').toBe(any.state === 'closed' || !isLeft)
      },
    ),
    { numRuns: 100 },
  )
})
