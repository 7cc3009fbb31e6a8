/** What one RPC of several can do by failing, lagging or lying: nothing about money, except call for a claim. */
import { Interface } from 'ethers'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { escrowAbi } from '../../src/chain/abi.ts'
import { agreedChannels } from '../../src/chain/agree.ts'
import { checkChain, knownEscrowCode } from '../../src/chain/check.ts'
import { submitDeposit } from '../../src/chain/deposits.ts'
import { openRpc } from '../../src/chain/rpc.ts'
import type { ChannelConfig } from '../../src/wire/channel.ts'
import type { Hex } from '../../src/wire/hex.ts'
import { accounts } from '../fixtures/accounts.ts'
import { channelConfig, openTestChain, signDeposit, word, type TestChain } from '../fixtures/chain.ts'
import { openOutboxDatabase, openTempDir, type OutboxDatabase } from '../fixtures/outbox-store.ts'
import type { ProxyMode, RpcProxy } from '../fixtures/rpc-proxy.ts'
import { openSeveral, type SeveralRpcs } from '../fixtures/rpc-several.ts'

// On a busy machine things take longer than the second that a condition gets by default.
vi.setConfig({ expect: { poll: { timeout: 10_000 } } })

const parts = new AsyncDisposableStack()
let chain: TestChain
let store: OutboxDatabase
let config: ChannelConfig
let id: Hex
let nextChannel = 1

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  const dir = parts.use(await openTempDir())
  store = parts.use(await openOutboxDatabase(dir.path('quorum.db')))
})
afterAll(() => parts.disposeAsync())
beforeEach(() => {
  config = channelConfig(chain.network, (nextChannel += 1))
  id = chain.digests.channelId(config)
})

async function deposit(amount: bigint): Promise<void> {
  const order = await signDeposit(chain, { config, amount, salt: word(nextChannel * 1000 + Number(amount)) })
  expect((await submitDeposit(chain.escrow, chain.outbox(store), order)).kind).toBe('deposited')
}

async function read({ escrow }: SeveralRpcs, depth?: number) {
  const [channel] = await agreedChannels(escrow, [id], depth)
  return channel!
}

async function timed<T>(work: () => Promise<T>): Promise<{ result: T; ms: number }> {
  const startedMs = performance.now()
  const result = await work()
  return { result, ms: performance.now() - startedMs }
}

/** A channel's state in the form of the reads that the proxy is asked for. */
function tellChannel(proxy: RpcProxy, told: { balance: bigint; withdrawing?: bigint }): void {
  const encode = (name: string, values: unknown[]) => escrowAbi.encodeFunctionResult(name, values)
  const reads = [
    encode('channels', [told.balance, 0n]),
    encode('pendingWithdrawals', [told.withdrawing ?? 0n, told.withdrawing === undefined ? 0 : 1000]),
    encode('refundNonce', [0n]),
  ]
  proxy.lie = ({ method }, result) => (method === 'eth_call' ? encode('multicall', [reads]) : result)
}

describe('a deposit', () => {
  test('that one RPC of three makes up does not count', async () => {
    await using three = await openSeveral(chain, 3)
    tellChannel(three.proxies[0]!, { balance: 1_000_000n })
    expect(await read(three)).toMatchObject({ balance: 0n })
  })

  test('that one RPC of three hides counts', async () => {
    await using three = await openSeveral(chain, 3)
    await deposit(500n)
    tellChannel(three.proxies[1]!, { balance: 0n })
    expect(await read(three)).toMatchObject({ balance: 500n })
  })

  test('that two RPCs do not agree about counts for what both say', async () => {
    await using two = await openSeveral(chain, 2)
    await deposit(500n)
    tellChannel(two.proxies[0]!, { balance: 900n })
    expect(await read(two)).toMatchObject({ balance: 500n })
    two.proxies[0]!.mode = 'drop'
    await expect(read(two)).rejects.toMatchObject({
      code: 'chain_unavailable',
      message: expect.stringContaining('Only 1 of 2 RPCs'),
      hint: expect.stringContaining('rpc_quorum'),
    })
  })

  test('that one RPC of three calls impossible is made all the same; one that all call impossible is not', async () => {
    await using three = await openSeveral(chain, 3)
    const outbox = chain.outbox(store, { rpc: three.rpc })
    const order = await signDeposit(chain, { config, amount: 500n, salt: word(9) })
    // Of the payer's balance and of the authorization.
    three.proxies[0]!.lie = ({ method }, result) => (method === 'eth_call' ? word(0) : result)
    expect((await submitDeposit(three.escrow, outbox, order)).kind).toBe('deposited')
    const poor = await signDeposit(chain, { config, amount: 10n ** 15n, salt: word(10) })
    expect(await submitDeposit(three.escrow, outbox, poor)).toMatchObject({
      kind: 'refused',
      reason: 'invalid_batch_settlement_evm_insufficient_balance',
    })
  })

  test('that only one of two RPCs can show counts where the owner is content with one', async () => {
    await using two = await openSeveral(chain, 2, { quorum: 1 })
    await deposit(500n)
    two.proxies[0]!.mode = 'drop'
    expect(await read(two)).toMatchObject({ balance: 500n })
  })

  test('counts once it is as deep as is asked for', async () => {
    await using three = await openSeveral(chain, 3)
    await deposit(300n)
    expect(await read(three, 2)).toMatchObject({ balance: 0n })
    await chain.rpc.send('evm_mine')
    expect(await read(three, 2)).toMatchObject({ balance: 300n })
  })
})

