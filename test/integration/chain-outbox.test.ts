import { Interface, Wallet } from 'ethers'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { submitDeposit } from '../../src/chain/deposits.ts'
import type { Intent } from '../../src/chain/outbox.ts'
import { openRpc } from '../../src/chain/rpc.ts'
import { curve } from '../../src/wire/curve.ts'
import type { Hex } from '../../src/wire/hex.ts'
import { accounts } from '../fixtures/accounts.ts'
import { channelConfig, openTestChain, signDeposit, type TestChain } from '../fixtures/chain.ts'
import { openOutboxDatabase, openTempDir } from '../fixtures/outbox-store.ts'
import { openRpcProxy } from '../fixtures/rpc-proxy.ts'

// On a busy machine things take longer than the second that a condition gets by default.
vi.setConfig({ expect: { poll: { timeout: 10_000 } } })

const parts = new AsyncDisposableStack()
let dir: Awaited<ReturnType<typeof openTempDir>>
let files = 0

beforeAll(async () => {
  dir = parts.use(await openTempDir())
})
afterAll(() => parts.disposeAsync())

const openStore = () => openOutboxDatabase(dir.path(`${(files += 1)}.db`))

const mintAbi = new Interface(['function mint(address to, uint256 value)'])
const mint = (chain: TestChain, key: string): Intent => ({
  key,
  kind: 'mint',
  to: chain.network.asset,
  data: mintAbi.encodeFunctionData('mint', [accounts.stranger.address, 1]) as Hex,
})
const minted = (chain: TestChain) => chain.escrow.tokenBalance(accounts.stranger.address)
const stopMining = (chain: TestChain) => chain.rpc.send('evm_setAutomine', [false])
const mine = (chain: TestChain) => chain.rpc.send('evm_mine')

test('many sends at once take one nonce each, without holes', async () => {
  await using chain = await openTestChain()
  await using store = await openStore()
  const outbox = chain.outbox(store)
  const keys = Array.from({ length: 20 }, (_, index) => `mint ${index}`)
  const outcomes = await Promise.all(keys.map((key) => outbox.send(mint(chain, key))))
  expect(new Set(outcomes.map(({ status }) => status))).toEqual(new Set(['confirmed']))
  const rows = await Promise.all(keys.map((key) => store.outboxFind({ key })))
  expect(rows.map((row) => row?.nonce).toSorted((a, b) => (a ?? 0) - (b ?? 0))).toEqual(
    keys.map((_, index) => index),
  )
  expect(await minted(chain)).toBe(20n)
})

test('copies of one send share its transaction and its outcome', async () => {
  await using chain = await openTestChain()
  await using store = await openStore()
  const outbox = chain.outbox(store)
  const [first, ...others] = await Promise.all(
    Array.from({ length: 5 }, () => outbox.send(mint(chain, 'same'))),
  )
  expect(others).toEqual([first, first, first, first])
  expect(await outbox.send(mint(chain, 'same'))).toEqual(first)
  expect(await minted(chain)).toBe(1n)
})

test('a transaction that is not mined in time stays known, and the same send finds it later', async () => {
  await using chain = await openTestChain()
  await using store = await openStore()
  await stopMining(chain)
  const hasty = chain.outbox(store, { deadlineMs: 300 })
  await expect(hasty.send(mint(chain, 'slow'))).rejects.toMatchObject({ code: 'chain_unavailable' })
  const row = await store.outboxFind({ key: 'slow' })
  expect(row).toMatchObject({ status: 'signed' })
  await mine(chain)
  expect(await chain.outbox(store).send(mint(chain, 'slow'))).toMatchObject({
    status: 'confirmed',
    hash: row?.hash,
  })
  expect(await minted(chain)).toBe(1n)
})

test('a broadcast whose answer was lost is not sent as another transaction', async () => {
  await using chain = await openTestChain()
  await using store = await openStore()
  await using proxy = await openRpcProxy(chain.url)
  await using rpc = openRpc({ urls: [proxy.url], chainId: chain.network.chainId, timeoutMs: 2000 })
  const outbox = chain.outbox(store, { rpc, deadlineMs: 1_000 })
  proxy.onMethod = (method) => {
    if (method === 'eth_sendRawTransaction') proxy.mode = 'forwardSilently'
  }
  await expect(outbox.send(mint(chain, 'lost'))).rejects.toMatchObject({ code: 'chain_unavailable' })
  expect(await minted(chain)).toBe(1n)
  proxy.onMethod = () => undefined
  proxy.mode = 'forward'
  expect(await outbox.send(mint(chain, 'lost'))).toMatchObject({ status: 'confirmed' })
  expect(await minted(chain)).toBe(1n)
})

