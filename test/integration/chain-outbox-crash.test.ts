import { execa } from 'execa'
import { Interface } from 'ethers'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { OutboxStore } from '../../src/chain/outbox-store.ts'
import type { Intent, Outbox } from '../../src/chain/outbox.ts'
import type { Hex } from '../../src/wire/hex.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import type { OutboxChildTask } from '../fixtures/outbox-child.ts'
import { openOutboxDatabase, openTempDir } from '../fixtures/outbox-store.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let dir: Awaited<ReturnType<typeof openTempDir>>
let path: string
let round = 0
let nonceBefore: number
let mintedBefore: bigint

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  dir = parts.use(await openTempDir())
})
afterAll(() => parts.disposeAsync())
beforeEach(async () => {
  round += 1
  path = dir.path(`round-${round}.db`)
  nonceBefore = await nonceOf()
  mintedBefore = await minted()
})

// Minting is not idempotent: a second transaction would show in the balance.
const mintAbi = new Interface(['function mint(address to, uint256 value)'])
const mint = (key: string): Intent => ({
  key,
  kind: 'mint',
  to: chain.network.asset,
  data: mintAbi.encodeFunctionData('mint', [accounts.stranger.address, 1]) as Hex,
})

const minted = () => chain.escrow.tokenBalance(accounts.stranger.address)
const nonceOf = async () =>
  Number(await chain.rpc.send('eth_getTransactionCount', [accounts.gas.address, 'latest']))

/** Sends in a process of its own, which is to be killed at `crashAt`. */
async function killAt(
  crashAt: string,
  intents: Intent[],
  more: Partial<OutboxChildTask> = {},
): Promise<void> {
  const { chainId } = chain.network
  const task: OutboxChildTask = { url: chain.url, chainId, path, key: accounts.gas.key, intents, ...more }
  const script = new URL('../fixtures/outbox-child.ts', import.meta.url).pathname
  const env = { OPENSEED_CRASH_AT: crashAt }
  const child = await execa(process.execPath, [script, JSON.stringify(task)], { reject: false, env })
  expect(child).toMatchObject({ signal: 'SIGKILL' })
}

/** The start after the crash, in this process. */
async function restart<T>(work: (outbox: Outbox, store: OutboxStore) => Promise<T>): Promise<T> {
  await using store = await openOutboxDatabase(path)
  return await work(chain.outbox(store), store)
}

async function expectOneMint(): Promise<void> {
  expect(await nonceOf()).toBe(nonceBefore + 1)
  expect(await minted()).toBe(mintedBefore + 1n)
}

describe.each(['outbox.intended', 'outbox.signed', 'outbox.sent', 'outbox.confirmed'])(
  'killed at %s',
  (crashAt) => {
    test('the same send after the restart makes exactly one transaction', async () => {
      await killAt(crashAt, [mint('once')])
      const outcome = await restart((outbox) => outbox.send(mint('once')))
      expect(outcome).toMatchObject({ status: 'confirmed' })
      await expectOneMint()
      expect(await restart((outbox) => outbox.send(mint('once')))).toEqual(outcome)
      await expectOneMint()
    })

    test('the resume at the restart makes exactly one transaction', async () => {
      await killAt(crashAt, [mint('once')])
      await restart(async (outbox, store) => {
        await outbox.resume()
        await expectOneMint()
        expect(await store.outboxPending()).toEqual([])
        expect(await store.outboxFind({ key: 'once' })).toMatchObject({
          status: 'confirmed',
          nonce: nonceBefore,
        })
      })
    })
  },
)

test('killed again during the recovery, there is still exactly one transaction', async () => {
  await killAt('outbox.signed', [mint('once')])
  await killAt('outbox.sent', [])
  await killAt('outbox.confirmed', [mint('once')])
  expect(await restart((outbox) => outbox.send(mint('once')))).toMatchObject({ status: 'confirmed' })
  await expectOneMint()
})

test('what was signed and never broadcast does not hold up the next transaction', async () => {
  await killAt('outbox.signed', [mint('left behind')])
  await restart(async (outbox) => {
    expect(await outbox.send(mint('next'))).toMatchObject({ status: 'confirmed' })
    expect(await nonceOf()).toBe(nonceBefore + 2)
    expect(await outbox.send(mint('left behind'))).toMatchObject({ status: 'confirmed' })
  })
  expect(await minted()).toBe(mintedBefore + 2n)
  expect(await nonceOf()).toBe(nonceBefore + 2)
})

test('a signed transaction whose nonce somebody else used is dropped and never sent again', async () => {
  await killAt('outbox.signed', [mint('late')])
  const foreign = { from: accounts.gas.address, to: accounts.gas.address, value: '0x1' }
  await chain.rpc.send('eth_sendTransaction', [foreign])
  await chain.rpc.send('evm_mine')
  await restart(async (outbox) => {
    const refused = { status: 'refused', reason: 'another transaction took its nonce' }
    expect(await outbox.send(mint('late'))).toEqual(refused)
    expect(await outbox.send(mint('late'))).toEqual(refused)
    expect(await outbox.send(mint('other'))).toMatchObject({ status: 'confirmed' })
  })
  expect(await minted()).toBe(mintedBefore + 1n)
})

test('killed with a higher offer stored and not sent, there is exactly one transaction', async () => {
  await chain.rpc.send('evm_setAutomine', [false])
  await killAt('outbox.bumped', [mint('once')], { patienceMs: 50 })
  await chain.rpc.send('evm_setAutomine', [true])
  await restart(async (outbox, store) => {
    expect(await store.outboxCopies({ key: 'once' })).toHaveLength(1)
    await outbox.resume()
    await expectOneMint()
    expect(await store.outboxFind({ key: 'once' })).toMatchObject({ status: 'confirmed' })
  })
})

// Last: it takes back what the chain had.
test('killed when a reorg has undone a transaction, the next start brings its bytes back to the chain', async () => {
  const snapshot = await chain.rpc.send('evm_snapshot')
  const before = await restart((outbox) => outbox.send(mint('undone')))
  await chain.rpc.send('evm_revert', [snapshot])
  expect(await minted()).toBe(mintedBefore)
  await killAt('outbox.reopened', [])
  await restart(async (outbox, store) => {
    expect(await store.outboxFind({ key: 'undone' })).toMatchObject({ status: 'signed', block: null })
    await outbox.resume()
    expect(await outbox.send(mint('undone'))).toMatchObject({ ...before, block: expect.any(Number) })
  })
  await expectOneMint()
})
