import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { worthOfWei, type Usdc } from '../wire/amount.ts'
import type { Hex } from '../wire/hex.ts'
import { newEntry, type Entry } from './channel-entry.ts'
import {
  batchGas,
  chooseClaims,
  claimOrder,
  claimPrice,
  claimSizes,
  freeOfCharge,
  gasOf,
  intoBatches,
  rowGas,
  settleDefaults,
  valueOf,
  type ClaimOrder,
  type Moment,
  type SettlePolicy,
} from './settle-policy.ts'

const price = fc.bigInt({ min: 0n, max: 10n ** 10n })
const nowMs = 1_700_000_000_000
const hour = 3_600_000
const address: Hex = `0x${'1'.repeat(40)}`
const word = (value: number): Hex => `0x${value.toString(16).padStart(64, '0')}`

interface Standing {
  charged: Usdc
  claimed?: Usdc
  balance?: Usdc
  withdrawing?: boolean
  ageMs?: number
}

let nextId = 1
function entryOf({
  charged,
  claimed = 0n,
  balance = charged,
  withdrawing = false,
  ageMs = 0,
}: Standing): Entry {
  const config = {
    payer: address,
    payerAuthorizer: address,
    receiver: address,
    receiverAuthorizer: address,
    token: address,
    withdrawDelay: 900,
    salt: word(0),
  }
  const facts = { reading: 1, balance, totalClaimed: claimed, withdrawing: 0n }
  const entry = newEntry(word((nextId += 1)), config, {
    ...facts,
    withdrawInitiatedAtSec: 0,
    refundNonce: 0n,
  })
  Object.assign(entry.ledger, {
    balance,
    charged,
    signed: charged + 10n,
    totalClaimed: claimed,
    withdrawing: withdrawing ? 1n : 0n,
  })
  entry.signature = '0x01'
  entry.unclaimedSinceMs = charged > claimed ? nowMs - ageMs : null
  return entry
}

const dollar = 1_000_000n
const policy: SettlePolicy = {
  ...settleDefaults,
  threshold: 2n * dollar,
  intervalMs: 6 * hour,
  coinPrice: 4000n * dollar,
}
// A gas price at which a row costs a tenth of a cent: 20,000 gas x 12.5 Mwei x $4000.
const noData = [0n, 0n] as const
const cheap: Moment = { nowMs, price: claimPrice(12_500_000n, noData), occasion: 'routine' }
const rowCostAt = ({ price }: Moment) => worthOfWei(price.rowWei, policy.coinPrice)
const rowCost = rowCostAt(cheap)
const costOf = (rows: number, { price }: Moment = cheap) =>
  worthOfWei(price.batchWei + BigInt(rows) * price.rowWei, policy.coinPrice)
const idsOf = (chosen: readonly { channelId: Hex }[]) => chosen.map(({ channelId }) => channelId)

describe('the price of a claim', () => {
  test('is that of its gas where bytes cost nothing', () => {
    expect(rowCost).toBe(1000n)
    expect(claimPrice(3n, noData)).toEqual({ rowWei: 3n * BigInt(rowGas), batchWei: 3n * BigInt(batchGas) })
  })

  test('meets within a hundredth what the OP stack asks for the bytes of any number of rows', () => {
    const prices = fc.bigInt({ min: 10n ** 9n, max: 10n ** 18n })
    fc.assert(
      fc.property(prices, fc.integer({ min: 1, max: 195 }), (scaled, rows) => {
        const asked = (size: number) => opStackFee(size, scaled)
        const [one, many] = claimSizes
        const { rowWei, batchWei } = claimPrice(0n, [asked(one), asked(many)])
        const told = batchWei + BigInt(rows) * rowWei
        const real = asked(one + ((many - one) / 100) * (rows - 1))
        expect(told * 100n).toBeGreaterThanOrEqual(real * 99n)
        expect(told * 100n).toBeLessThanOrEqual((real + BigInt(rows)) * 101n)
      }),
    )
  })

  test('never falls below that of its gas, whatever RPCs say of bytes, and rises with it', () => {
    const wei = fc.bigInt({ min: 0n, max: 10n ** 18n })
    fc.assert(
      fc.property(price, wei, wei, wei, (weiPerGas, one, many, more) => {
        const [gas, all] = [claimPrice(weiPerGas, noData), claimPrice(weiPerGas, [one, many])]
        expect(all.rowWei).toBeGreaterThanOrEqual(gas.rowWei)
        expect(all.batchWei).toBeGreaterThanOrEqual(gas.batchWei)
        expect(all.batchWei + all.rowWei - gas.batchWei - gas.rowWei).toBeGreaterThanOrEqual(one)
        const dearer = claimPrice(weiPerGas, [one, many + more])
        expect(dearer.rowWei).toBeGreaterThanOrEqual(all.rowWei)
      }),
    )
  })
})

