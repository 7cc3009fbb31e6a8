/** A chain that gives blocks up: what was done is noticed to be undone, and done again, once. */
import { Interface } from 'ethers'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { EscrowEvent } from '../../src/chain/events.ts'
import type { Intent, Outbox } from '../../src/chain/outbox.ts'
import { submitDeposit } from '../../src/chain/deposits.ts'
import { openEscrow } from '../../src/chain/escrow.ts'
import { watchEscrow } from '../../src/chain/watch.ts'
import type { Hex } from '../../src/wire/hex.ts'
import { accounts } from '../fixtures/accounts.ts'
import { channelConfig, openTestChain, signDeposit, type TestChain } from '../fixtures/chain.ts'
import { openOutboxDatabase, openTempDir, type OutboxDatabase } from '../fixtures/outbox-store.ts'
import { openSeveral } from '../fixtures/rpc-several.ts'

// On a busy machine things take longer than the second that a condition gets by default.
vi.setConfig({ expect: { poll: { timeout: 10_000 } } })

const parts = new AsyncDisposableStack()
let dir: Awaited<ReturnType<typeof openTempDir>>
let chain: TestChain
let store: OutboxDatabase
let outbox: Outbox
let files = 0

beforeAll(async () => {
  dir = parts.use(await openTempDir())
})
afterAll(() => parts.disposeAsync())
beforeEach(async () => {
  const stack = new AsyncDisposableStack()
  chain = stack.use(await openTestChain())
  store = stack.use(await openOutboxDatabase(dir.path(`${(files += 1)}.db`)))
  outbox = chain.outbox(store)
  return () => stack.disposeAsync()
})

const mintAbi = new Interface(['function mint(address to, uint256 value)'])
const mint = (key: string): Intent => ({
  key,
  kind: 'mint',
  to: chain.network.asset,
  data: mintAbi.encodeFunctionData('mint', [accounts.stranger.address, 1]) as Hex,
})
const minted = () => chain.escrow.tokenBalance(accounts.stranger.address)
const snapshot = () => chain.rpc.send('evm_snapshot')
const revert = (to: unknown) => chain.rpc.send('evm_revert', [to])
const mine = () => chain.rpc.send('evm_mine')

describe('a transaction that a reorg undid', () => {
  test('is sent again in identical bytes, and its outcome is the new one', async () => {
    const before = await snapshot()
    const outcome = await outbox.send(mint('undone'))
    await revert(before)
    for (let block = 0; block < 3; block += 1) await mine()
    expect(await minted()).toBe(0n)
    await outbox.recheck(0)
    expect(await minted()).toBe(1n)
    const again = await outbox.send(mint('undone'))
    expect(again).toMatchObject({ status: 'confirmed', hash: (outcome as { hash: Hex }).hash })
    expect(again).toMatchObject({ block: (await chain.escrow.head()).number })
  })

  test('is left alone when it is still there, or lies before the blocks in question', async () => {
    const first = await outbox.send(mint('kept'))
    const sent = (await store.outboxFind({ key: 'kept' }))!
    await outbox.recheck(0)
    expect(await store.outboxFind({ key: 'kept' })).toEqual(sent)
    const before = await snapshot()
    await outbox.send(mint('undone'))
    await revert(before)
    await outbox.recheck((await chain.escrow.head()).number + 2)
    expect(await minted()).toBe(1n)
    expect(await outbox.confirmAgain('kept')).toEqual(first)
    expect(await outbox.confirmAgain('never sent')).toBeNull()
  })

  test('and whose nonce the new blocks gave to another is over, and is not sent again', async () => {
    const before = await snapshot()
    await outbox.send(mint('robbed'))
    await revert(before)
    const foreign = { from: accounts.gas.address, to: accounts.gas.address, value: '0x1' }
    await chain.rpc.send('anvil_impersonateAccount', [accounts.gas.address])
    await chain.rpc.send('eth_sendTransaction', [foreign])
    await outbox.recheck(0)
    expect(await store.outboxFind({ key: 'robbed' })).toMatchObject({ status: 'dropped' })
    expect(await outbox.send(mint('next'))).toMatchObject({ status: 'confirmed' })
    expect(await minted()).toBe(1n)
  })

  test('is not taken for undone because one RPC of three has not seen it', async () => {
    await using three = await openSeveral(chain, 3)
    const several = chain.outbox(store, { rpc: three.rpc })
    await several.send(mint('seen'))
    const row = await store.outboxFind({ key: 'seen' })
    three.proxies[0]!.lie = ({ method }, result) => (method === 'eth_getTransactionReceipt' ? null : result)
    await several.recheck(0)
    expect(await store.outboxFind({ key: 'seen' })).toEqual(row)
  })

  test('among several brings all of them back in their order', async () => {
    const before = await snapshot()
    for (const key of ['a', 'b', 'c']) await outbox.send(mint(key))
    await revert(before)
    await outbox.recheck(0)
    expect(await minted()).toBe(3n)
    const rows = await Promise.all(['a', 'b', 'c'].map((key) => store.outboxFind({ key })))
    expect(rows.map((row) => row?.status)).toEqual(['confirmed', 'confirmed', 'confirmed'])
    expect(rows.map((row) => row?.nonce)).toEqual([0, 1, 2])
  })
})