test('a quorum of more RPCs than there are is a mistake in the settings', () => {
  const urls = ['http://127.0.0.1:1', 'http://127.0.0.1:2']
  expect(() => openRpc({ urls, chainId: 1, timeoutMs: 100, quorum: 3 })).toThrow('only 2 RPC URLs')
})

test('a withdrawal that one RPC of three reports is known, whatever the others say', async () => {
  await using three = await openSeveral(chain, 3)
  await deposit(500n)
  tellChannel(three.proxies[2]!, { balance: 500n, withdrawing: 400n })
  expect(await read(three)).toMatchObject({
    balance: 500n,
    withdrawAmount: 400n,
    withdrawInitiatedAtSec: 1000,
  })
})

describe('of three RPCs one', () => {
  const failing: ProxyMode[] = ['hang', 'drop', 'http500', 'http429', 'rateLimit']
  test.each(failing)('that fails (%s) is done without, and not waited for twice', async (mode) => {
    await using three = await openSeveral(chain, 3)
    await deposit(500n)
    three.proxies[0]!.mode = mode
    const first = await timed(() => read(three))
    const second = await timed(() => read(three))
    expect([first.result, second.result]).toMatchObject([{ balance: 500n }, { balance: 500n }])
    expect(second.ms).toBeLessThan(Math.max(1_500, first.ms))
  })

  test('that is slow is not waited for long', async () => {
    await using three = await openSeveral(chain, 3, { timeoutMs: 20_000 })
    await deposit(500n)
    three.proxies[1]!.delayMs = 5000
    const startedAt = performance.now()
    expect(await read(three)).toMatchObject({ balance: 500n })
    expect(performance.now() - startedAt).toBeLessThan(4_500)
  })

  test('that lags behind a deposit or a withdrawal changes nothing', async () => {
    await using three = await openSeveral(chain, 3)
    three.proxies[0]!.frozenAt = (await chain.escrow.head()).number
    await deposit(500n)
    const withdrawal = { from: accounts.payer.address, ...chain.escrow.calls.initiateWithdraw(config, 200n) }
    await chain.rpc.send('eth_sendTransaction', [withdrawal])
    expect(await read(three)).toMatchObject({ balance: 500n, withdrawAmount: 200n })
  })

  test('that talks nonsense is done without', async () => {
    await using three = await openSeveral(chain, 3)
    await deposit(500n)
    for (const nonsense of ['0xzz', 7, null, {}, []]) {
      three.proxies[0]!.lie = () => nonsense
      expect(await read(three)).toMatchObject({ balance: 500n })
    }
  })
})

