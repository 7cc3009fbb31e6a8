/** The settlement engine on a real chain: what is claimed when, bad rows, unknown outcomes, reorgs, no gas. */
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { silentLog } from '../../src/base/log.ts'
import type { SellerNodeOptions } from '../../src/node/seller-node.ts'
import type { Entry } from '../../src/seller/channel-entry.ts'
import { openSettler, type SettleParts, type Settler } from '../../src/seller/settle.ts'
import { settleDefaults } from '../../src/seller/settle-policy.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, placeDataOracle, type TestChain } from '../fixtures/chain.ts'
import { depositDirectly, openRawBuyer, RawBuyer } from '../fixtures/raw-buyer.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { openSellerDesk, type SellerDesk } from '../fixtures/seller-desk.ts'
import { freshSellerKey } from '../fixtures/seller-process.ts'
import { until } from '../fixtures/seller-rows.ts'
import { openTestSeller } from '../fixtures/seller.ts'
import { openSeveral } from '../fixtures/rpc-several.ts'

// On a busy machine things take longer than the second that a condition gets by default.
vi.setConfig({ expect: { poll: { timeout: 10_000 } } })

const parts = new AsyncDisposableStack()
let engine: ScriptedEngine
let chain: TestChain
let nextIndex = 1

beforeAll(async () => {
  engine = parts.use(await startScriptedEngine())
})
afterAll(() => parts.disposeAsync())
// Each test moves its chain's clock, blocks or history about.
beforeEach(async () => {
  const own = await openTestChain()
  chain = own
  return () => own[Symbol.asyncDispose]()
})

const never = { threshold: 10n ** 12n, intervalMs: 10 ** 12 }
const claimedOf = async ({ channelId }: { channelId: `0x${string}` }) =>
  (await chain.escrow.channel(channelId)).totalClaimed

/** Channels with a deposit of 1000 and a charge of 100 to 100 + n, known to the desk, without any server. */
async function openCharged({ address, book, onChain }: SellerDesk, count: number): Promise<Entry[]> {
  const terms = {
    receiverAuthorizer: address,
    receiver: accounts.receiver.address,
    payer: accounts.payer.address,
    payerAuthorizer: accounts.payerAuthorizer.address,
    token: chain.network.asset,
    withdrawDelay: 900,
  }
  const buyers = Array.from({ length: count }, () => {
    const salt = `0x${(nextIndex += 1).toString(16).padStart(64, '0')}` as const
    return new RawBuyer(chain, '', undefined as never, { ...terms, salt })
  })
  await depositDirectly(buyers, 1000n)
  const facts = await onChain.readChannels(buyers.map(({ channelId }) => channelId))
  return Promise.all(
    buyers.map(async (buyer, index) => {
      const entry = await book.learn(buyer.channelId, buyer.config, facts[index]!)
      entry.ledger.charged = 100n + BigInt(index)
      entry.ledger.signed = 1000n
      entry.signature = buyer.voucherSignature(1000n)
      return entry
    }),
  )
}

function settlerOf({ book, onChain }: SellerDesk, more: Partial<SettleParts> = {}): Settler {
  return openSettler({
    book,
    policy: { ...settleDefaults, ...never },
    sendClaims: onChain.sendClaims,
    reconcile: onChain.reconcileClaims,
    readChain: onChain.readChannels,
    claimPrice: onChain.claimPrice,
    withdrawDelayMs: 900_000,
    now: Date.now,
    log: silentLog,
    ...more,
  })
}

const nonceOf = async ({ address }: SellerDesk) =>
  Number(await chain.rpc.send('eth_getTransactionCount', [address, 'latest']))

test('claims are cut into transactions of at most the gas that is set', async () => {
  await using desk = await openSellerDesk(chain)
  await openCharged(desk, 10)
  const policy = { ...settleDefaults, ...never, maxBatchGas: 90_000 + 4 * 20_000 }
  expect(await settlerOf(desk, { policy }).settle('all')).toBe(1045n)
  expect(await nonceOf(desk)).toBe(3)
  expect(await settlerOf(desk).settle('all')).toBe(0n)
  expect(await nonceOf(desk)).toBe(3)
})