/** The specified upper bound of the OP stack since Fjord; `scaled` stands for the prices of the chain below. */
function opStackFee(unsignedSize: number, scaled: bigint): bigint {
  const size = BigInt(unsignedSize) + 68n
  const estimated = -42_585_600n + 836_500n * (size + size / 255n + 16n)
  return ((estimated > 100_000_000n ? estimated : 100_000_000n) * scaled) / 10n ** 12n
}

describe('a claim', () => {
  test('takes what is charged and not claimed, or what is left of the balance', () => {
    expect(claimOrder(entryOf({ charged: 70n, claimed: 20n }))).toMatchObject({
      totalClaimed: 70n,
      unclaimed: 50n,
    })
    expect(claimOrder(entryOf({ charged: 70n, claimed: 20n, balance: 40n }))).toMatchObject({
      totalClaimed: 40n,
      unclaimed: 20n,
    })
    expect(claimOrder(entryOf({ charged: 70n, claimed: 70n }))).toBeNull()
  })

  test('that a reorg undid is due again, though the ledger remembers it', () => {
    const entry = entryOf({ charged: 70n, claimed: 70n })
    entry.claimedOnChain = 20n
    expect(claimOrder(entry)).toMatchObject({ totalClaimed: 70n, unclaimed: 50n })
  })

  test('needs the signature of the highest voucher', () => {
    const entry = entryOf({ charged: 70n })
    entry.signature = null
    expect(claimOrder(entry)).toBeNull()
  })
})

describe('by value', () => {
  test('all is claimed from the threshold on, except what is not worth many times its gas', () => {
    const [rich, poor] = [entryOf({ charged: 2n * dollar }), entryOf({ charged: 9n * rowCost })]
    expect(idsOf(chooseClaims([poor, rich], policy, cheap))).toEqual([rich.id])
    expect(chooseClaims([entryOf({ charged: 2n * dollar - 1n })], policy, cheap)).toEqual([])
  })

  test('nothing is claimed while gas is too dear, however much it is', () => {
    const entries = [entryOf({ charged: 3n * dollar })]
    const dear = { ...cheap, price: claimPrice(1_250_000_000n, noData) }
    expect(costOf(1, dear) * policy.profitFactor).toBeGreaterThan(3n * dollar)
    expect(chooseClaims(entries, policy, dear)).toEqual([])
    expect(chooseClaims(entries, policy, { ...dear, occasion: 'all' })).toHaveLength(1)
  })
})

describe('at once', () => {
  const withdrawing = { charged: 60n * rowCost, withdrawing: true }

  test('a channel is claimed whose withdrawal is pending, first of all', () => {
    const [rich, urgent] = [entryOf({ charged: 5n * dollar }), entryOf(withdrawing)]
    expect(idsOf(chooseClaims([entryOf({ charged: dollar }), urgent], policy, cheap))).toEqual([urgent.id])
    expect(idsOf(chooseClaims([rich, urgent], policy, cheap))).toEqual([urgent.id, rich.id])
  })

  test('not for less than it costs: dust would be a way to drain the seller', () => {
    const dust = entryOf({ charged: rowCost - 1n, withdrawing: true, ageMs: 99 * hour })
    expect(chooseClaims([dust], policy, cheap)).toEqual([])
    expect(chooseClaims([dust], { ...policy, coinPrice: 0n }, cheap)).toHaveLength(1)
  })
})

test('by age a channel is claimed from the interval on', () => {
  const standing = { charged: 60n * rowCost }
  expect(chooseClaims([entryOf({ ...standing, ageMs: 6 * hour - 1 })], policy, cheap)).toEqual([])
  expect(chooseClaims([entryOf({ ...standing, ageMs: 6 * hour })], policy, cheap)).toHaveLength(1)
})

