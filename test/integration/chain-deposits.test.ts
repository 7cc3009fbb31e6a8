import { afterAll, beforeAll, expect, test } from 'vitest'
import { submitDeposit, type DepositOrder } from '../../src/chain/deposits.ts'
import type { Outbox } from '../../src/chain/outbox.ts'
import { batchErrors } from '../../src/wire/batch-settlement.ts'
import { accounts } from '../fixtures/accounts.ts'
import { channelConfig, openTestChain, signDeposit, word, type TestChain } from '../fixtures/chain.ts'
import { openOutboxDatabase, openTempDir } from '../fixtures/outbox-store.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let outbox: Outbox

beforeAll(async () => {
  chain = parts.use(await openTestChain({ payerUsdc: 10_000_000n }))
  const dir = parts.use(await openTempDir())
  outbox = chain.outbox(parts.use(await openOutboxDatabase(dir.path('deposits.db'))))
})
afterAll(() => parts.disposeAsync())

const submit = (order: DepositOrder) => submitDeposit(chain.escrow, outbox, order)

test('a signed deposit opens the channel, and the payer needs no gas for it', async () => {
  const config = channelConfig(chain.network, 1)
  const before = await chain.escrow.tokenBalance(config.payer)
  const gasBefore = await chain.escrow.nativeBalance(config.payer)

  const outcome = await submit(await signDeposit(chain, { config, amount: 2_000_000n }))

  expect(outcome).toMatchObject({ kind: 'deposited', balance: 2_000_000n })
  expect(await chain.escrow.channel(chain.digests.channelId(config))).toEqual({
    balance: 2_000_000n,
    totalClaimed: 0n,
    withdrawAmount: 0n,
    withdrawInitiatedAtSec: 0,
    refundNonce: 0n,
  })
  expect(await chain.escrow.tokenBalance(config.payer)).toBe(before - 2_000_000n)
  expect(await chain.escrow.tokenBalance(chain.network.escrow)).toBe(2_000_000n)
  expect(await chain.escrow.nativeBalance(config.payer)).toBe(gasBefore)
})

test('a second deposit tops the channel up and says the new balance', async () => {
  const config = channelConfig(chain.network, 2)
  await submit(await signDeposit(chain, { config, amount: 100n }))
  const outcome = await submit(await signDeposit(chain, { config, amount: 23n, salt: word(2) }))
  expect(outcome).toMatchObject({ kind: 'deposited', balance: 123n })
})

test('a deposit that is sent again moves nothing and says that it was used', async () => {
  const config = channelConfig(chain.network, 3)
  const order = await signDeposit(chain, { config, amount: 500n })
  await submit(order)
  expect(await submit(order)).toEqual({ kind: 'already-used' })
  expect((await chain.escrow.channel(chain.digests.channelId(config))).balance).toBe(500n)
})

test('ten copies of one deposit at once are one transaction', async () => {
  const config = channelConfig(chain.network, 4)
  const order = await signDeposit(chain, { config, amount: 700n })
  const outcomes = await Promise.all(Array.from({ length: 10 }, () => submit(order)))
  const hashes = new Set(
    outcomes.flatMap((outcome) => (outcome.kind === 'deposited' ? [outcome.txHash] : [])),
  )
  expect(hashes.size).toBe(1)
  expect((await chain.escrow.channel(chain.digests.channelId(config))).balance).toBe(700n)
})

test('a deposit signed by somebody else is refused and costs no gas', async () => {
  const config = channelConfig(chain.network, 5)
  const gasBefore = await chain.escrow.nativeBalance(outbox.address)
  const order = await signDeposit(chain, { config, amount: 500n, signerKey: accounts.stranger.key })
  expect(await submit(order)).toEqual({ kind: 'refused', reason: batchErrors.receiveAuthorizationSignature })
  expect(await chain.escrow.nativeBalance(outbox.address)).toBe(gasBefore)
})

test('a deposit whose amount was changed after signing is refused', async () => {
  const config = channelConfig(chain.network, 6)
  const order = await signDeposit(chain, { config, amount: 500n })
  expect(await submit({ ...order, amount: 501n })).toEqual({
    kind: 'refused',
    reason: batchErrors.receiveAuthorizationSignature,
  })
})

test('an expired deposit is refused', async () => {
  const config = channelConfig(chain.network, 7)
  const { timestampSec } = await chain.escrow.head()
  const order = await signDeposit(chain, { config, amount: 500n, validBefore: timestampSec - 1 })
  expect(await submit(order)).toEqual({ kind: 'refused', reason: batchErrors.authorizationValidBefore })
})

test('a deposit that is not valid yet is refused', async () => {
  const config = channelConfig(chain.network, 8)
  const { timestampSec } = await chain.escrow.head()
  const times = { validAfter: timestampSec + 3600, validBefore: timestampSec + 7200 }
  const order = await signDeposit(chain, { config, amount: 500n, ...times })
  expect(await submit(order)).toEqual({ kind: 'refused', reason: batchErrors.authorizationValidAfter })
})

test('a deposit above the balance of the payer is refused', async () => {
  const config = channelConfig(chain.network, 9)
  const order = await signDeposit(chain, { config, amount: 1_000_000_000_000n })
  expect(await submit(order)).toEqual({ kind: 'refused', reason: batchErrors.insufficientBalance })
})

test('a deposit in another token, or with a delay that the escrow does not take, is refused', async () => {
  const other = channelConfig(chain.network, 10, { token: accounts.stranger.address })
  expect(await submit(await signDeposit(chain, { config: other, amount: 5n }))).toEqual({
    kind: 'refused',
    reason: batchErrors.tokenMismatch,
  })
  const hasty = channelConfig(chain.network, 10, { withdrawDelay: 899 })
  expect(await submit(await signDeposit(chain, { config: hasty, amount: 5n }))).toEqual({
    kind: 'refused',
    reason: batchErrors.withdrawDelayOutOfRange,
  })
})

test('a deposit that the escrow refuses is refused by simulation', async () => {
  const nobody = channelConfig(chain.network, 11, { receiver: '0x0000000000000000000000000000000000000000' })
  expect(await submit(await signDeposit(chain, { config: nobody, amount: 5n }))).toEqual({
    kind: 'refused',
    reason: batchErrors.depositSimulationFailed,
  })
})
