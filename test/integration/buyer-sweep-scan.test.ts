/** The search of the chain's history: with RPCs that take only short ranges, cut off and gone on with, and not done twice. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { submitDeposit } from '../../src/chain/deposits.ts'
import { openEscrow } from '../../src/chain/escrow.ts'
import { scanChannels } from '../../src/chain/payer-channels.ts'
import { openRpc } from '../../src/chain/rpc.ts'
import { sweepChannels, type SweepOrder } from '../../src/node/sweep-tools.ts'
import type { ChannelConfig } from '../../src/wire/channel.ts'
import { openBuyerHome } from '../fixtures/buyer-home.ts'
import { accounts } from '../fixtures/accounts.ts'
import { channelConfig, openTestChain, signDeposit, type TestChain } from '../fixtures/chain.ts'
import { openOutboxDatabase, openTempDir } from '../fixtures/outbox-store.ts'
import { openRpcProxy, type RpcProxy } from '../fixtures/rpc-proxy.ts'

const parts = new AsyncDisposableStack()
const order: SweepOrder = {
  foreign: false,
  onProgress: () => undefined,
  onWholeChain: () => undefined,
  confirm: async () => undefined,
  onResult: () => undefined,
}
const never = new AbortController().signal
const widest = 75
let chain: TestChain
let head: number
let proxy: RpcProxy
/** The ranges that were asked for, narrow enough or not. */
let asked: { from: number; to: number }[]

const mine = (blocks: number) => chain.rpc.send('anvil_mine', [`0x${blocks.toString(16)}`])

// Three channels of the payer and one of somebody else, five hundred blocks apart.
beforeAll(async () => {
  chain = parts.use(await openTestChain())
  const folder = parts.use(await openTempDir())
  const outbox = chain.outbox(parts.use(await openOutboxDatabase(folder.path('outbox.db'))))
  await chain.fund([{ address: accounts.stranger.address, usdc: 1_000_000n }])
  for (const index of [1, 2, 3]) {
    const config = channelConfig(chain.network, index)
    await submitDeposit(chain.escrow, outbox, await signDeposit(chain, { config, amount: 100_000n }))
    await mine(500)
  }
  const config = channelConfig(chain.network, 1, { payer: accounts.stranger.address })
  const signerKey = accounts.stranger.key
  await submitDeposit(chain.escrow, outbox, await signDeposit(chain, { config, amount: 100_000n, signerKey }))
  head = (await chain.escrow.head()).number
  proxy = parts.use(await openRpcProxy(chain.url))
})
afterAll(() => parts.disposeAsync())

function takeShortRanges(error: { code: number; message: string }) {
  asked = []
  proxy.instead = ({ method, params }) => {
    if (method !== 'eth_getLogs') return undefined
    const { fromBlock, toBlock } = params[0] as { fromBlock: string; toBlock: string }
    const range = { from: Number(fromBlock), to: Number(toBlock) }
    asked.push(range)
    return range.to - range.from >= widest ? { error } : undefined
  }
}

test.for([
  ['refuse', { code: -32_602, message: 'the range is wider than 75 blocks' }],
  ['fail for', { code: -32_005, message: 'query returned more than 10000 results' }],
] as const)('every channel of the payer is found by RPCs that %s wide ranges', async ([, error]) => {
  takeShortRanges(error)
  await using rpc = openRpc({ urls: [proxy.url], chainId: chain.network.chainId, timeoutMs: 5000 })
  const found: ChannelConfig[] = []
  let lowest = Infinity
  const onRange = (configs: ChannelConfig[], downTo: number) => {
    found.push(...configs)
    lowest = downTo
  }
  const escrow = openEscrow(rpc, chain.network)
  const { address: payer } = accounts.payer
  await scanChannels(escrow, { payer, fromBlock: 0, toBlock: head, onRange, signal: never })
  expect(found).toEqual([3, 2, 1].map((index) => channelConfig(chain.network, index)))
  expect(lowest).toBe(0)
  // Not many more than the fewest that were possible with the range it settled on.
  expect(asked.length).toBeLessThan(120)
})

test('a search that was cut off goes on where it stopped, and one that was whole reads only what is new', async () => {
  takeShortRanges({ code: -32_602, message: 'the range is wider than 75 blocks' })
  await using home = await openBuyerHome(chain, [])
  const config = home.configWith({ rpcUrls: [proxy.url] })
  const stop = new AbortController()
  const onProgress: SweepOrder['onProgress'] = ({ blocksRead }) => {
    if (blocksRead > 800) stop.abort(new Error('cut off'))
  }
  const cut = sweepChannels(config, { ...order, onProgress }, { ...home.io, signal: stop.signal })
  await expect(cut).rejects.toThrow('cut off')
  const reached = Math.min(...asked.map(({ from, to }) => (to - from < widest ? from : Infinity)))
  expect(reached).toBeGreaterThan(0)

  asked = []
  let isWhole = false
  await sweepChannels(config, { ...order, onWholeChain: () => (isWhole = true) }, home.io)
  // The chain got token and escrow in the same block, which proves nothing.
  expect(isWhole).toBe(true)
  const between = asked.filter(({ from, to }) => to - from < widest && from > reached && to < head - 400)
  expect(between).toEqual([])
  expect(Math.min(...asked.map(({ from }) => from))).toBe(0)

  asked = []
  await sweepChannels(config, order, home.io)
  expect(asked.every(({ from }) => from > head - 400)).toBe(true)

  asked = []
  await sweepChannels(config, { ...order, fromBlock: 1000 }, home.io)
  expect(Math.min(...asked.map(({ from }) => from))).toBe(1000)
})

test('what is older than the escrow is not read, nor asked about again once all else is', async () => {
  await using old = await openTestChain({ blocksBefore: 100 })
  await old.rpc.send('anvil_mine', ['0x15e'])
  const newest = (await old.escrow.head()).number
  await using home = await openBuyerHome(old, [])
  await using short = await openRpcProxy(old.url)
  short.instead = (call) => {
    if (call.method === 'eth_getLogs')
      lowest = Math.min(lowest, Number((call.params[0] as { fromBlock: string }).fromBlock))
    return undefined
  }
  let lowest = Infinity
  const config = home.configWith({ rpcUrls: [short.url] })
  const whole: SweepOrder = { ...order, onWholeChain: () => expect.unreachable() }
  await sweepChannels(config, whole, home.io)
  expect(lowest).toBeGreaterThanOrEqual(100)
  expect(lowest).toBeLessThan(newest - 340)

  // Nothing is left to be asked about what is older.
  lowest = Infinity
  short.methods.length = 0
  await sweepChannels(config, whole, home.io)
  expect(lowest).toBeGreaterThan(newest - 300)
  expect(short.methods.filter((method) => method === 'eth_getCode').length).toBeLessThan(5)
})

test('an RPC that keeps no history is said so, and the channels that are known are still seen to', async () => {
  await using home = await openBuyerHome(chain, [])
  proxy.instead = ({ method }) =>
    method === 'eth_getLogs' ? { error: { code: -32_000, message: 'history is not kept' } } : undefined
  const report = await sweepChannels(home.configWith({ rpcUrls: [proxy.url] }), order, home.io)
  expect(report.historyMissing).toMatchObject({ code: 'chain_refused' })
  expect(report.channels).toEqual([])
})
