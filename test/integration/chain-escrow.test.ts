import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ClaimRow } from '../../src/chain/calls.ts'
import { submitDeposit } from '../../src/chain/deposits.ts'
import { checkChain } from '../../src/chain/check.ts'
import { openEscrow } from '../../src/chain/escrow.ts'
import { parseLogs } from '../../src/chain/events.ts'
import type { Outbox } from '../../src/chain/outbox.ts'
import type { Usdc } from '../../src/wire/amount.ts'
import type { ChannelConfig } from '../../src/wire/channel.ts'
import { curve } from '../../src/wire/curve.ts'
import { accounts } from '../fixtures/accounts.ts'
import { channelConfig, openTestChain, signDeposit, signVoucher, type TestChain } from '../fixtures/chain.ts'
import { openOutboxDatabase, openTempDir } from '../fixtures/outbox-store.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let relay: Outbox // a stranger to every channel, who pays gas
let seller: Outbox
let buyer: Outbox
let nextChannel = 1

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  const dir = parts.use(await openTempDir())
  const outboxOf = async (name: string, key = accounts.gas.key) =>
    chain.outbox(parts.use(await openOutboxDatabase(dir.path(name))), { key })
  relay = await outboxOf('relay.db')
  seller = await outboxOf('seller.db', accounts.receiverAuthorizer.key)
  buyer = await outboxOf('buyer.db', accounts.payerAuthorizer.key)
})
afterAll(() => parts.disposeAsync())

async function openChannel(amount: Usdc): Promise<ChannelConfig> {
  const config = channelConfig(chain.network, nextChannel)
  nextChannel += 1
  const outcome = await submitDeposit(chain.escrow, relay, await signDeposit(chain, { config, amount }))
  expect(outcome.kind).toBe('deposited')
  return config
}

const row = (config: ChannelConfig, maxClaimable: Usdc, totalClaimed: Usdc): ClaimRow => ({
  config,
  maxClaimable,
  totalClaimed,
  signature: signVoucher(chain, config, maxClaimable),
})

const idOf = (config: ChannelConfig) => chain.digests.channelId(config)
const read = (config: ChannelConfig) => chain.escrow.channel(idOf(config))

test('the receiver claims many channels in one transaction and is paid by one settlement', async () => {
  const { calls } = chain.escrow
  const configs = await Promise.all([1000n, 2000n, 3000n].map(openChannel))
  const rows = configs.map((config, index) => row(config, 900n, BigInt(100 * (index + 1))))
  const due = await chain.escrow.receiver(accounts.receiver.address, chain.network.asset)

  const claimed = await seller.send({ key: 'claim:many', kind: 'claim', ...calls.claim(rows) })

  expect(claimed.status).toBe('confirmed')
  const facts = claimed.status === 'confirmed' ? parseLogs(claimed.logs, chain.network.escrow) : []
  expect(facts.map((fact) => fact.name === 'Claimed' && fact.newTotalClaimed)).toEqual([100n, 200n, 300n])
  expect((await chain.escrow.channels(configs.map(idOf))).map(({ totalClaimed }) => totalClaimed)).toEqual([
    100n,
    200n,
    300n,
  ])
  const owed = await chain.escrow.receiver(accounts.receiver.address, chain.network.asset)
  expect(owed.totalClaimed - due.totalClaimed).toBe(600n)

  const before = await chain.escrow.tokenBalance(accounts.receiver.address)
  const settle = calls.settle(accounts.receiver.address, chain.network.asset)
  expect(await relay.send({ key: 'settle:many', kind: 'settle', ...settle })).toMatchObject({
    status: 'confirmed',
  })
  expect(await chain.escrow.tokenBalance(accounts.receiver.address)).toBe(
    before + owed.totalClaimed - due.totalSettled,
  )
})

test('anyone may relay a batch that the receiver authorizer signed', async () => {
  const config = await openChannel(1000n)
  const batch = [{ channelId: idOf(config), maxClaimable: 400n, totalClaimed: 321n }]
  const signature = curve.sign(chain.digests.claimBatch(batch), accounts.receiverAuthorizer.key)
  const call = chain.escrow.calls.claimWithSignature([row(config, 400n, 321n)], signature)
  expect(await relay.send({ key: 'claim:relayed', kind: 'claim', ...call })).toMatchObject({
    status: 'confirmed',
  })
  expect((await read(config)).totalClaimed).toBe(321n)
})

test('a claim that would revert is refused by name and never sent', async () => {
  const { calls } = chain.escrow
  const config = await openChannel(1000n)
  const refusals = {
    ClaimExceedsCeiling: calls.claim([row(config, 10n, 11n)]),
    ClaimExceedsBalance: calls.claim([row(config, 5000n, 1001n)]),
    EmptyBatch: calls.claim([]),
    InvalidSignature: calls.claim([{ ...row(config, 10n, 10n), maxClaimable: 11n }]),
  }
  for (const [reason, call] of Object.entries(refusals)) {
    expect(await chain.escrow.simulate(call, seller.address)).toEqual({ ok: false, reason })
    expect(await seller.send({ key: `claim:${reason}`, kind: 'claim', ...call })).toEqual({
      status: 'refused',
      reason,
    })
  }
  const foreign = calls.claim([row(config, 10n, 10n)])
  expect(await chain.escrow.simulate(foreign, relay.address)).toEqual({
    ok: false,
    reason: 'NotAuthorizedToClaim',
  })
})

