import { afterAll, beforeAll, expect, test } from 'vitest'
import { decodeRevert } from '../../src/chain/revert.ts'
import { openRpc, type Rpc } from '../../src/chain/rpc.ts'
import { channelConfig, openTestChain, type TestChain } from '../fixtures/chain.ts'
import { openRpcProxy, type ProxyMode, type RpcProxy } from '../fixtures/rpc-proxy.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain

beforeAll(async () => {
  chain = parts.use(await openTestChain())
})
afterAll(() => parts.disposeAsync())

const chainId = 31_337
const timeoutMs = 1_000

interface TwoUrls extends AsyncDisposable {
  rpc: Rpc
  first: RpcProxy
  second: RpcProxy
}

async function openTwo(): Promise<TwoUrls> {
  const stack = new AsyncDisposableStack()
  const first = stack.use(await openRpcProxy(chain.url))
  const second = stack.use(await openRpcProxy(chain.url))
  const rpc = stack.use(openRpc({ urls: [first.url, second.url], chainId, timeoutMs }))
  return { rpc, first, second, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

const failing: ProxyMode[] = ['hang', 'drop', 'http500', 'rateLimit']

test.each(failing)(
  'a first URL that fails (%s) is passed over for the second, which is then asked first',
  async (mode) => {
    await using two = await openTwo()
    two.first.mode = mode
    expect(Number(await two.rpc.send('eth_blockNumber'))).toBeGreaterThan(0)
    two.first.mode = 'forward'
    const seen = two.first.methods.length
    await two.rpc.send('eth_blockNumber')
    expect(two.first.methods).toHaveLength(seen)
    expect(two.second.methods.at(-1)).toBe('eth_blockNumber')
  },
)

test.each(failing)('no URL answering (%s) is chain_unavailable within the deadline of each', async (mode) => {
  await using two = await openTwo()
  two.first.mode = mode
  two.second.mode = mode
  const startedAt = performance.now()
  await expect(two.rpc.send('eth_blockNumber')).rejects.toMatchObject({ code: 'chain_unavailable' })
  expect(performance.now() - startedAt).toBeLessThan(8 * timeoutMs)
})

test('an RPC that nobody listens on is chain_unavailable, and the message hides what follows the host', async () => {
  await using rpc = openRpc({ urls: ['http://127.0.0.1:1/v2/secret-key'], chainId, timeoutMs })
  const failure = await rpc.send('eth_blockNumber').catch((thrown: unknown) => thrown)
  expect(failure).toMatchObject({
    code: 'chain_unavailable',
    message: expect.stringContaining('127.0.0.1:1'),
  })
  expect(String(failure)).not.toContain('secret-key')
})

test('an RPC of another chain is chain_mismatch', async () => {
  await using rpc = openRpc({ urls: [chain.url], chainId: 8453, timeoutMs })
  await expect(rpc.send('eth_blockNumber')).rejects.toMatchObject({ code: 'chain_mismatch' })
})

test('an RPC of another chain is passed over for one of the right chain', async () => {
  await using other = await openTestChain({ chainId: 84_532 })
  await using rpc = openRpc({ urls: [other.url, chain.url], chainId, timeoutMs })
  expect(Number(await rpc.send('eth_chainId'))).toBe(chainId)
})

test('a failed check of the chain id is made again', async () => {
  await using proxy = await openRpcProxy(chain.url)
  await using rpc = openRpc({ urls: [proxy.url], chainId, timeoutMs })
  proxy.mode = 'drop'
  await expect(rpc.send('eth_blockNumber')).rejects.toMatchObject({ code: 'chain_unavailable' })
  proxy.mode = 'forward'
  await rpc.send('eth_blockNumber')
  await rpc.send('eth_blockNumber')
  expect(proxy.methods).toEqual(['eth_chainId', 'eth_chainId', 'eth_blockNumber', 'eth_blockNumber'])
})

test('a refusal by the chain is an answer, which no other URL is asked for', async () => {
  await using two = await openTwo()
  const call = chain.escrow.calls.finalizeWithdraw(channelConfig(chain.network))
  const refusal = await two.rpc.send('eth_call', [call, 'latest']).catch((thrown: unknown) => thrown)
  expect(refusal).toMatchObject({ code: 'chain_refused' })
  expect(decodeRevert(refusal)).toBe('NotAuthorizedToFinalizeWithdraw')
  expect(two.second.methods).toEqual([])
})

test('a batch is one post with answers in order, or single posts where batches are refused', async () => {
  await using proxy = await openRpcProxy(chain.url)
  await using rpc = openRpc({ urls: [proxy.url], chainId, timeoutMs })
  const calls = [{ method: 'eth_chainId' }, { method: 'eth_gasPrice' }, { method: 'eth_blockNumber' }]
  const together = await rpc.batch(calls)
  expect(together[0]).toEqual({ ok: true, result: '0x7a69' })
  proxy.mode = 'noBatches'
  expect(await rpc.batch(calls)).toEqual(together)
  expect(await rpc.batch([])).toEqual([])
})

test('an aborted call ends at once with the reason and asks no other URL', async () => {
  await using two = await openTwo()
  await two.rpc.send('eth_blockNumber')
  two.first.mode = 'hang'
  const stop = new AbortController()
  const asked = two.rpc.send('eth_blockNumber', [], stop.signal)
  await expect.poll(() => two.first.methods.length).toBe(3)
  stop.abort(new Error('enough'))
  await expect(asked).rejects.toThrow('enough')
  expect(two.second.methods).toEqual([])
})