test('when leaving all is claimed that brings its gas', () => {
  const leaving = { ...cheap, occasion: 'leaving' } as const
  const [worth, dust] = [entryOf({ charged: 60n * rowCost }), entryOf({ charged: rowCost - 1n })]
  expect(idsOf(chooseClaims([worth, dust], policy, leaving))).toEqual([worth.id])
  expect(chooseClaims([entryOf({ charged: rowCost })], policy, leaving)).toEqual([])
})

const standing: fc.Arbitrary<Standing> = fc
  .record({
    charged: fc.bigInt({ min: 0n, max: 3n * dollar }),
    claimed: fc.bigInt({ min: 0n, max: dollar }),
    balance: fc.bigInt({ min: 0n, max: 3n * dollar }),
    withdrawing: fc.boolean(),
    ageMs: fc.nat(12 * hour),
  })
  .map((one) => ({ ...one, claimed: one.claimed < one.charged ? one.claimed : one.charged }))

const momentOf = fc
  .tuple(price, fc.bigInt({ min: 0n, max: 10n ** 14n }), fc.bigInt({ min: 0n, max: 10n ** 16n }))
  .map(([weiPerGas, one, rise]) => ({ ...cheap, price: claimPrice(weiPerGas, [one, one + rise]) }))

describe('whatever the channels and the price of gas are', () => {
  test('what is chosen brings its gas, and by value alone many times that', () => {
    fc.assert(
      fc.property(fc.array(standing, { maxLength: 12 }), momentOf, (standings, moment) => {
        const entries = standings.map(entryOf)
        const chosen = chooseClaims(entries, policy, moment)
        if (chosen.length === 0) return
        expect(valueOf(chosen)).toBeGreaterThanOrEqual(costOf(chosen.length, moment))
        for (const { unclaimed } of chosen) expect(unclaimed).toBeGreaterThanOrEqual(rowCostAt(moment))
        const pressing = entries.some(
          ({ ledger, unclaimedSinceMs }) =>
            ledger.withdrawing > 0n || (unclaimedSinceMs !== null && nowMs - unclaimedSinceMs >= 6 * hour),
        )
        if (pressing) return
        expect(valueOf(chosen)).toBeGreaterThanOrEqual(10n * costOf(chosen.length, moment))
        expect(valueOf(chosen)).toBeGreaterThanOrEqual(policy.threshold)
      }),
    )
  })

  test('a withdrawal or an old charge worth a transaction of its own is never left out', () => {
    fc.assert(
      fc.property(fc.array(standing, { maxLength: 12 }), momentOf, (standings, moment) => {
        const entries = standings.map(entryOf)
        const chosen = new Set(idsOf(chooseClaims(entries, policy, moment)))
        for (const entry of entries) {
          const order = claimOrder(entry)
          const isPressing =
            entry.ledger.withdrawing > 0n || nowMs - (entry.unclaimedSinceMs ?? nowMs) >= 6 * hour
          if (order !== null && isPressing && order.unclaimed >= costOf(1, moment))
            expect(chosen.has(entry.id)).toBe(true)
        }
      }),
    )
  })

  test('where gas costs nothing, all that is due is claimed when leaving', () => {
    fc.assert(
      fc.property(fc.array(standing, { maxLength: 12 }), (standings) => {
        const entries = standings.map(entryOf)
        const leaving = { ...cheap, price: freeOfCharge, occasion: 'leaving' } as const
        const due = entries.filter((entry) => claimOrder(entry) !== null).map(({ id }) => id)
        expect(new Set(idsOf(chooseClaims(entries, policy, leaving)))).toEqual(new Set(due))
      }),
    )
  })

  test('batches hold every row once, in order, and stay below their gas', () => {
    const bound = fc.integer({ min: 1, max: 6_000_000 })
    fc.assert(
      fc.property(fc.nat(500), bound, (count, maxBatchGas) => {
        const orders = Array.from(
          { length: count },
          (_, index) => ({ unclaimed: BigInt(index) }) as ClaimOrder,
        )
        const batches = intoBatches(orders, maxBatchGas)
        expect(batches.flat()).toEqual(orders)
        for (const batch of batches)
          expect(batch.length === 1 || gasOf(batch.length) <= Math.max(maxBatchGas, batchGas)).toBe(true)
      }),
    )
  })
})

test('a hundred channels fit into one transaction as it is set by default', () => {
  expect(gasOf(100)).toBeLessThan(settleDefaults.maxBatchGas)
})