test('bad rows are found, cost no gas and no time of the good ones, and are left alone for a while', async () => {
  await using desk = await openSellerDesk(chain)
  const entries = await openCharged(desk, 9)
  const bad = [entries[2]!, entries[7]!]
  for (const entry of bad) entry.signature = entries[0]!.signature
  let nowMs = Date.now()
  let batches = 0
  const settler = settlerOf(desk, {
    policy: { ...settleDefaults, threshold: 0n, intervalMs: 10 ** 12 },
    now: () => nowMs,
    sendClaims: (orders) => {
      batches += 1
      return desk.onChain.sendClaims(orders)
    },
  })
  const sum = entries.reduce((total, { ledger }) => total + ledger.charged, 0n)
  const badSum = bad.reduce((total, { ledger }) => total + ledger.charged, 0n)
  expect(await settler.settle('routine')).toBe(sum - badSum)
  const [sent, mined] = [batches, await nonceOf(desk)]
  expect(await settler.settle('routine')).toBe(0n)
  expect(batches).toBe(sent)
  nowMs += 60_000
  expect(await settler.settle('routine')).toBe(0n)
  expect(batches).toBe(sent + 3)
  expect(await nonceOf(desk)).toBe(mined)
  expect(bad.map(({ id }) => settler.isStuck(id))).toEqual([false, false])
  nowMs += 450_000
  expect(bad.map(({ id }) => settler.isStuck(id))).toEqual([true, true])
  expect(settler.isStuck(entries[0]!.id)).toBe(false)
})

test('what somebody else has claimed meanwhile is not claimed again', async () => {
  await using desk = await openSellerDesk(chain)
  const [first, second] = await openCharged(desk, 2)
  const { config, signature } = first!
  const row = { config, maxClaimable: 1000n, signature: signature!, totalClaimed: 100n }
  const call = chain.escrow.calls.claim([row])
  await chain.rpc.send('eth_sendTransaction', [{ from: accounts.receiver.address, ...call }])
  await expect.poll(() => claimedOf({ channelId: first!.id })).toBe(100n)
  const orders: unknown[] = []
  const settler = settlerOf(desk, {
    sendClaims: (batch) => {
      orders.push(...batch.map(({ channelId }) => channelId))
      return desk.onChain.sendClaims(batch)
    },
  })
  expect(await settler.settle('all')).toBe(101n)
  expect(orders).toEqual([second!.id])
})

test('while the outcome of a claim is unknown nothing else is claimed; then it is found, not repeated', async () => {
  await using one = await openSeveral(chain, 1, { timeoutMs: 1_000 })
  await using desk = await openSellerDesk(chain, { rpc: one.rpc, deadlineMs: 1_000 })
  const entries = await openCharged(desk, 3)
  const settler = settlerOf(desk)
  const [proxy] = one.proxies
  let isSent = false
  proxy!.onMethod = (method) => {
    isSent ||= method === 'eth_sendRawTransaction'
    proxy!.mode = isSent ? 'forwardSilently' : 'forward'
  }
  await expect(settler.settle('all')).rejects.toMatchObject({ code: 'chain_unavailable' })
  expect(await nonceOf(desk)).toBe(1)
  entries[0]!.ledger.charged += 50n
  await expect(settler.settle('all')).rejects.toMatchObject({ code: 'chain_unavailable' })
  proxy!.onMethod = () => undefined
  proxy!.mode = 'forward'
  expect(await settler.settle('all')).toBe(50n)
  expect(await nonceOf(desk)).toBe(2)
  expect(entries.map(({ claimedOnChain }) => claimedOnChain)).toEqual([150n, 101n, 102n])
})

test('turns that come at once take turns: nothing is claimed twice', async () => {
  await using desk = await openSellerDesk(chain)
  await openCharged(desk, 3)
  const settler = settlerOf(desk)
  const moved = await Promise.all(
    ['all', 'leaving', 'all'].map((occasion) => settler.settle(occasion as 'all')),
  )
  expect(moved).toEqual([303n, 0n, 0n])
  expect(await nonceOf(desk)).toBe(1)
})

test('a claim that a reorg undid is noticed and comes back in identical bytes', async () => {
  await using desk = await openSellerDesk(chain)
  const entries = await openCharged(desk, 2)
  const settler = settlerOf(desk)
  const { number } = await chain.escrow.head()
  const before = await chain.rpc.send('evm_snapshot')
  expect(await settler.settle('all')).toBe(201n)
  await chain.rpc.send('evm_revert', [before])
  for (const entry of entries) {
    await desk.book.adoptChain(entry, await desk.onChain.readChannel(entry.id))
    expect(entry).toMatchObject({ claimedOnChain: 0n, ledger: { totalClaimed: entry.ledger.charged } })
  }
  desk.onChain.reorged(number + 1)
  expect(await settler.settle('all')).toBe(0n)
  expect(await nonceOf(desk)).toBe(1)
  expect(await desk.outboxStore.outboxPending()).toEqual([])
  expect((await chain.escrow.channel(entries[1]!.id)).totalClaimed).toBe(101n)
})