test('a refund that the receiver authorizer signed pays the payer and raises the nonce', async () => {
  const config = await openChannel(1000n)
  const before = await chain.escrow.tokenBalance(config.payer)
  const signature = curve.sign(chain.digests.refund(idOf(config), 0n, 400n), accounts.receiverAuthorizer.key)
  const call = chain.escrow.calls.refundWithSignature(config, 400n, 0n, signature)

  expect(await relay.send({ key: 'refund:1', kind: 'refund', ...call })).toMatchObject({
    status: 'confirmed',
  })

  expect(await chain.escrow.tokenBalance(config.payer)).toBe(before + 400n)
  expect(await read(config)).toMatchObject({ balance: 600n, refundNonce: 1n })
  expect(await relay.send({ key: 'refund:2', kind: 'refund', ...call })).toEqual({
    status: 'refused',
    reason: 'InvalidRefundNonce',
  })
})

test('claim and refund go out together in one multicall', async () => {
  const { calls } = chain.escrow
  const config = await openChannel(1000n)
  const call = calls.multicall([calls.claim([row(config, 250n, 250n)]), calls.refund(config, 750n)])
  expect(await seller.send({ key: 'close', kind: 'close', ...call })).toMatchObject({ status: 'confirmed' })
  expect(await read(config)).toMatchObject({ balance: 250n, totalClaimed: 250n, refundNonce: 1n })
})

test('the payer takes back what nobody claimed, after the delay and not before', async () => {
  const { calls } = chain.escrow
  const config = await openChannel(1000n)
  const start = { key: 'withdraw', kind: 'withdraw', ...calls.initiateWithdraw(config, 900n) }
  expect(await buyer.send(start)).toMatchObject({ status: 'confirmed' })
  const pending = await read(config)
  expect(pending).toMatchObject({ balance: 1000n, withdrawAmount: 900n })
  expect(pending.withdrawInitiatedAtSec).toBe((await chain.escrow.head()).timestampSec)

  const finish = { key: 'finalize', kind: 'withdraw', ...calls.finalizeWithdraw(config) }
  expect(await buyer.send(finish)).toEqual({ status: 'refused', reason: 'WithdrawDelayNotElapsed' })
  const claim = { key: 'claim:race', kind: 'claim', ...calls.claim([row(config, 300n, 300n)]) }
  expect(await seller.send(claim)).toMatchObject({ status: 'confirmed' })

  await chain.advance(86_401)
  const before = await chain.escrow.tokenBalance(config.payer)
  expect(await buyer.send(finish)).toMatchObject({ status: 'confirmed' })
  expect(await chain.escrow.tokenBalance(config.payer)).toBe(before + 700n)
  expect(await read(config)).toMatchObject({ balance: 300n, withdrawAmount: 0n, withdrawInitiatedAtSec: 0 })
})

test('events are read back with their place, by name and by channel', async () => {
  const { number: from } = await chain.escrow.head()
  const config = await openChannel(1000n)
  const other = await openChannel(1000n)
  const { number: to } = await chain.escrow.head()

  const created = await chain.escrow.events(from + 1, to, { names: ['ChannelCreated'] })
  expect(created.map((event) => event.name === 'ChannelCreated' && event.config)).toEqual([config, other])
  const own = await chain.escrow.events(from + 1, to, { channelIds: [idOf(config)] })
  expect(own.map(({ name }) => name)).toEqual(['ChannelCreated', 'Deposited'])
  expect(own[1]).toMatchObject({ amount: 1000n, newBalance: 1000n, sender: relay.address, block: from + 1 })
  const anything = await chain.escrow.events(from + 1, to)
  expect(anything).toHaveLength(4)
})

test('a channel nobody opened reads as empty', async () => {
  const nobody = channelConfig(chain.network, 999)
  expect(await read(nobody)).toMatchObject({ balance: 0n, totalClaimed: 0n, refundNonce: 0n })
})

test('missing contracts are noticed', async () => {
  await checkChain(chain.escrow, null)
  for (const name of ['escrow', 'collector', 'asset'] as const) {
    const without = openEscrow(chain.rpc, { ...chain.network, [name]: accounts.stranger.address })
    await expect(checkChain(without, null)).rejects.toMatchObject({ code: 'chain_mismatch' })
  }
  const nowhere = openEscrow(chain.rpc, { ...chain.network, escrow: accounts.stranger.address })
  await expect(nowhere.channel(idOf(channelConfig(chain.network)))).rejects.toMatchObject({
    code: 'chain_mismatch',
  })
})

test('a plain deployment works like the canonical places, on another chain id', async () => {
  await using other = await openTestChain({ chainId: 84_532, canonical: false })
  await using dir = await openTempDir()
  await using store = await openOutboxDatabase(dir.path('other.db'))
  const config = channelConfig(other.network)
  const order = await signDeposit(other, { config, amount: 5n })
  expect(await submitDeposit(other.escrow, other.outbox(store), order)).toMatchObject({ kind: 'deposited' })
})
