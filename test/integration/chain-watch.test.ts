import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { submitDeposit } from '../../src/chain/deposits.ts'
import { openEscrow, type Head } from '../../src/chain/escrow.ts'
import type { EscrowEvent } from '../../src/chain/events.ts'
import type { Outbox } from '../../src/chain/outbox.ts'
import { openRpc } from '../../src/chain/rpc.ts'
import { watchEscrow, type EscrowWatch } from '../../src/chain/watch.ts'
import { accounts } from '../fixtures/accounts.ts'
import { channelConfig, openTestChain, signDeposit, type TestChain } from '../fixtures/chain.ts'
import { openOutboxDatabase, openTempDir } from '../fixtures/outbox-store.ts'
import { openRpcProxy } from '../fixtures/rpc-proxy.ts'

// On a busy machine things take longer than the second that a condition gets by default.
vi.setConfig({ expect: { poll: { timeout: 10_000 } } })

const parts = new AsyncDisposableStack()
let chain: TestChain
let outbox: Outbox
let nextChannel = 1

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  const dir = parts.use(await openTempDir())
  outbox = chain.outbox(parts.use(await openOutboxDatabase(dir.path('watch.db'))))
})
afterAll(() => parts.disposeAsync())

async function deposit(amount: bigint): Promise<void> {
  const config = channelConfig(chain.network, nextChannel)
  nextChannel += 1
  const outcome = await submitDeposit(chain.escrow, outbox, await signDeposit(chain, { config, amount }))
  expect(outcome.kind).toBe('deposited')
}

interface Sighting extends AsyncDisposable {
  events: EscrowEvent[]
  heads: Head[]
  failures: string[]
  throughBlock: number
}

function follow(options: Partial<EscrowWatch> & Pick<EscrowWatch, 'fromBlock'>): Sighting {
  const stop = new AbortController()
  const seen: Sighting = {
    events: [],
    heads: [],
    failures: [],
    throughBlock: -1,
    [Symbol.asyncDispose]: async () => {
      stop.abort()
      await watching
    },
  }
  const watching = watchEscrow({
    escrow: chain.escrow,
    pollMs: 10,
    signal: stop.signal,
    filter: { names: ['Deposited'] },
    onEvents: (events, throughBlock) => {
      seen.events.push(...events)
      seen.throughBlock = throughBlock
    },
    onHead: (head) => seen.heads.push(head),
    onFailure: ({ code }) => seen.failures.push(code),
    ...options,
  })
  return seen
}

const amounts = ({ events }: Sighting) => events.map((event) => event.name === 'Deposited' && event.amount)

test('old and new events arrive once and in order, with the head and the block they cover', async () => {
  const { number } = await chain.escrow.head()
  await deposit(1n)
  await deposit(2n)
  await using seen = follow({ fromBlock: number + 1, maxRange: 1 })
  await expect.poll(() => amounts(seen)).toEqual([1n, 2n])
  await deposit(3n)
  await expect.poll(() => amounts(seen)).toEqual([1n, 2n, 3n])
  const head = await chain.escrow.head()
  await expect.poll(() => seen.throughBlock).toBe(head.number)
  expect(seen.heads.at(-1)).toEqual(head)
})

test('a watch that starts after the last kept block does not repeat what came before it', async () => {
  await deposit(4n)
  const { number } = await chain.escrow.head()
  await deposit(5n)
  await using seen = follow({ fromBlock: number + 1 })
  await expect.poll(() => amounts(seen)).toEqual([5n])
})

test('a watch outlives an RPC that fails, and misses nothing', async () => {
  await using proxy = await openRpcProxy(chain.url)
  await using rpc = openRpc({ urls: [proxy.url], chainId: chain.network.chainId, timeoutMs: 2_000 })
  const { number } = await chain.escrow.head()
  await using seen = follow({ escrow: openEscrow(rpc, chain.network), fromBlock: number + 1 })
  await expect.poll(() => seen.heads.length).toBeGreaterThan(0)
  proxy.mode = 'drop'
  await expect.poll(() => seen.failures.length).toBeGreaterThan(1)
  await deposit(6n)
  proxy.mode = 'forward'
  await expect.poll(() => amounts(seen)).toEqual([6n])
  expect(new Set(seen.failures)).toEqual(new Set(['chain_unavailable']))
})

test('what the owner throws while handling events ends the watch', async () => {
  await deposit(9n)
  const failing = watchEscrow({
    escrow: chain.escrow,
    fromBlock: 0,
    pollMs: 10,
    signal: new AbortController().signal,
    onEvents: () => {
      throw new Error('the disk is full')
    },
  })
  await expect(failing).rejects.toThrow('the disk is full')
})

// Last: it takes back transactions that the outbox holds for done.
test('an event in a block that replaced another one of the same height is seen', async () => {
  const { number } = await chain.escrow.head()
  await using seen = follow({ fromBlock: number + 1 })
  const snapshot = await chain.rpc.send('evm_snapshot')
  await deposit(7n)
  await expect.poll(() => amounts(seen)).toEqual([7n])
  await chain.rpc.send('evm_revert', [snapshot])
  // Another sender, so that the block that comes instead is another one.
  await using dir = await openTempDir()
  await using store = await openOutboxDatabase(dir.path('fork.db'))
  const config = channelConfig(chain.network, 500)
  const rival = chain.outbox(store, { key: accounts.stranger.key })
  await submitDeposit(chain.escrow, rival, await signDeposit(chain, { config, amount: 8n }))
  await chain.rpc.send('evm_mine')
  await expect.poll(() => amounts(seen)).toEqual([7n, 8n])
})
