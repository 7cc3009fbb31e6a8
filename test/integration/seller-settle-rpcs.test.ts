/** A seller behind several RPCs, some of which fail, lag or lie, and on a chain that gives blocks up. */
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { escrowAbi } from '../../src/chain/abi.ts'
import { networks } from '../../src/config/networks.ts'
import type { SellerNodeOptions } from '../../src/node/seller-node.ts'
import { batchErrors } from '../../src/wire/batch-settlement.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, word, type TestChain } from '../fixtures/chain.ts'
import { openRawBuyer, depositDirectly, type RawBuyer } from '../fixtures/raw-buyer.ts'
import { openSeveral, type SeveralRpcs } from '../fixtures/rpc-several.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey } from '../fixtures/seller-process.ts'
import { until } from '../fixtures/seller-rows.ts'
import { openTestSeller } from '../fixtures/seller.ts'

type Seller = Awaited<ReturnType<typeof openTestSeller>>

// On a busy machine things take longer than the second that a condition gets by default.
vi.setConfig({ expect: { poll: { timeout: 10_000 } } })

const parts = new AsyncDisposableStack()
let engine: ScriptedEngine
let chain: TestChain
let three: SeveralRpcs
let nextIndex = 1

beforeAll(async () => {
  engine = parts.use(await startScriptedEngine())
})
afterAll(() => parts.disposeAsync())
beforeEach(async () => {
  const stack = new AsyncDisposableStack()
  chain = stack.use(await openTestChain())
  three = stack.use(await openSeveral(chain, 3))
  return () => stack.disposeAsync()
})

async function openSeller(options: Partial<SellerNodeOptions> = {}): Promise<Seller> {
  return openTestSeller(chain, engine.url, {
    key: await freshSellerKey(chain),
    rpcUrls: three.urls,
    pollMs: 20,
    ...options,
  })
}

const openBuyer = ({ url }: Seller) => openRawBuyer(chain, url, (nextIndex += 1))

async function openPaying(seller: Seller): Promise<RawBuyer> {
  const buyer = await openBuyer(seller)
  expect(await buyer.chat({ deposit: 100_000n })).toMatchObject({ reason: null, status: 200 })
  return buyer
}

const entryOf = ({ channelId }: RawBuyer, { book }: Seller) => book.find(channelId)!
const claimedOf = async ({ channelId }: RawBuyer) => (await chain.escrow.channel(channelId)).totalClaimed

/** The newest block that each RPC has shown, from now on. */
function watchHeads({ proxies }: SeveralRpcs): number[] {
  const heads = proxies.map(() => 0)
  for (const [index, proxy] of proxies.entries())
    proxy.lie = ({ method, params }, result) => {
      if (method === 'eth_getBlockByNumber' && params[0] === 'latest')
        heads[index] = Number((result as { number: string }).number)
      return result
    }
  return heads
}

async function withdraw({ config }: RawBuyer, amount: bigint): Promise<void> {
  const call = chain.escrow.calls.initiateWithdraw(config, amount)
  await chain.rpc.send('eth_sendTransaction', [{ from: accounts.payer.address, ...call }])
}

describe('one RPC of three', () => {
  test('that reports a withdrawal which the others hide is enough for a claim at once; new work says what to do', async () => {
    await using seller = await openSeller()
    const buyer = await openPaying(seller)
    const { number } = await chain.escrow.head()
    for (const proxy of three.proxies.slice(1)) proxy.frozenAt = number
    await withdraw(buyer, 90_000n)
    // Enough have to see the claim mined before it is booked; that it is made does not wait for them.
    await expect.poll(() => claimedOf(buyer)).toBe(buyer.charged)
    expect(entryOf(buyer, seller).ledger.withdrawing).toBe(90_000n)
    const refused = await buyer.chat()
    expect(refused).toMatchObject({ status: 402, reason: batchErrors.channelBusy })
    expect(refused.text).toContain('A withdrawal of this channel is pending on the chain.')
    for (const proxy of three.proxies) proxy.frozenAt = null
    await until(seller, buyer.channelId, () => entryOf(buyer, seller).claimedOnChain === buyer.charged)
  })

  test('that makes up a deposit gets nobody served, and one that hides it hinders nobody', async () => {
    await using seller = await openSeller()
    const buyer = await openBuyer(seller)
    const encode = (name: string, values: unknown[]) => escrowAbi.encodeFunctionResult(name, values)
    const reads = (balance: bigint) => [
      encode('channels', [balance, 0n]),
      encode('pendingWithdrawals', [0n, 0]),
      encode('refundNonce', [0n]),
    ]
    const tell = (balance: bigint) =>
      (three.proxies[0]!.lie = ({ method }, result) =>
        method === 'eth_call' ? encode('multicall', [reads(balance)]) : result)
    tell(1_000_000n)
    expect(await buyer.chat()).toMatchObject({ status: 402, reason: batchErrors.channelNotFound })
    tell(0n)
    await depositDirectly(buyer, 100_000n)
    expect(await buyer.chat()).toMatchObject({ status: 200 })
  })

  test.each(['http429', 'rateLimit', 'hang'] as const)(
    'that fails (%s) hinders no deposit, no claim and no refund',
    async (mode) => {
      await using seller = await openSeller()
      three.proxies[0]!.mode = mode
      const buyer = await openPaying(seller)
      expect(await seller.settle()).toBe(buyer.charged)
      expect((await buyer.refund()).status).toBe(200)
      expect((await chain.escrow.channel(buyer.channelId)).balance).toBe(buyer.charged)
    },
  )
})

