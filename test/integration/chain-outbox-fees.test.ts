/** Transactions that nobody mines at the price they offer, on a chain that is told when to mine and at which price. */
import { Interface, Transaction } from 'ethers'
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest'
import { silentLog } from '../../src/base/log.ts'
import type { Intent } from '../../src/chain/outbox.ts'
import type { Hex } from '../../src/wire/hex.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { openOutboxDatabase, openTempDir, type OutboxDatabase } from '../fixtures/outbox-store.ts'
import { openSeveral } from '../fixtures/rpc-several.ts'

// On a busy machine things take longer than the second that a condition gets by default.
vi.setConfig({ expect: { poll: { timeout: 10_000 } } })

const parts = new AsyncDisposableStack()
let dir: Awaited<ReturnType<typeof openTempDir>>
let chain: TestChain
let store: OutboxDatabase
let files = 0

beforeAll(async () => {
  dir = parts.use(await openTempDir())
})
afterAll(() => parts.disposeAsync())
beforeEach(async () => {
  const stack = new AsyncDisposableStack()
  chain = stack.use(await openTestChain())
  store = stack.use(await openOutboxDatabase(dir.path(`${(files += 1)}.db`)))
  await chain.rpc.send('evm_setAutomine', [false])
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
const mine = () => chain.rpc.send('evm_mine')
const impatient = { patienceMs: 100 }

async function offers(key: string) {
  const row = await store.outboxFind({ key })
  const raws = [row!.raw!, ...(await store.outboxCopies({ key })).map(({ raw }) => raw)]
  return raws.map((raw) => Transaction.from(raw))
}

/** Resolves once the transaction has this many copies. */
const copied = (key: string, count: number) =>
  expect.poll(async () => (await store.outboxCopies({ key })).length).toBeGreaterThanOrEqual(count)

test('a transaction that waits offers more under the same nonce, and one of its copies is mined, once', async () => {
  const sent = chain.outbox(store, impatient).send(mint('slow'))
  await copied('slow', 2)
  await mine()
  const outcome = await sent
  expect(outcome).toMatchObject({ status: 'confirmed' })
  expect(await minted()).toBe(1n)
  const copies = await offers('slow')
  expect(new Set(copies.map(({ nonce }) => nonce)).size).toBe(1)
  expect(new Set(copies.map(({ data, to }) => `${to} ${data}`)).size).toBe(1)
  for (const [index, copy] of copies.slice(1).entries()) {
    const before = copies[index]!
    expect(copy.maxFeePerGas! * 10n).toBeGreaterThan(before.maxFeePerGas! * 11n)
    expect(copy.maxPriorityFeePerGas! * 10n).toBeGreaterThan(before.maxPriorityFeePerGas! * 11n)
  }
  expect(copies.map(({ hash }) => hash)).toContain((outcome as { hash: string }).hash)
  expect(await chain.outbox(store).send(mint('slow'))).toEqual(outcome)
})

test('a base fee that rises above the offer is met', async () => {
  const sent = chain.outbox(store, impatient).send(mint('outbid'))
  await expect.poll(async () => (await store.outboxFind({ key: 'outbid' }))?.status).toBe('signed')
  const [first] = await offers('outbid')
  const raised = first!.maxFeePerGas! * 20n
  await chain.rpc.send('anvil_setNextBlockBaseFeePerGas', [`0x${raised.toString(16)}`])
  await mine()
  expect(await minted()).toBe(0n)
  await expect.poll(async () => (await offers('outbid')).at(-1)!.maxFeePerGas! > raised).toBe(true)
  await expect
    .poll(async () => {
      await mine()
      return minted()
    })
    .toBe(1n)
  expect(await sent).toMatchObject({ status: 'confirmed' })
  expect(await minted()).toBe(1n)
})

test('a base fee that rises before the transaction is handed out is met as well', async () => {
  await using one = await openSeveral(chain, 1)
  let refusals = 0
  one.proxies[0]!.instead = ({ method }) => {
    if (method !== 'eth_sendRawTransaction' || refusals > 0) return undefined
    refusals += 1
    return { error: { code: -32_000, message: 'max fee per gas less than block base fee' } }
  }
  const sent = chain.outbox(store, { ...impatient, rpc: one.rpc }).send(mint('late'))
  await copied('late', 1)
  await expect
    .poll(async () => {
      await mine()
      return minted()
    })
    .toBe(1n)
  expect(await sent).toMatchObject({ status: 'confirmed' })
})

test('when the first copy is mined after all, its outcome is the transaction’s', async () => {
  await using one = await openSeveral(chain, 1)
  let broadcasts = 0
  one.proxies[0]!.instead = ({ method }) => {
    if (method !== 'eth_sendRawTransaction' || (broadcasts += 1) === 1) return undefined
    return { error: { code: -32_000, message: 'replacement transaction underpriced' } }
  }
  const sent = chain.outbox(store, { ...impatient, rpc: one.rpc }).send(mint('first'))
  await copied('first', 2)
  await mine()
  expect(await sent).toMatchObject({ status: 'confirmed', hash: (await offers('first'))[0]!.hash })
})

test('copies are remembered over a restart: the next run finds whichever was mined', async () => {
  const hasty = chain.outbox(store, { ...impatient, deadlineMs: 1_500 })
  await expect(hasty.send(mint('kept'))).rejects.toMatchObject({ code: 'chain_unavailable' })
  await copied('kept', 1)
  await mine()
  await chain.outbox(store).resume()
  expect(await store.outboxFind({ key: 'kept' })).toMatchObject({ status: 'confirmed' })
  expect(await minted()).toBe(1n)
})

test('only the next transaction in line offers more; those behind it wait for it', async () => {
  const outbox = chain.outbox(store, impatient)
  const sent = [outbox.send(mint('one')), outbox.send(mint('two'))]
  await expect
    .poll(async () => {
      const rows = await Promise.all(['one', 'two'].map((key) => store.outboxFind({ key })))
      return rows.every((row) => row?.status === 'signed')
    })
    .toBe(true)
  const rows = await Promise.all(['one', 'two'].map((key) => store.outboxFind({ key })))
  const [next, behind] = rows.toSorted((a, b) => a!.nonce! - b!.nonce!).map((row) => row!.key)
  await copied(next!, 2)
  expect(await store.outboxCopies({ key: behind! })).toEqual([])
  await mine()
  expect((await Promise.all(sent)).map(({ status }) => status)).toEqual(['confirmed', 'confirmed'])
  expect(await minted()).toBe(2n)
})

test('a key that cannot pay for a higher offer keeps the one it made, and says so', async () => {
  let complaints = 0
  const log = { ...silentLog, error: () => void (complaints += 1) }
  const sent = chain.outbox(store, { ...impatient, log }).send(mint('poor'))
  await expect.poll(async () => (await store.outboxFind({ key: 'poor' }))?.status).toBe('signed')
  const [first] = await offers('poor')
  const least = first!.gasLimit * first!.maxFeePerGas!
  await chain.rpc.send('anvil_setBalance', [accounts.gas.address, `0x${least.toString(16)}`])
  await expect.poll(() => complaints).toBeGreaterThan(1)
  const copies = await offers('poor')
  await mine()
  const { hash } = (await sent) as { hash: string }
  expect(copies.map((copy) => copy.hash)).toContain(hash)
  expect(await minted()).toBe(1n)
})