describe('a start', () => {
  const pinned = knownEscrowCode(31_337)

  test('is told the newest block that enough RPCs have, and the hash of the code', async () => {
    await using three = await openSeveral(chain, 3)
    const { number, timestampSec } = await chain.escrow.head()
    three.proxies[0]!.lie = ({ method }, result) =>
      method === 'eth_getBlockByNumber' ? { ...(result as object), number: '0xffffff' } : result
    const head = { number, timestampSec }
    expect(await checkChain(three.escrow, pinned)).toEqual({ head, escrowCodeHash: pinned })
  })

  test('is refused where one RPC serves another chain, and names it', async () => {
    await using three = await openSeveral(chain, 3)
    const { proxies, urls } = three
    proxies[2]!.lie = ({ method }, result) => (method === 'eth_chainId' ? '0x2105' : result)
    await expect(checkChain(three.escrow, pinned)).rejects.toMatchObject({
      code: 'chain_mismatch',
      message: expect.stringContaining(new URL(urls[2]!).host),
    })
  })

  test.each([pinned, null])('is refused where one RPC shows other code (pinned: %s)', async (hash) => {
    await using three = await openSeveral(chain, 3)
    three.proxies[1]!.lie = ({ method }, result) => (method === 'eth_getCode' ? '0x6001' : result)
    await expect(checkChain(three.escrow, hash)).rejects.toMatchObject({
      code: 'chain_mismatch',
      hint: expect.stringContaining('escrow_code_hash'),
    })
  })

  test('is refused where every RPC shows other code than is pinned, and nobody would know else', async () => {
    await using two = await openSeveral(chain, 2)
    await expect(checkChain(two.escrow, word(1))).rejects.toMatchObject({ code: 'chain_mismatch' })
    expect(knownEscrowCode(8453)).toBeNull()
    expect((await checkChain(two.escrow, null)).escrowCodeHash).toBe(pinned)
  })
})

describe('a transaction sent through three RPCs of which one lies', () => {
  const mintAbi = new Interface(['function mint(address to, uint256 value)'])
  const mint = (key: string) => ({
    key: `${key} ${nextChannel}`,
    kind: 'mint',
    to: chain.network.asset,
    data: mintAbi.encodeFunctionData('mint', [accounts.stranger.address, 1]) as Hex,
  })
  const minted = () => chain.escrow.tokenBalance(accounts.stranger.address)

  async function expectOneMint(three: SeveralRpcs): Promise<void> {
    const before = await minted()
    expect(await chain.outbox(store, { rpc: three.rpc }).send(mint('lied about'))).toMatchObject({
      status: 'confirmed',
    })
    expect(await minted()).toBe(before + 1n)
  }

  test('is mined although one takes it and keeps it to itself', async () => {
    await using three = await openSeveral(chain, 3)
    three.proxies[0]!.instead = ({ method }) =>
      method === 'eth_sendRawTransaction' ? { result: word(1) } : undefined
    await expectOneMint(three)
  })

  test('is mined although one says that it would revert, that gas is dear, and that the key has none', async () => {
    await using three = await openSeveral(chain, 3)
    three.proxies[0]!.instead = ({ method }) => {
      if (method === 'eth_estimateGas')
        return { error: { code: 3, message: 'execution reverted', data: '0x' } }
      if (method === 'eth_maxPriorityFeePerGas') return { result: '0xffffffffffff' }
      if (method === 'eth_getBalance') return { result: '0x0' }
      if (method === 'eth_getTransactionCount') return { result: '0xffff' }
      return undefined
    }
    await expectOneMint(three)
  })

  test('counts only when another one has seen it mined too', async () => {
    await using three = await openSeveral(chain, 3)
    await chain.rpc.send('evm_setAutomine', [false])
    const before = await minted()
    const hashes: string[] = []
    for (const proxy of three.proxies)
      proxy.onMethod = (method) => void (method === 'eth_getTransactionReceipt' && hashes.push(method))
    three.proxies[0]!.instead = ({ method }) =>
      method === 'eth_getTransactionReceipt'
        ? { result: { status: '0x1', blockNumber: '0x1', logs: [] } }
        : undefined
    const sent = chain.outbox(store, { rpc: three.rpc }).send(mint('made up'))
    let isOver = false
    void sent.then(() => (isOver = true))
    await expect.poll(() => hashes.length).toBeGreaterThan(9)
    expect(isOver).toBe(false)
    await chain.rpc.send('evm_setAutomine', [true])
    await chain.rpc.send('evm_mine')
    const block = await sent.then((outcome) => (outcome.status === 'confirmed' ? outcome.block : 0))
    expect(block).toBeGreaterThan(1)
    expect(await minted()).toBe(before + 1n)
  })
})
