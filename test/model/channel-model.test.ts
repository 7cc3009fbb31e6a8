import { expect, test } from 'vitest'
import * as buyer from '../../src/buyer/ledger.ts'
import * as seller from '../../src/seller/ledger.ts'
import { StockWorld } from './stock-world.ts'
import { Violation, World, type Rules } from './world.ts'
import { loadMutant, mutants } from './mutants.ts'
import { seeded } from '../fixtures/seeded.ts'

const honest: Rules = { buyer, seller }
const histories = process.env['TEST_DEEP'] === '1' ? 60_000 : 1500

/** Runs random histories until one violates an invariant; null when none does. */
function findViolation(rules: Rules, histories: number, steps: number): string | null {
  for (let seed = 1; seed <= histories; seed++) {
    const worlds = [
      new World(rules, seeded(seed), { faults: true, cheats: false }),
      new World(rules, seeded(seed * 7919), { faults: false, cheats: false }),
      new World(rules, seeded(seed * 15_485_863), { faults: true, cheats: true }),
      new StockWorld(rules, seeded(seed * 104_729), true),
      new StockWorld(rules, seeded(seed * 1_299_709), false),
    ]
    for (const world of worlds) {
      const trace: string[] = []
      try {
        for (let i = 0; i < steps; i++) world.step()
      } catch (error) {
        if (!(error instanceof Violation)) throw error
        if (world instanceof World) trace.push(...world.trace)
        return `seed ${seed}, ${world.constructor.name}: ${error.message} [${trace.slice(-30).join(', ')}]`
      }
    }
  }
  return null
}

test('no random history of losses, repeats, crashes, lost stores and old backups violates a money invariant', () => {
  expect(findViolation(honest, histories, 150)).toBeNull()
}, 300_000)

for (const mutant of mutants) {
  test(`without "${mutant.clause}" some history violates an invariant`, async () => {
    const rules = await loadMutant(mutant)
    expect(findViolation(rules, 3000, 150)).not.toBeNull()
  })
}
