/** Since when the escrow is there: found in a few questions where old state is kept, and never guessed. */
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { openEscrow } from '../../src/chain/escrow.ts'
import { escrowStart } from '../../src/chain/escrow-start.ts'
import { openRpc } from '../../src/chain/rpc.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { openRpcProxy, type RpcProxy } from '../fixtures/rpc-proxy.ts'

const parts = new AsyncDisposableStack()
const { signal } = new AbortController()
let chain: TestChain
let proxy: RpcProxy
let head: number

beforeAll(async () => {
  // Anvil keeps the state of some five hundred blocks.
  chain = parts.use(await openTestChain({ blocksBefore: 100 }))
  await chain.rpc.send('anvil_mine', ['0x12c'])
  head = (await chain.escrow.head()).number
  proxy = parts.use(await openRpcProxy(chain.url))
})
beforeEach(() => {
  proxy.mode = 'forward'
  proxy.instead = () => undefined
  proxy.lie = (_, result) => result
  proxy.methods.length = 0
})
afterAll(() => parts.disposeAsync())

async function startSeenBy(urls: string[], upTo = head) {
  await using rpc = openRpc({ urls, chainId: chain.network.chainId, timeoutMs: 5000 })
  return await escrowStart(openEscrow(rpc, chain.network), upTo, signal)
}

async function isThere(block: number): Promise<boolean> {
  const code = await chain.rpc.send('eth_getCode', [chain.network.escrow, `0x${block.toString(16)}`])
  return code !== '0x'
}

test('the first block with the escrow is found in as many questions as the chain has binary digits', async () => {
  const start = (await startSeenBy([proxy.url])) ?? NaN
  expect(start).toBeGreaterThanOrEqual(100)
  expect(await isThere(start)).toBe(true)
  expect(await isThere(start - 1)).toBe(false)
  const asked = proxy.methods.filter((method) => method === 'eth_getCode')
  expect(asked.length).toBeLessThanOrEqual(2 * Math.ceil(Math.log2(head + 1)))
})

test.for([
  ['refuses', { error: { code: -32_000, message: 'missing trie node' } }],
  ['fails', { error: { code: -32_603, message: 'header not found' } }],
] as const)('an RPC that %s to show old state leaves the question to the next one', async ([, reply]) => {
  const isOld = (block: unknown) => Number(block) < head - 100
  proxy.instead = ({ method, params }) =>
    method === 'eth_getCode' && isOld(params[1]) ? structuredClone(reply) : undefined
  expect(await startSeenBy([proxy.url])).toBeNull()
  expect(await startSeenBy([proxy.url, chain.url])).toBe(await startSeenBy([chain.url]))
})

test('one that shows old state as empty is not believed: what it hides could be channels', async () => {
  proxy.lie = ({ method, params }, result) =>
    method === 'eth_getCode' && Number(params[1]) < head - 100 ? '0x' : result
  expect(await startSeenBy([proxy.url])).toBeNull()
})

test('a chain that began with the escrow is read from its first block', async () => {
  proxy.lie = ({ method }, result) => (method === 'eth_getCode' ? '0x00' : result)
  expect(await startSeenBy([proxy.url])).toBe(0)
})
