import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { planSweep, type SweepFacts, type SweepStep } from './sweep-plan.ts'

const amount = fc.bigInt({ min: 0n, max: 1_000n })

const factsOf: fc.Arbitrary<SweepFacts> = fc
  .record({
    claimed: amount,
    unclaimed: amount,
    withdrawAmount: amount,
    charged: amount,
    refunding: amount,
    initiatedAgoSec: fc.option(fc.nat(2000)),
    depositUntilSec: fc.option(fc.constant(10_300)),
    refundable: fc.boolean(),
    isKnown: fc.boolean(),
    seller: fc.option(fc.constant('http://seller')),
  })
  .map((world) => ({
    chain: {
      balance: world.claimed + world.unclaimed,
      totalClaimed: world.claimed,
      withdrawAmount: world.initiatedAgoSec === null ? 0n : world.withdrawAmount,
      withdrawInitiatedAtSec: world.initiatedAgoSec === null ? 0 : 10_000 - world.initiatedAgoSec,
      refundNonce: 0n,
    },
    withdrawDelay: 900,
    nowSec: 10_000,
    known: world.isKnown
      ? {
          charged: world.charged,
          refunding: world.refunding,
          depositUntilSec: world.depositUntilSec,
          refundable: world.refundable,
        }
      : null,
    seller: world.seller,
  }))

test('no step asks for more than the channel has, comes too early, or touches what is not ours to touch', () => {
  fc.assert(
    fc.property(factsOf, fc.boolean(), (facts, foreign) => {
      const { chain, known, nowSec, withdrawDelay } = facts
      const step = planSweep(facts, { foreign })
      if (step.kind !== 'nothing') expect(step.amount).toBeLessThanOrEqual(chain.balance - chain.totalClaimed)
      const isPending = chain.withdrawInitiatedAtSec > 0
      if (step.kind === 'refund' || step.kind === 'withdraw') {
        expect(isPending).toBe(false)
        expect(step.amount).toBeGreaterThan(0n)
        expect(known?.depositUntilSec ?? null).toBeNull()
      }
      if (step.kind === 'refund') expect(known).toMatchObject({ refundable: true, refunding: 0n })
      if (step.kind === 'finalize')
        expect(nowSec).toBeGreaterThanOrEqual(chain.withdrawInitiatedAtSec + withdrawDelay)
      if (step.kind === 'wait') expect(nowSec).toBeLessThan(step.untilSec)
      if (known === null && !foreign) expect(['nothing', 'foreign']).toContain(step.kind)
    }),
  )
})

test('nothing is left behind without a step, and nothing is done for nothing', () => {
  fc.assert(
    fc.property(factsOf, fc.boolean(), (facts, foreign) => {
      const { chain, known } = facts
      const claimed = chain.totalClaimed
      const spent = known !== null && known.charged > claimed ? known.charged : claimed
      const isPending = chain.withdrawInitiatedAtSec > 0
      const mayArrive = !isPending && known !== null && known.depositUntilSec !== null
      const brings = isPending ? chain.withdrawAmount > 0n && chain.balance > claimed : chain.balance > spent
      expect(planSweep(facts, { foreign }).kind === 'nothing').toBe(!brings && !mayArrive)
    }),
  )
})

interface World {
  facts: SweepFacts
  wallet: bigint
}

/** What the chain and the seller make of a step; `charged` is what the seller is really owed. */
function apply(
  { facts, wallet }: World,
  step: SweepStep,
  seller: { answers: boolean; charged: bigint },
): World {
  const { chain, known } = facts
  const pay = (paid: bigint) => ({
    facts: {
      ...facts,
      chain: { ...chain, balance: chain.balance - paid, withdrawAmount: 0n, withdrawInitiatedAtSec: 0 },
    },
    wallet: wallet + paid,
  })
  const unclaimed = chain.balance - chain.totalClaimed
  const announced = () => ({
    facts: { ...facts, chain: { ...chain, withdrawAmount: unclaimed, withdrawInitiatedAtSec: facts.nowSec } },
    wallet,
  })
  switch (step.kind) {
    case 'refund': {
      if (!seller.answers) return announced()
      const owed = seller.charged > chain.totalClaimed ? seller.charged : chain.totalClaimed
      const paid = chain.balance > owed ? chain.balance - owed : 0n
      const claimed = owed < chain.balance ? owed : chain.balance
      const after = pay(paid)
      return { ...after, facts: { ...after.facts, chain: { ...after.facts.chain, totalClaimed: claimed } } }
    }
    case 'withdraw':
      return announced()
    case 'wait':
    case 'later':
      return {
        facts: { ...facts, nowSec: step.untilSec, known: known && { ...known, depositUntilSec: null } },
        wallet,
      }
    case 'finalize':
      return pay(chain.withdrawAmount < unclaimed ? chain.withdrawAmount : unclaimed)
    default:
      return { facts, wallet }
  }
}

test('from any state, step after step brings home all that is not spent, in a handful of steps', () => {
  fc.assert(
    fc.property(factsOf, fc.boolean(), (facts, answers) => {
      const charged = facts.known?.charged ?? 0n
      let world: World = { facts, wallet: 0n }
      let steps = 0
      for (; steps < 10; steps++) {
        const step = planSweep(world.facts, { foreign: true })
        if (step.kind === 'nothing') break
        world = apply(world, step, { answers, charged })
      }
      expect(steps).toBeLessThan(8)
      const { balance, totalClaimed, withdrawInitiatedAtSec } = world.facts.chain
      const left = balance - totalClaimed
      // What stays is at most what the seller charged and did not claim yet.
      if (withdrawInitiatedAtSec === 0)
        expect(left).toBeLessThanOrEqual(charged > totalClaimed ? charged - totalClaimed : 0n)
      expect(world.wallet + balance).toBe(facts.chain.balance)
    }),
  )
})
