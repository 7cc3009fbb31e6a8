import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { splitChannel, sumUp, type ChannelFacts } from './wallet-sums.ts'

const amount = fc.bigInt({ min: 0n, max: 1_000n })

const factsOf: fc.Arbitrary<ChannelFacts> = fc.record({
  balance: amount,
  charged: amount,
  chain: fc.option(fc.record({ totalClaimed: amount, withdrawAmount: amount })),
  running: amount,
  lost: amount,
  refunding: amount,
})

test('every unit of a channel is in exactly one place', () => {
  fc.assert(
    fc.property(factsOf, (facts) => {
      const parts = Object.values(splitChannel(facts))
      expect(parts.every((part) => part >= 0n)).toBe(true)
      expect(parts.reduce((sum, part) => sum + part, 0n)).toBe(facts.balance)
    }),
  )
})

test('nothing is called free that could still be charged, is asked back, or is being withdrawn', () => {
  fc.assert(
    fc.property(factsOf, (facts) => {
      const { free } = splitChannel(facts)
      const { balance, charged, running, lost, refunding, chain } = facts
      const taken = charged + running + lost + refunding + (chain?.withdrawAmount ?? 0n)
      expect(free <= (balance > taken ? balance - taken : 0n)).toBe(true)
    }),
  )
})

test('what is yours is what was put in less what was spent', () => {
  fc.assert(
    fc.property(amount, fc.array(factsOf, { maxLength: 6 }), (usdc, all) => {
      const channels = all.map((facts) => ({ balance: facts.balance, ...splitChannel(facts) }))
      const totals = sumUp({ usdc, promised: 0n }, channels)!
      const places = channels.flatMap(({ held, unresolved, refunding, withdrawing, free }) => [
        held,
        unresolved,
        refunding,
        withdrawing,
        free,
      ])
      expect(places.reduce((sum, part) => sum + part, usdc)).toBe(totals.yours)
      expect(totals.yours).toBe(totals.put - totals.spent)
    }),
  )
})
