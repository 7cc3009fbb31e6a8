/** What a chain asks for a transaction's bytes: as enough RPCs tell it, and nothing where nobody can. */
import { Transaction } from 'ethers'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Call } from '../../src/chain/calls.ts'
import { readDataFees } from '../../src/chain/data-fee.ts'
import { openRpc } from '../../src/chain/rpc.ts'
import { claimSizes } from '../../src/seller/settle-policy.ts'
import { rowBytes } from '../../src/tower/judge-claim.ts'
import { accounts } from '../fixtures/accounts.ts'
import { channelConfig, openTestChain, placeDataOracle, type TestChain } from '../fixtures/chain.ts'
import { openRpcProxy, type RpcProxy } from '../fixtures/rpc-proxy.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let proxy: RpcProxy

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  proxy = parts.use(await openRpcProxy(chain.url))
})
beforeEach(() => {
  proxy.instead = () => undefined
  proxy.methods.length = 0
})
afterAll(() => parts.disposeAsync())

async function feesSeenBy(urls: string[], sizes: number[]) {
  await using rpc = openRpc({ urls, chainId: chain.network.chainId, timeoutMs: 5000 })
  return await readDataFees(rpc, sizes)
}

test('where nobody tells the price of bytes they cost nothing', async () => {
  expect(await feesSeenBy([chain.url], [100, 200])).toEqual([0n, 0n])
  proxy.instead = ({ method }) =>
    method === 'eth_call' ? { error: { code: 3, message: 'execution reverted' } } : undefined
  expect(await feesSeenBy([proxy.url], [100])).toEqual([0n])
})

test('the chain’s oracle is asked for all sizes at once', async () => {
  await placeDataOracle(chain, 7n)
  expect(await feesSeenBy([proxy.url], [100, 200])).toEqual([700n, 1400n])
  expect(proxy.methods.filter((method) => method === 'eth_call')).toHaveLength(2)
})

test('one RPC among three cannot name a price that stops all claims', async () => {
  await placeDataOracle(chain, 7n)
  proxy.instead = ({ method }) => (method === 'eth_call' ? { result: `0x${'f'.repeat(64)}` } : undefined)
  expect(await feesSeenBy([proxy.url, chain.url, chain.url], [100])).toEqual([700n])
})

test('sellers and towers ask for as many bytes as their claims have, and few more', () => {
  const { network } = chain
  const { calls } = chain.escrow
  const most = 2n ** 127n
  const signature = `0x${'ef'.repeat(65)}` as const
  const row = { config: channelConfig(network), maxClaimable: most, signature, totalClaimed: most }
  const rowsOf = (count: number) => Array.from({ length: count }, () => row)
  const settle = calls.settle(accounts.receiver.address, network.asset)
  const [one, many] = [1, 101].map((count) => sizeOf(calls.multicall([calls.claim(rowsOf(count)), settle])))
  const bySignature = calls.claimWithSignature(rowsOf(1), signature)
  const beside = sizeOf(calls.multicall([bySignature, bySignature])) - sizeOf(calls.multicall([bySignature]))
  for (const [asked, real] of [
    [claimSizes[0], one],
    [claimSizes[1], many],
    [rowBytes, Math.max(sizeOf(bySignature), beside)],
  ] as [number, number][]) {
    expect(asked).toBeGreaterThanOrEqual(real)
    expect(asked).toBeLessThan(real * 1.1)
  }
})

/** Unsigned, with numbers as long as they get. */
function sizeOf(call: Call): number {
  const numbers = { type: 2, chainId: 8453, nonce: 1_000_000, gasLimit: 4_000_000 }
  const fees = { maxFeePerGas: 10n ** 12n, maxPriorityFeePerGas: 10n ** 9n }
  return Transaction.from({ ...call, ...numbers, ...fees }).unsignedSerialized.length / 2 - 1
}