describe('a head that is', () => {
  const confirmation = { ...networks.local.confirmation, maxHeadAgeSec: 120 }
  let aheadMs = 0
  const now = () => Date.now() + aheadMs
  const soon = () => Math.floor(now() / 1000) + 100
  beforeEach(() => {
    aheadMs = 0
  })

  test('old stops new work, with the reason and the next step, until there is a new block', async () => {
    await using seller = await openSeller({ confirmation, now })
    const buyer = await openPaying(seller)
    aheadMs = 125_000
    const refused = await buyer.chat({ admitBySec: soon() })
    expect(refused).toMatchObject({ status: 503, code: 'chain_stale' })
    expect(refused.text).toMatch(/newest block that this seller sees is 12\d s old.*Nothing was charged/)
    expect(await (await openBuyer(seller)).chat({ deposit: 100_000n, admitBySec: soon() })).toMatchObject({
      code: 'chain_stale',
    })
    await chain.advance(125)
    await expect.poll(async () => (await buyer.chat({ admitBySec: soon() })).status).toBe(200)
  })

  test('old at two RPCs of three stops new work, at one it does not', async () => {
    await using seller = await openSeller({ confirmation, now })
    const buyer = await openPaying(seller)
    const { number } = await chain.escrow.head()
    three.proxies[0]!.frozenAt = number
    aheadMs = 125_000
    await chain.advance(125)
    await expect.poll(async () => (await buyer.chat({ admitBySec: soon() })).status).toBe(200)
    three.proxies[1]!.frozenAt = number
    await expect
      .poll(async () => (await buyer.chat({ admitBySec: soon() })).text)
      .toContain('Only 1 of the 2 RPCs')
    for (const proxy of three.proxies) proxy.frozenAt = null
  })
})

describe('a reorg', () => {
  const settle = { threshold: 1n, intervalMs: 10 ** 12 }
  const revertTo = (snapshot: unknown) => chain.rpc.send('evm_revert', [snapshot])
  // Only a chain that has grown past what was seen is another one; a shorter one lags.
  const growPast = async () => {
    for (let block = 0; block < 12; block += 1) await chain.rpc.send('evm_mine')
  }

  test('that undoes a claim is answered by the same claim', async () => {
    await using seller = await openSeller()
    const buyer = await openPaying(seller)
    const heads = watchHeads(three)
    const snapshot = await chain.rpc.send('evm_snapshot')
    expect(await seller.settle()).toBe(buyer.charged)
    // The watches have to have seen the block that is given up.
    const { number } = await chain.escrow.head()
    await expect.poll(() => Math.min(...heads)).toBe(number)
    await revertTo(snapshot)
    expect(await claimedOf(buyer)).toBe(0n)
    await growPast()
    await expect.poll(() => claimedOf(buyer)).toBe(buyer.charged)
    await until(seller, buyer.channelId, () => entryOf(buyer, seller).claimedOnChain === buyer.charged)
    expect(entryOf(buyer, seller).ledger).toMatchObject({
      charged: buyer.charged,
      totalClaimed: buyer.charged,
    })
  })

  test('that undoes a deposit is answered by the same one, and what was served for it is claimed', async () => {
    await using seller = await openSeller({ settle, settleEveryMs: 50 })
    const heads = watchHeads(three)
    const snapshot = await chain.rpc.send('evm_snapshot')
    const buyer = await openPaying(seller)
    const { number } = await chain.escrow.head()
    await expect.poll(() => Math.min(...heads)).toBeGreaterThanOrEqual(number)
    await revertTo(snapshot)
    expect((await chain.escrow.channel(buyer.channelId)).balance).toBe(0n)
    await growPast()
    await expect.poll(() => claimedOf(buyer)).toBe(buyer.charged)
    expect((await chain.escrow.channel(buyer.channelId)).balance).toBe(100_000n)
  })

  test('that undoes a deposit while its claim waits to be mined hands out both again', async () => {
    await using seller = await openSeller({ settle, settleEveryMs: 10 ** 9 })
    const heads = watchHeads(three)
    const snapshot = await chain.rpc.send('evm_snapshot')
    const buyer = await openPaying(seller)
    const { number } = await chain.escrow.head()
    await expect.poll(() => Math.min(...heads)).toBe(number)
    await chain.rpc.send('evm_setAutomine', [false])
    const settling = seller.settle()
    await expect.poll(() => chain.rpc.send('txpool_status', [])).toMatchObject({ pending: '0x1' })
    await revertTo(snapshot)
    await chain.rpc.send('anvil_dropAllTransactions', [])
    await chain.rpc.send('evm_setAutomine', [true])
    await growPast()
    expect(await settling).toBe(buyer.charged)
    expect(await claimedOf(buyer)).toBe(buyer.charged)
  })
})

describe('a start', () => {
  test('on an escrow of other code than is pinned is refused', async () => {
    await expect(openSeller({ escrowCodeHash: word(1) })).rejects.toMatchObject({ code: 'chain_mismatch' })
  })

  test('with one RPC of another chain is refused, though the others would do', async () => {
    await using other = await openTestChain({ chainId: 84_532 })
    await expect(openSeller({ rpcUrls: [...three.urls, other.url] })).rejects.toMatchObject({
      code: 'chain_mismatch',
      message: expect.stringContaining(new URL(other.url).host),
    })
  })

  test('with one RPC down goes through, with two down it does not', async () => {
    three.proxies[0]!.mode = 'drop'
    await using _seller = await openSeller()
    three.proxies[1]!.mode = 'drop'
    await expect(openSeller()).rejects.toMatchObject({ code: 'chain_unavailable' })
  })
})
