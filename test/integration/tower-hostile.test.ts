/** What a hostile seller can do to a watchtower, and a hostile watchtower to a seller: next to nothing. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { rowBytes, rowGas } from '../../src/tower/judge-claim.ts'
import { openClaimSender } from '../../src/tower/send-claims.ts'
import { bytesToHex } from '../../src/wire/hex.ts'
import { mostUpdates, type TowerUpdate } from '../../src/wire/tower.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, placeDataOracle, type TestChain } from '../fixtures/chain.ts'
import { makeUpdate, startHostileSeller } from '../fixtures/hostile-seller.ts'
import { openOutboxDatabase, openTempDir } from '../fixtures/outbox-store.ts'
import { depositDirectly, openRawBuyer } from '../fixtures/raw-buyer.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey } from '../fixtures/seller-process.ts'
import { openTestSeller } from '../fixtures/seller.ts'
import { beginWithdrawal, claimed, holds, openTestTower, towerCode } from '../fixtures/tower.ts'
import { patient } from '../fixtures/patient.ts'

const parts = new AsyncDisposableStack()
const anyCode = 'AAAA-AAAA-AAAA-AAAA-AAAA'
let chain: TestChain
let engine: ScriptedEngine

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
})
afterAll(() => parts.disposeAsync())

const idOf = ({ config }: TowerUpdate) => chain.digests.channelId(config)

test('a hostile tower can claim for the seller, what the seller takes, and nothing else', async () => {
  await using seller = await openTestSeller(chain, engine.url, { key: await freshSellerKey(chain) })
  await using tower = await openTestTower(chain, {
    key: await freshSellerKey(chain),
    sellers: [seller.url],
    code: await towerCode(seller.folder),
  })
  const buyer = await openRawBuyer(chain, seller.url, 1)
  await depositDirectly(buyer, 1_000_000n)
  await buyer.chat()
  // The voucher allows more than was charged.
  await holds(tower, buyer.channelId, buyer.charged)
  const { claim, ...held } = tower.book.find(buyer.channelId)!
  expect(held.maxClaimable).toBeGreaterThan(buyer.charged)
  const row = { ...held, signature: held.voucher }
  const { calls } = chain.escrow
  const by = tower.gasAddress
  const tries = [
    calls.claimWithSignature([{ ...row, totalClaimed: held.maxClaimable }], claim),
    calls.claimWithSignature([{ ...row, totalClaimed: held.totalClaimed - 1n }], claim),
    calls.claimWithSignature([row, row], claim),
    calls.claim([row]),
    calls.refundWithSignature(held.config, 1n, 0n, claim),
    calls.refund(held.config, 1n),
    calls.initiateWithdraw(held.config, 1n),
  ]
  for (const call of tries) expect((await chain.escrow.simulate(call, by)).ok).toBe(false)
  // The config says who is paid, and it is part of what was signed.
  const other = { ...held.config, receiver: by }
  const diverted = calls.claimWithSignature([{ ...row, config: other }], claim)
  expect((await chain.escrow.simulate(diverted, by)).ok).toBe(false)

  const honest = calls.claimWithSignature([row], claim)
  await chain.rpc.send('eth_sendTransaction', [{ from: accounts.stranger.address, ...honest }])
  await claimed(chain, buyer.channelId, buyer.charged)
  const settle = calls.settle(held.config.receiver, chain.network.asset)
  await chain.rpc.send('eth_sendTransaction', [{ from: accounts.stranger.address, ...settle }])
  await vi.waitUntil(
    async () => (await chain.escrow.tokenBalance(held.config.receiver)) === buyer.charged,
    patient,
  )
  expect(await chain.escrow.tokenBalance(by)).toBe(0n)
  expect(await chain.escrow.tokenBalance(accounts.stranger.address)).toBe(0n)
})

test('a seller that floods its tower is heard at a walking pace and fills a bounded place', async () => {
  let next = 1_000
  const page = (asked: number) => ({
    updates: Array.from({ length: mostUpdates }, () => makeUpdate(chain, next++, [1n, 2n])),
    cursor: `x.${asked}`,
    more: true,
  })
  await using hostile = await startHostileSeller(chain, page)
  const mostChannels = 150
  await using tower = await openTestTower(chain, {
    key: await freshSellerKey(chain),
    sellers: [hostile.url],
    code: anyCode,
    mostChannels,
  })
  await vi.waitUntil(() => hostile.asked() >= 1, patient)
  const [first, startedMs] = [hostile.asked(), performance.now()]
  await vi.waitUntil(() => hostile.asked() >= first + 8, patient)
  const pages = hostile.asked() - first
  expect(performance.now() - startedMs).toBeGreaterThan((pages - 1) * 95)
  expect(tower.book.ids()).toHaveLength(mostChannels)
})

test('an update from before, a claim that was not signed and a channel of others are not taken', async () => {
  const newest = makeUpdate(chain, 11, [500n, 900n])
  const higher = makeUpdate(chain, 12, [700n, 900n])
  const updates = [
    makeUpdate(chain, 11, [400n, 800n]),
    makeUpdate(chain, 11, [600n, 800n]),
    { ...higher, totalClaimed: 800n },
    { ...higher, voucher: newest.voucher },
    { ...makeUpdate(chain, 13, [900n, 900n]), totalClaimed: 901n },
    makeUpdate(chain, 14, [1n, 2n], { receiver: accounts.stranger.address }),
    makeUpdate(chain, 15, [1n, 2n], { receiverAuthorizer: accounts.stranger.address }),
    makeUpdate(chain, 16, [1n, 2n], { payerAuthorizer: accounts.stranger.address }),
    makeUpdate(chain, 17, [0n, 2n]),
  ]
  const never = new Promise<string>(() => undefined)
  await using hostile = await startHostileSeller(chain, (asked) =>
    asked > 2 ? never : { updates: asked === 1 ? [newest] : updates, cursor: `x.${asked}`, more: false },
  )
  await using tower = await openTestTower(chain, {
    key: await freshSellerKey(chain),
    sellers: [hostile.url],
    code: anyCode,
  })
  await vi.waitUntil(() => hostile.asked() === 3, patient)
  expect(tower.book.ids()).toEqual([idOf(newest)])
  expect(tower.book.find(idOf(newest))).toMatchObject(newest)
})

test('a seller that answers rubbish does not keep its tower from another one', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'openseed-tower-'))
  await using stack = new AsyncDisposableStack()
  stack.defer(() => rm(folder, { recursive: true, force: true }))
  const rubbish = ['', '{', 'null', '{"updates":[{}],"cursor":"x","more":true}', 'x'.repeat(1_000_000)]
  await using hostile = await startHostileSeller(chain, (asked) => rubbish[asked % rubbish.length]!)
  const key = await freshSellerKey(chain)
  const first = await openTestTower(chain, { folder, key, sellers: [hostile.url], code: anyCode })
  await first.close()
  await using seller = await openTestSeller(chain, engine.url, { key: await freshSellerKey(chain) })
  const code = await towerCode(seller.folder)
  await using tower = await openTestTower(chain, { folder, key, sellers: [seller.url], code })
  expect(tower.sellers).toEqual([hostile.url, seller.url])
  const buyer = await openRawBuyer(chain, seller.url, 2)
  await depositDirectly(buyer, 1_000_000n)
  await buyer.chat()
  await holds(tower, buyer.channelId, buyer.charged)
  expect(tower.followings.get(hostile.url)?.cursor()).toBe('')
  expect(hostile.asked()).toBeLessThan(10)
  expect(tower.followings.get(hostile.url)?.heardMs()).toBeNull()
})

test('a channel that holds less than is claimed does not keep the others from being claimed', async () => {
  await using seller = await openTestSeller(chain, engine.url, { key: accounts.receiverAuthorizer.key })
  const buyers = await Promise.all([21, 22, 23].map((index) => openRawBuyer(chain, seller.url, index)))
  await depositDirectly(buyers, 100_000n)
  await seller.abandon()
  for (const buyer of buyers) await beginWithdrawal(buyer)
  const totals = [21_000n, 100_001n, 23_000n]
  const updates = totals.map((total, at) =>
    makeUpdate(chain, 21 + at, [total, 200_000n], { withdrawDelay: 900 }),
  )
  expect(updates.map(idOf)).toEqual(buyers.map(({ channelId }) => channelId))
  await using hostile = await startHostileSeller(chain, (asked) =>
    asked === 1 ? { updates, cursor: 'x.1', more: false } : new Promise<string>(() => undefined),
  )
  await chain.advance(300)
  await using tower = await openTestTower(chain, {
    key: await freshSellerKey(chain),
    sellers: [hostile.url],
    code: anyCode,
  })
  await claimed(chain, buyers[0]!.channelId, totals[0]!)
  await claimed(chain, buyers[2]!.channelId, totals[2]!)
  expect((await chain.escrow.channel(buyers[1]!.channelId)).totalClaimed).toBe(0n)
  expect(tower.book.ids()).toHaveLength(3)
})

test('of many claims in one transaction the bad one is found, and the others arrive', async () => {
  await using seller = await openTestSeller(chain, engine.url, { key: accounts.receiverAuthorizer.key })
  const buyers = await Promise.all(
    [31, 32, 33, 34, 35].map((index) => openRawBuyer(chain, seller.url, index)),
  )
  await depositDirectly(buyers, 100_000n)
  await using stack = new AsyncDisposableStack()
  const dir = stack.use(await openTempDir())
  const database = stack.use(await openOutboxDatabase(dir.path('claims.db')))
  const sender = openClaimSender(chain.escrow, chain.outbox(database), database)
  const rows = buyers.map(({ channelId, config }, at) => {
    const update = makeUpdate(chain, 31 + at, [10n, 20n], { withdrawDelay: config.withdrawDelay })
    const claim = at === 3 ? makeUpdate(chain, 99, [10n, 20n]).claim : update.claim
    return { ...update, claim, channelId, seller: seller.url, atMs: 0 }
  })
  expect(await sender.send(rows)).toEqual([rows[3]])
  const totals = await chain.escrow.channels(buyers.map(({ channelId }) => channelId))
  expect(totals.map(({ totalClaimed }) => totalClaimed)).toEqual([10n, 10n, 10n, 0n, 10n])
})

test('a tower without gas money says so, and claims once it has some', async () => {
  await using seller = await openTestSeller(chain, engine.url, { key: await freshSellerKey(chain) })
  const key = bytesToHex(randomBytes(32))
  const lines: string[] = []
  const log = pino({ level: 'warn' }, { write: (line) => void lines.push(line) })
  const code = await towerCode(seller.folder)
  await using tower = await openTestTower(chain, { key, sellers: [seller.url], code, log })
  const says = (text: string) => vi.waitUntil(() => lines.some((line) => line.includes(text)), patient)
  await says('little to pay gas with')
  const buyer = await openRawBuyer(chain, seller.url, 41)
  await depositDirectly(buyer, 1_000_000n)
  await buyer.chat()
  await holds(tower, buyer.channelId, buyer.charged)
  await seller.abandon()
  await beginWithdrawal(buyer)
  await chain.advance(300)
  await says('gas_insufficient')
  await chain.fund([{ address: tower.gasAddress, eth: 10n ** 16n }])
  await claimed(chain, buyer.channelId, buyer.charged)
})

test.for([
  ['gas', false],
  ['for its bytes', true],
] as const)('dust that would cost more %s than it brings is left', async ([, paysForData]) => {
  await using seller = await openTestSeller(chain, engine.url, { key: await freshSellerKey(chain) })
  const key = await freshSellerKey(chain)
  const code = await towerCode(seller.folder)
  // A coin so dear that only the second buyer's earnings are worth their gas.
  const gas = (await chain.rpc.send('eth_gasPrice')) as string
  const dearCoin = (10n ** 18n * 2_000n) / (BigInt(gas) * BigInt(rowGas))
  const coinPrice = paysForData ? 1_000n : dearCoin
  await placeDataOracle(chain, (10n ** 18n * 2n) / BigInt(rowBytes))
  await using tower = await openTestTower(chain, { key, sellers: [seller.url], code, coinPrice, paysForData })
  const dust = await openRawBuyer(chain, seller.url, paysForData ? 53 : 51)
  const worthy = await openRawBuyer(chain, seller.url, paysForData ? 54 : 52)
  await depositDirectly([dust, worthy], 1_000_000n)
  await dust.chat({ say: 'tokens=1' })
  while (worthy.charged < 20_000n) await worthy.chat({ say: 'tokens=200' })
  for (const buyer of [dust, worthy]) await holds(tower, buyer.channelId, buyer.charged)
  await seller.abandon()
  await beginWithdrawal(dust)
  await beginWithdrawal(worthy)
  await chain.advance(300)
  await claimed(chain, worthy.channelId, worthy.charged)
  expect((await chain.escrow.channel(dust.channelId)).totalClaimed).toBe(0n)
})

test('a claim that the chain gives up is made again', async () => {
  await using seller = await openTestSeller(chain, engine.url, { key: await freshSellerKey(chain) })
  const code = await towerCode(seller.folder)
  const key = await freshSellerKey(chain)
  await using tower = await openTestTower(chain, { key, sellers: [seller.url], code })
  const buyer = await openRawBuyer(chain, seller.url, 61)
  await depositDirectly(buyer, 1_000_000n)
  await buyer.chat()
  await holds(tower, buyer.channelId, buyer.charged)
  await seller.abandon()
  await beginWithdrawal(buyer)
  const before = await chain.rpc.send('evm_snapshot')
  await chain.advance(300)
  await claimed(chain, buyer.channelId, buyer.charged)
  const { number } = await chain.escrow.head()
  await chain.rpc.send('evm_revert', [before])
  expect((await chain.escrow.channel(buyer.channelId)).totalClaimed).toBe(0n)
  while ((await chain.escrow.head()).number <= number) await chain.advance(301)
  await claimed(chain, buyer.channelId, buyer.charged)
})