test('a claim that vanished and whose nonce is gone is made anew, even when nobody told of the reorg', async () => {
  await using desk = await openSellerDesk(chain)
  const [entry] = await openCharged(desk, 1)
  const settler = settlerOf(desk)
  const before = await chain.rpc.send('evm_snapshot')
  await settler.settle('all')
  await chain.rpc.send('evm_revert', [before])
  await chain.rpc.send('anvil_setNonce', [desk.address, '0x1'])
  await desk.book.adoptChain(entry!, await desk.onChain.readChannel(entry!.id))
  // It takes some seconds until a nonce is held for used by another.
  expect(await settler.settle('all')).toBe(100n)
  expect((await chain.escrow.channel(entry!.id)).totalClaimed).toBe(100n)
})

describe('a running seller', () => {
  const openSeller = async (options: Partial<SellerNodeOptions> = {}) =>
    openTestSeller(chain, engine.url, { key: await freshSellerKey(chain), ...options })

  async function openPaying(seller: { url: string }): Promise<RawBuyer> {
    const buyer = await openRawBuyer(chain, seller.url, (nextIndex += 1))
    expect((await buyer.chat({ deposit: 100_000n })).status).toBe(200)
    return buyer
  }

  test('claims by itself once earnings are worth it, and not before', async () => {
    const settle = { threshold: 200n, intervalMs: 10 ** 12 }
    await using seller = await openSeller({ settle, settleEveryMs: 20 })
    const buyer = await openPaying(seller)
    expect(buyer.charged).toBeLessThan(200n)
    expect(await claimedOf(buyer)).toBe(0n)
    while (buyer.charged < 200n) await buyer.chat()
    await until(seller, buyer.channelId, () => seller.book.find(buyer.channelId)!.claimedOnChain >= 200n)
  })

  test('claims a charge that is old, when its clock says so', async () => {
    let aheadMs = 0
    const settle = { threshold: 10n ** 12n, intervalMs: 3_600_000 }
    await using seller = await openSeller({ settle, settleEveryMs: 20, now: () => Date.now() + aheadMs })
    const buyer = await openPaying(seller)
    aheadMs = 3_600_000
    await until(seller, buyer.channelId, () => seller.book.find(buyer.channelId)!.claimedOnChain > 0n)
  })

  test('claims when it leaves, unless gas costs more than that', async () => {
    const free = await openSeller()
    const buyer = await openPaying(free)
    await free.close(0)
    expect(await claimedOf(buyer)).toBe(buyer.charged)

    const dear = await openSeller({ settle: { ...never, coinPrice: 4_000_000_000n } })
    const other = await openPaying(dear)
    await dear.close(0)
    expect(await claimedOf(other)).toBe(0n)
  })

  test('weighs what the chain takes for the bytes of a claim, where it takes something', async () => {
    await placeDataOracle(chain, 10n ** 15n)
    const settle = { ...never, coinPrice: 1_000n }
    const blind = await openSeller({ settle })
    const buyer = await openPaying(blind)
    await blind.close(0)
    expect(await claimedOf(buyer)).toBe(buyer.charged)

    const seeing = await openSeller({ settle, paysForData: true })
    const other = await openPaying(seeing)
    await seeing.close(0)
    expect(await claimedOf(other)).toBe(0n)
  })

  test('that has no gas left takes no more work once half of a withdrawal’s delay has passed in vain', async () => {
    let aheadMs = 0
    const key = await freshSellerKey(chain)
    const settle = { threshold: 1n, intervalMs: 10 ** 12 }
    await using seller = await openSeller({ key, settle, settleEveryMs: 20, now: () => Date.now() + aheadMs })
    const buyer = await openRawBuyer(chain, seller.url, (nextIndex += 1))
    await depositDirectly(buyer, 100_000n)
    const { receiverAuthorizer } = buyer.config
    await chain.rpc.send('anvil_setBalance', [receiverAuthorizer, '0x0'])
    expect((await buyer.chat()).status).toBe(200)
    await expect(seller.settle()).rejects.toMatchObject({ code: 'gas_insufficient' })
    expect((await buyer.chat()).status).toBe(200)
    aheadMs = 451_000
    expect(await buyer.chat({ admitBySec: Math.floor((Date.now() + aheadMs) / 1000) + 60 })).toMatchObject({
      status: 503,
      code: 'settlement_overdue',
    })
    await chain.fund([{ address: receiverAuthorizer, eth: 10n ** 18n }])
    await until(
      seller,
      buyer.channelId,
      () => seller.book.find(buyer.channelId)!.claimedOnChain === buyer.charged,
    )
    // The turn that claimed it ends a moment after the chain shows the claim.
    await expect
      .poll(
        async () => (await buyer.chat({ admitBySec: Math.floor((Date.now() + aheadMs) / 1000) + 60 })).status,
      )
      .toBe(200)
  })
})