test('while no RPC answers, a send fails in time and is finished by the next resume', async () => {
  await using chain = await openTestChain()
  await using store = await openStore()
  await using proxy = await openRpcProxy(chain.url)
  await using rpc = openRpc({ urls: [proxy.url], chainId: chain.network.chainId, timeoutMs: 1_000 })
  const outbox = chain.outbox(store, { rpc, deadlineMs: 1_500 })
  proxy.mode = 'hang'
  await expect(outbox.send(mint(chain, 'down'))).rejects.toMatchObject({ code: 'chain_unavailable' })
  await expect(outbox.resume()).rejects.toMatchObject({ code: 'chain_unavailable' })
  proxy.mode = 'forward'
  await outbox.resume()
  expect(await store.outboxFind({ key: 'down' })).toMatchObject({ status: 'confirmed' })
  expect(await minted(chain)).toBe(1n)
})

test('a transaction that reverts on chain says why', async () => {
  await using chain = await openTestChain()
  await using store = await openStore()
  const config = channelConfig(chain.network)
  await submitDeposit(chain.escrow, chain.outbox(store), await signDeposit(chain, { config, amount: 100n }))
  const digest = chain.digests.refund(chain.digests.channelId(config), 0n, 10n)
  const signature = curve.sign(digest, accounts.receiverAuthorizer.key)
  const refund = chain.escrow.calls.refundWithSignature(config, 10n, 0n, signature)

  await stopMining(chain)
  const sent = chain.outbox(store).send({ key: 'mine', kind: 'refund', ...refund })
  await expect.poll(async () => pendingCount(chain)).toBe(1)
  // Somebody else sends the same, and pays to be first.
  const from = accounts.stranger.address
  const [gas, tip] = ['0x7a120', '0x174876e800']
  await chain.rpc.send('anvil_impersonateAccount', [from])
  await chain.rpc.send('eth_sendTransaction', [
    { from, ...refund, gas, maxFeePerGas: tip, maxPriorityFeePerGas: tip },
  ])
  await mine(chain)

  expect(await sent).toMatchObject({ status: 'reverted', reason: 'InvalidRefundNonce' })
  expect((await chain.escrow.channel(chain.digests.channelId(config))).balance).toBe(90n)
})

async function pendingCount(chain: TestChain): Promise<number> {
  const { pending } = (await chain.rpc.send('txpool_status')) as { pending: string }
  return Number(pending)
}

test('an outcome waits for as many blocks as are asked for', async () => {
  await using chain = await openTestChain()
  await using store = await openStore()
  const sent = chain.outbox(store, { confirmations: 3 }).send(mint(chain, 'deep'))
  await expect.poll(() => minted(chain)).toBe(1n)
  expect(await store.outboxFind({ key: 'deep' })).toMatchObject({ status: 'signed' })
  await mine(chain)
  await mine(chain)
  const outcome = await sent
  expect(outcome).toMatchObject({ status: 'confirmed', block: (await chain.escrow.head()).number - 2 })
})

test('a key without gas is told so, and the same send works once it has some', async () => {
  await using chain = await openTestChain()
  await using store = await openStore()
  const { privateKey } = Wallet.createRandom()
  const outbox = chain.outbox(store, { key: privateKey as Hex })
  await expect(outbox.send(mint(chain, 'poor'))).rejects.toMatchObject({ code: 'gas_insufficient' })
  await chain.fund([{ address: outbox.address, eth: 10n ** 18n }])
  expect(await outbox.send(mint(chain, 'poor'))).toMatchObject({ status: 'confirmed' })
})

test('an aborted outbox stops waiting and leaves the row for the next start', async () => {
  await using chain = await openTestChain()
  await using store = await openStore()
  await stopMining(chain)
  const shutdown = new AbortController()
  const sent = chain.outbox(store, { signal: shutdown.signal }).send(mint(chain, 'cut'))
  await expect.poll(() => pendingCount(chain)).toBe(1)
  shutdown.abort(new Error('shutting down'))
  await expect(sent).rejects.toThrow('shutting down')
  await mine(chain)
  await chain.outbox(store).resume()
  expect(await store.outboxFind({ key: 'cut' })).toMatchObject({ status: 'confirmed' })
})
