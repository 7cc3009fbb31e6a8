/** A seller dies, a buyer takes its deposit back, and the watchtower gets the seller what it earned, to the unit. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { Address } from '../../src/wire/hex.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { depositDirectly, openRawBuyer, type RawBuyer } from '../fixtures/raw-buyer.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey, startSellerProcess } from '../fixtures/seller-process.ts'
import { beginWithdrawal, claimed, endWithdrawal, towerCode } from '../fixtures/tower.ts'
import { startTowerProcess, type TowerProcess } from '../fixtures/tower-process.ts'
import { patient } from '../fixtures/patient.ts'

const parts = new AsyncDisposableStack()
const deposit = 1_000_000n
const headStartSec = 225
let chain: TestChain
let engine: ScriptedEngine
let nextIndex = 1

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
})
afterAll(() => parts.disposeAsync())

const usdcOf = (address: Address) => chain.escrow.tokenBalance(address)

/** Two folders, a seller that earned on two channels, and a tower that has all of it; then the seller is killed. */
async function story() {
  const stack = new AsyncDisposableStack()
  const folder = await mkdtemp(join(tmpdir(), 'openseed-story-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const [seller, key] = [join(folder, 'seller'), await freshSellerKey(chain)]
  const running = await startSellerProcess(chain, engine.url, {
    folder: seller,
    key: await freshSellerKey(chain),
  })
  stack.use(running)
  const task = { folder: join(folder, 'tower'), key, sellers: [running.url] }
  const tower = await startTowerProcess(chain, { ...task, code: await towerCode(seller) })
  stack.use(tower)
  const buyers: RawBuyer[] = []
  for (const say of ['tokens=7', 'tokens=13']) {
    const buyer = await openRawBuyer(chain, running.url, nextIndex++)
    await depositDirectly(buyer, deposit)
    for (let i = 0; i < 3; i += 1) expect((await buyer.chat({ say })).status).toBe(200)
    buyers.push(buyer)
  }
  const [first, second] = buyers as [RawBuyer, RawBuyer]
  await all(tower, first, second)
  await running.kill()
  return { tower, task, first, second, [Symbol.asyncDispose]: () => stack.disposeAsync() }
}

async function all(tower: TowerProcess, ...buyers: RawBuyer[]): Promise<void> {
  const wanted = Object.fromEntries(buyers.map(({ channelId, charged }) => [channelId, String(charged)]))
  await vi.waitUntil(async () => JSON.stringify(await tower.held()) === JSON.stringify(wanted), patient)
}

async function receiverTotal(buyer: RawBuyer): Promise<bigint> {
  return (await chain.escrow.receiver(buyer.config.receiver, chain.network.asset)).totalClaimed
}

/** What the buyer gets in the end is what it never spent. */
async function expectExact(buyer: RawBuyer): Promise<void> {
  expect((await chain.escrow.channel(buyer.channelId)).totalClaimed).toBe(buyer.charged)
  await chain.advance(900)
  const before = await usdcOf(accounts.payer.address)
  await endWithdrawal(buyer)
  expect((await usdcOf(accounts.payer.address)) - before).toBe(deposit - buyer.charged)
}

test('the tower claims what a dead seller earned, and leaves the other channel alone', async () => {
  await using tale = await story()
  const { first, second } = tale
  const before = await receiverTotal(first)
  await beginWithdrawal(first)
  // For a quarter of the delay the claim is the seller's.
  await chain.advance(headStartSec - 60)
  expect((await chain.escrow.channel(first.channelId)).totalClaimed).toBe(0n)
  await chain.advance(61)
  await claimed(chain, first.channelId, first.charged)
  expect((await receiverTotal(first)) - before).toBe(first.charged)
  await expectExact(first)
  expect((await chain.escrow.channel(second.channelId)).totalClaimed).toBe(0n)
})

test('a withdrawal that began while the tower was killed is found at its next start', async () => {
  await using tale = await story()
  const { first, second, task } = tale
  await tale.tower.kill()
  await beginWithdrawal(first)
  await beginWithdrawal(second)
  await chain.advance(headStartSec + 1)
  await using again = await startTowerProcess(chain, task)
  expect(Object.keys(await again.held())).toHaveLength(2)
  await claimed(chain, first.channelId, first.charged)
  await claimed(chain, second.channelId, second.charged)
  await expectExact(first)
  expect((await chain.escrow.channel(second.channelId)).totalClaimed).toBe(second.charged)
})

const killedAt = ['tower.claim-chosen', 'outbox.sent', 'tower.claim-sent']
if (process.env['TEST_DEEP'] === '1') killedAt.push('outbox.intended', 'outbox.signed')

test.each(killedAt)('a tower that is killed at %s claims once, when it is back', async (crashAt) => {
  await using tale = await story()
  const { first, second, task } = tale
  await tale.tower.kill()
  await beginWithdrawal(first)
  await beginWithdrawal(second)
  await chain.advance(headStartSec + 1)
  const before = await receiverTotal(first)
  await using dying = await startTowerProcess(chain, { ...task, crashAt }).catch(() => null)
  await dying?.ended
  await using _again = await startTowerProcess(chain, task)
  await claimed(chain, first.channelId, first.charged)
  await claimed(chain, second.channelId, second.charged)
  expect((await receiverTotal(first)) - before).toBe(first.charged + second.charged)
  await expectExact(first)
})

test('a tower that is killed after storing and before saying so has lost nothing', async () => {
  const stack = new AsyncDisposableStack()
  await using _ = stack
  const folder = await mkdtemp(join(tmpdir(), 'openseed-story-'))
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const seller = join(folder, 'seller')
  const running = stack.use(
    await startSellerProcess(chain, engine.url, { folder: seller, key: await freshSellerKey(chain) }),
  )
  const task = { folder: join(folder, 'tower'), key: await freshSellerKey(chain), sellers: [running.url] }
  const code = await towerCode(seller)
  const dying = stack.use(await startTowerProcess(chain, { ...task, code, crashAt: 'tower.stored' }))
  const buyer = await openRawBuyer(chain, running.url, nextIndex++)
  await depositDirectly(buyer, deposit)
  await buyer.chat()
  await dying.ended
  await buyer.chat()
  const again = stack.use(await startTowerProcess(chain, task))
  await all(again, buyer)
})