describe('a watch', () => {
  interface Sighting extends AsyncDisposable {
    events: EscrowEvent[]
    reorgs: number[]
    throughBlock: number
  }

  function follow(fromBlock: number, escrow = chain.escrow): Sighting {
    const stop = new AbortController()
    const seen: Sighting = {
      events: [],
      reorgs: [],
      throughBlock: -1,
      [Symbol.asyncDispose]: async () => {
        stop.abort()
        await watching
      },
    }
    const watching = watchEscrow({
      escrow,
      fromBlock,
      pollMs: 10,
      signal: stop.signal,
      filter: { names: ['Deposited'] },
      onEvents: (events, throughBlock) => {
        seen.events.push(...events)
        seen.throughBlock = throughBlock
      },
      onReorg: (since) => void seen.reorgs.push(since),
    })
    return seen
  }

  async function deposit(index: number): Promise<void> {
    const config = channelConfig(chain.network, index)
    const order = await signDeposit(chain, { config, amount: BigInt(index) })
    expect((await submitDeposit(chain.escrow, outbox, order)).kind).toBe('deposited')
  }

  const amounts = ({ events }: Sighting) => events.map((event) => event.name === 'Deposited' && event.amount)
  const reached = async (seen: Sighting) => {
    const { number } = await chain.escrow.head()
    await expect.poll(() => seen.throughBlock).toBe(number)
  }

  test('says from which block on the chain is another one, and reads what is there instead', async () => {
    await using seen = follow((await chain.escrow.head()).number + 1)
    await deposit(1)
    await reached(seen)
    const fork = (await chain.escrow.head()).number
    const before = await snapshot()
    await deposit(2)
    for (let block = 0; block < 7; block += 1) await mine()
    await reached(seen)
    await revert(before)
    for (let block = 0; block < 20; block += 1) await mine()
    await expect.poll(() => seen.reorgs).toEqual([fork + 1])
    await outbox.recheck(fork + 1)
    await expect.poll(() => amounts(seen)).toEqual([1n, 2n, 2n])
    expect(new Set(seen.events.map(({ blockHash }) => blockHash)).size).toBe(3)
  })

  test('waits while the chain is shorter than what was read, as behind an RPC that lags', async () => {
    await using one = await openSeveral(chain, 1)
    await deposit(1)
    await using seen = follow(0, openEscrow(one.rpc, chain.network))
    await reached(seen)
    const { methods } = one.proxies[0]!
    one.proxies[0]!.frozenAt = (await chain.escrow.head()).number - 1
    const polled = methods.length
    await expect.poll(() => methods.length).toBeGreaterThan(polled + 3)
    one.proxies[0]!.frozenAt = null
    await deposit(2)
    await expect.poll(() => amounts(seen)).toEqual([1n, 2n])
    expect(seen.reorgs).toEqual([])
  })
})
