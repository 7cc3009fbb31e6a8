/** What a watchtower's owner is told of it: what it holds, whom it hears, what it sees of the chain, and its gas. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { runCli } from '../fixtures/cli.ts'
import { depositDirectly, openRawBuyer } from '../fixtures/raw-buyer.ts'
import { openRpcProxy } from '../fixtures/rpc-proxy.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey } from '../fixtures/seller-process.ts'
import { openTestSeller } from '../fixtures/seller.ts'
import { beginWithdrawal, holds, openTestTower, towerCode } from '../fixtures/tower.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
})
afterAll(() => parts.disposeAsync())

async function openHome(): Promise<{ path: string; tower: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'openseed-status-'))
  const tower = join(path, 'tower', 'local')
  return { path, tower, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

test('a running watchtower says what its claims are worth, whom it heard, its RPCs and its gas', async () => {
  await using home = await openHome()
  await using proxy = await openRpcProxy(chain.url)
  await using seller = await openTestSeller(chain, engine.url, { key: await freshSellerKey(chain) })
  await using tower = await openTestTower(chain, {
    folder: home.tower,
    key: await freshSellerKey(chain),
    sellers: [seller.url],
    code: await towerCode(seller.folder),
    rpcUrls: [chain.url, proxy.url],
    rpcQuorum: 1,
    everyMs: 100,
  })
  const status = async () => (await runCli(home.path, ['watch', 'status', '--json'])).json()
  expect(await status()).toMatchObject({ sellers: [{ claims: 0, value: '0', newestMs: null }] })

  const [quiet, leaving] = [
    await openRawBuyer(chain, seller.url, 1),
    await openRawBuyer(chain, seller.url, 2),
  ]
  await depositDirectly([quiet, leaving], 1_000_000n)
  await quiet.chat()
  await leaving.chat()
  for (const { channelId, charged } of [quiet, leaving]) await holds(tower, channelId, charged)
  const worth = quiet.charged + leaving.charged
  expect(await status()).toMatchObject({
    running: true,
    sellers: [{ seller: seller.url, claims: 2, value: worth.toString(), withdrawing: 0 }],
  })

  // What the seller has claimed itself is no longer at stake, once the tower has looked.
  await seller.settle()
  const before = quiet.charged
  await quiet.chat()
  await beginWithdrawal(leaving)
  await expect
    .poll(async () => (await status())['sellers'], { timeout: 10_000 })
    .toMatchObject([{ claims: 2, value: (quiet.charged - before).toString(), withdrawing: 1 }])
  proxy.mode = 'drop'
  const { number } = await chain.escrow.head()
  await expect
    .poll(async () => (await status())['rpcs'], { timeout: 10_000 })
    .toMatchObject([{ name: new URL(chain.url).host, block: number }, { name: new URL(proxy.url).host }])
  expect(await status()).toMatchObject({
    gas: { wei: String(10n ** 18n) },
    sellers: [{ heardMs: expect.any(Number) as number, newestMs: expect.any(Number) as number }],
  })
  const words = await runCli(home.path, ['watch', 'status'])
  expect(words.code).toBe(0)
  for (const part of [seller.url, String(number), 'ETH, enough for']) expect(words.stdout).toContain(part)
})

test('one that does not run shows what its database holds, and fails', async () => {
  await using home = await openHome()
  const never = await runCli(home.path, ['watch', 'status'])
  expect(never.stdout).toContain('not paired')
  expect(never.code).toBe(1)

  await using seller = await openTestSeller(chain, engine.url, { key: await freshSellerKey(chain) })
  const code = await towerCode(seller.folder)
  const key = await freshSellerKey(chain)
  await using tower = await openTestTower(chain, { folder: home.tower, key, sellers: [seller.url], code })
  const buyer = await openRawBuyer(chain, seller.url, 3)
  await depositDirectly(buyer, 1_000_000n)
  await buyer.chat()
  await holds(tower, buyer.channelId, buyer.charged)
  await tower.close()
  const stopped = await runCli(home.path, ['watch', 'status', '--json'])
  expect(stopped.json()).toMatchObject({
    running: false,
    gas: null,
    sellers: [{ seller: seller.url, claims: 1, value: null, withdrawing: null }],
  })
  expect((await runCli(home.path, ['watch', 'status'])).stdout).toContain('It does not run')
  expect(stopped.code).toBe(1)
})
