import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Usdc } from '../wire/amount.ts'
import type { Hex } from '../wire/hex.ts'
import { runGroup } from './group.ts'
import type { Db } from './open.ts'
import type { SellerChannelRow, SellerRequestRow } from './rows.ts'
import { hex32, sellerChannel, sellerRequest, testDb } from './samples.ts'
import { listRequests, loadChannel, sellerOperations } from './seller-operations.ts'

// A step is what a correct seller does, or the same with something wrong about it.
const step = fc.record({
  act: fc.constantFrom(
    'admit' as const,
    'admit' as const,
    'finish' as const,
    'meter' as const,
    'raise' as const,
  ),
  id: fc.integer({ min: 1, max: 6 }),
  amount: fc.bigInt({ min: 0n, max: 50n }),
  raise: fc.bigInt({ min: -5n, max: 80n }),
  forgotten: fc.constantFrom(0n, 0n, 0n, 1n),
  skippedRevs: fc.constantFrom(0, 0, 0, 0, 1, -1),
})
type Step = typeof step extends fc.Arbitrary<infer S> ? S : never

interface Books {
  channel: SellerChannelRow
  requests: Map<Hex, SellerRequestRow>
  held: Usdc
}

function booksOf(db: Db, channelId: Hex): Books {
  const channel = loadChannel(db, { channelId }) as SellerChannelRow
  const requests = new Map(listRequests(db, { channelId, limit: 100 }).map((row) => [row.id, row]))
  const held = (channel.openRequests ?? []).reduce((sum, { ceiling }) => sum + ceiling, 0n)
  return { channel, requests, held }
}

/** What the step asks of the store, and whether the rules allow it. */
function ask(
  { channel, requests, held }: Books,
  step: Step,
): { name: string; params: unknown; allowed: boolean } {
  const id = hex32(step.id)
  const row = requests.get(id)
  const rev = channel.rev + 1 + step.skippedRevs
  const raised = { ...channel, rev, signed: channel.signed + step.raise }
  const mayRaise = step.skippedRevs === 0 && step.raise >= 0n
  if (step.act === 'raise') return { name: 'saveChannel', params: { channel: raised }, allowed: mayRaise }
  if (step.act === 'meter') {
    return { name: 'meter', params: { channelId: channel.id, id, meter: step.amount }, allowed: true }
  }
  if (step.act === 'admit') {
    const request = sellerRequest({ channelId: channel.id, id, ceiling: step.amount })
    const covered = channel.charged + held + step.amount <= raised.signed
    return { name: 'admit', params: { channel: raised, request }, allowed: mayRaise && !row && covered }
  }
  const charged = channel.charged + step.amount - step.forgotten
  const request = { channelId: channel.id, id, charged: step.amount, cumulative: charged }
  const ending = { receipt: '{}', closedAtMs: 1, streamed: false }
  const params = { channel: { ...channel, rev, charged }, request: { ...request, ...ending } }
  const chargeable = row?.state === 'open' && step.amount <= row.ceiling && step.forgotten === 0n
  return { name: 'finish', params, allowed: step.skippedRevs === 0 && chargeable }
}

function expectInvariants(before: Books, { channel, requests, held }: Books): void {
  const charges = [...requests.values()].reduce((sum, { charged }) => sum + charged, 0n)
  expect(channel.charged).toBe(charges)
  expect(channel.charged + held).toBeLessThanOrEqual(channel.signed)
  expect(channel.charged).toBeGreaterThanOrEqual(before.channel.charged)
  expect(channel.signed).toBeGreaterThanOrEqual(before.channel.signed)
  const closed = [...before.requests.values()].filter(({ state }) => state === 'closed')
  expect(closed.map(({ id }) => requests.get(id))).toEqual(closed)
}

test('the store takes exactly the steps that the rules allow, and its money invariants hold after each', () => {
  using store = testDb('seller')
  const { db } = store
  db.pragma('synchronous = OFF')
  let histories = 0
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      const channelId = hex32((histories += 1))
      sellerOperations.writes.saveChannel(db, { channel: sellerChannel({ id: channelId, signed: 60n }) })
      for (const step of steps) {
        const before = booksOf(db, channelId)
        const { name, params, allowed } = ask(before, step)
        const [reply] = runGroup(db, sellerOperations, [{ id: 1, kind: 'write', name, params }])
        expect({ name, taken: reply && 'value' in reply }).toEqual({ name, taken: allowed })
        expectInvariants(before, booksOf(db, channelId))
      }
    }),
    { numRuns: 100 },
  )
})
