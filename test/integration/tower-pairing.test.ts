/** How a watchtower and a seller come together, stay together, and part. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { callControl } from '../../src/node/control.ts'
import { openNodeKey } from '../../src/node/identity.ts'
import { parseTowerViews } from '../../src/node/seller-towers.ts'
import { openSellerClient } from '../../src/net/seller-client.ts'
import type { TowerView } from '../../src/seller/tower-desk.ts'
import { openSellerSource } from '../../src/tower/seller-source.ts'
import { encodePairRequest, normalCode, towerAuthorization } from '../../src/wire/tower-auth.ts'
import { parseTowerPairing, towerPairPath, towerUpdatesPath } from '../../src/wire/tower.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { runCli } from '../fixtures/cli.ts'
import { depositDirectly, openRawBuyer } from '../fixtures/raw-buyer.ts'
import { call, type RawReply } from '../fixtures/raw-http.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey } from '../fixtures/seller-process.ts'
import { openTestSeller } from '../fixtures/seller.ts'
import { beginWithdrawal, claimed, holds, openTestTower, towerCode } from '../fixtures/tower.ts'
import { patient } from '../fixtures/patient.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine
let nextIndex = 1

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
})
afterAll(() => parts.disposeAsync())

const openSeller = async (more: Parameters<typeof openTestSeller>[2] = {}) =>
  openTestSeller(chain, engine.url, { key: await freshSellerKey(chain), ...more })

const tower = async (seller: string, code?: string, folder?: string) =>
  openTestTower(chain, {
    key: await freshSellerKey(chain),
    sellers: [seller],
    code,
    ...(folder !== undefined && { folder }),
  })

const pairBy = (url: string, folder: string, code: string): Promise<RawReply> => {
  const body = JSON.stringify(encodePairRequest(openNodeKey(folder), normalCode(code), 'test'))
  return call(url + towerPairPath, { body: Buffer.from(body) })
}

async function towersOf({ folder }: { folder: string }): Promise<TowerView[]> {
  const answer = await callControl(folder, 'towers', {}, AbortSignal.timeout(10_000))
  return parseTowerViews(answer?.value)
}

async function openFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'openseed-tower-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

test('a wrong code pairs nobody, and the right one works after it', async () => {
  await using seller = await openSeller()
  await expect(tower(seller.url, 'AAAA-AAAA-AAAA-AAAA-AAAA')).rejects.toMatchObject({
    code: 'pairing_refused',
  })
  const code = await towerCode(seller.folder)
  await expect(tower(seller.url, 'BBBB-BBBB-BBBB-BBBB-BBBB')).rejects.toMatchObject({
    code: 'pairing_refused',
  })
  await using paired = await tower(seller.url, code.toLowerCase().replaceAll('-', ' '))
  expect(paired.sellers).toEqual([seller.url])
})

test('a code is good for one tower, which may repeat it when the answer was lost', async () => {
  await using seller = await openSeller()
  const code = await towerCode(seller.folder)
  await using first = await openFolder()
  await using second = await openFolder()
  const answer = await pairBy(seller.url, first.path, code)
  expect(answer.status).toBe(200)
  expect((await pairBy(seller.url, second.path, code)).code).toBe('pairing_refused')
  expect((await pairBy(seller.url, first.path, code)).json()).toEqual(answer.json())
  expect(await towersOf(seller)).toHaveLength(1)
})

test('of two towers that bring one code at once, one is paired', async () => {
  await using seller = await openSeller()
  const code = await towerCode(seller.folder)
  await using first = await openFolder()
  await using second = await openFolder()
  const answers = await Promise.all([first, second].map(({ path }) => pairBy(seller.url, path, code)))
  expect(answers.map(({ status }) => String(status)).toSorted()).toEqual(['200', '403'])
})

test('a code runs out after ten minutes, and when a new one is made', async () => {
  let aheadMs = 0
  await using seller = await openSeller({ now: () => Date.now() + aheadMs })
  await using folder = await openFolder()
  const replaced = await towerCode(seller.folder)
  const code = await towerCode(seller.folder)
  expect((await pairBy(seller.url, folder.path, replaced)).code).toBe('pairing_refused')
  aheadMs = 10 * 60_000 + 1_000
  expect((await pairBy(seller.url, folder.path, code)).code).toBe('pairing_refused')
})

test('a pairing that its node key has not signed is refused', async () => {
  await using seller = await openSeller()
  await using folder = await openFolder()
  const code = normalCode(await towerCode(seller.folder))
  const honest = encodePairRequest(openNodeKey(folder.path), code, 'test')
  const body = Buffer.from(JSON.stringify({ ...honest, name: 'another' }))
  expect((await call(seller.url + towerPairPath, { body })).code).toBe('invalid_signature')
})

test('a seller is not met over http on another machine', async () => {
  await expect(tower('http://seller.example', 'AAAA-AAAA-AAAA-AAAA-AAAA')).rejects.toMatchObject({
    code: 'config_invalid',
  })
})

test('without a code nobody is paired', async () => {
  await using seller = await openSeller()
  await expect(tower(seller.url)).rejects.toMatchObject({ code: 'usage' })
})

test('a question is answered once, to the tower that was paired, and for this seller alone', async () => {
  await using seller = await openSeller()
  await using other = await openSeller()
  await using folder = await openFolder()
  const key = openNodeKey(folder.path)
  const pair = async (one: { url: string; folder: string }) =>
    parseTowerPairing((await pairBy(one.url, folder.path, await towerCode(one.folder))).json())
  const pairing = await pair(seller)
  await pair(other)
  const buyer = await openRawBuyer(chain, seller.url, nextIndex++)
  await depositDirectly(buyer, 1_000_000n)
  await buyer.chat()
  const authorization = towerAuthorization(key, pairing, { atMs: Date.now(), since: '' })
  const ask = (url: string, more: Record<string, string>, since = '') =>
    call(`${url}${towerUpdatesPath}?since=${since}`, { method: 'GET', headers: more })
  const told = await ask(seller.url, { authorization })
  expect(told.json()).toMatchObject({ updates: [{ totalClaimed: String(buyer.charged) }] })
  expect((await ask(seller.url, { authorization })).code).toBe('invalid_signature')
  const later = towerAuthorization(key, pairing, { atMs: Date.now() + 1, since: '' })
  expect((await ask(other.url, { authorization: later })).code).toBe('invalid_signature')
  expect((await ask(seller.url, { authorization: later }, 'abc.1')).code).toBe('invalid_signature')
  const old = towerAuthorization(key, pairing, { atMs: Date.now() - 400_000, since: '' })
  expect((await ask(seller.url, { authorization: old })).code).toBe('clock_skewed')
  await using stranger = await openFolder()
  const foreign = towerAuthorization(openNodeKey(stranger.path), pairing, { atMs: Date.now(), since: '' })
  expect((await ask(seller.url, { authorization: foreign })).code).toBe('tower_unknown')
  expect((await ask(seller.url, {})).code).toBe('invalid_message')
})

test('a tower whose clock was ahead is heard as soon as it is right', async () => {
  await using seller = await openSeller()
  await using folder = await openFolder()
  const buyer = await openRawBuyer(chain, seller.url, nextIndex++)
  await depositDirectly(buyer, 1_000_000n)
  await buyer.chat()
  let aheadMs = 0
  const client = openSellerClient({ url: seller.url, connectTimeoutMs: 10_000 })
  const source = openSellerSource(client, openNodeKey(folder.path), () => Date.now() + aheadMs)
  const { signal } = new AbortController()
  const pairing = await source.pair(await towerCode(seller.folder), signal)
  const ask = () => source.updates(pairing, '', signal)
  expect((await ask()).updates).toHaveLength(1)
  aheadMs = 3_600_000
  await expect(ask()).rejects.toMatchObject({ code: 'clock_skewed' })
  aheadMs = 0
  expect((await ask()).updates).toHaveLength(1)
  await client.close()
})

test('the seller knows who follows and who is behind, also after a restart', async () => {
  const key = await freshSellerKey(chain)
  await using folder = await openFolder()
  const first = await openSeller({ key, folder: folder.path })
  const port = Number(new URL(first.url).port)
  await using follower = await tower(first.url, await towerCode(folder.path))
  const buyer = await openRawBuyer(chain, first.url, nextIndex++)
  await depositDirectly(buyer, 1_000_000n)
  await buyer.chat()
  await holds(follower, buyer.channelId, buyer.charged)
  await vi.waitUntil(async () => (await towersOf(first))[0]?.behind === 0, patient)
  const startedMs = performance.now()
  await first.abandon()
  // A tower that waits for news does not hold it up.
  expect(performance.now() - startedMs).toBeLessThan(15_000)
  await using again = await openSeller({
    key,
    folder: folder.path,
    listen: { host: '127.0.0.1', port },
  })
  expect(await towersOf(again)).toMatchObject([{ peer: follower.peer, lastHeardMs: null, behind: 1 }])
  await vi.waitUntil(async () => (await towersOf(again))[0]?.behind === 0, patient)
  await buyer.chat()
  await holds(follower, buyer.channelId, buyer.charged)
})

test('a tower that was let go is told nothing more', async () => {
  await using seller = await openSeller()
  await using follower = await tower(seller.url, await towerCode(seller.folder))
  const following = follower.followings.get(seller.url)!
  const buyer = await openRawBuyer(chain, seller.url, nextIndex++)
  await depositDirectly(buyer, 1_000_000n)
  await buyer.chat()
  await holds(follower, buyer.channelId, buyer.charged)
  const { charged } = buyer
  const params = { peer: follower.peer }
  const gone = await callControl(seller.folder, 'removeTower', params, AbortSignal.timeout(10_000))
  expect(gone?.value).toEqual({ removed: true })
  const cursor = following.cursor()
  await buyer.chat()
  const ask = { atMs: Date.now() + 1_000, since: '' }
  const pairing = parseTowerPairing({
    network: chain.network.caip2,
    escrow: chain.network.escrow,
    asset: chain.network.asset,
    payTo: buyer.terms.payTo,
    receiverAuthorizer: buyer.terms.receiverAuthorizer,
  })
  const authorization = towerAuthorization(openNodeKey(follower.folder), pairing, ask)
  const answer = await call(`${seller.url}${towerUpdatesPath}?since=`, {
    method: 'GET',
    headers: { authorization },
  })
  expect(answer.code).toBe('tower_unknown')
  expect(following.cursor()).toBe(cursor)
  expect(follower.book.find(buyer.channelId)?.totalClaimed).toBe(charged)
})

test('two towers of one seller do each other no harm', async () => {
  await using seller = await openSeller()
  await using one = await tower(seller.url, await towerCode(seller.folder))
  await using two = await tower(seller.url, await towerCode(seller.folder))
  const buyer = await openRawBuyer(chain, seller.url, nextIndex++)
  await depositDirectly(buyer, 1_000_000n)
  await buyer.chat()
  await holds(one, buyer.channelId, buyer.charged)
  await holds(two, buyer.channelId, buyer.charged)
  await seller.abandon()
  const total = async () =>
    (await chain.escrow.receiver(buyer.config.receiver, chain.network.asset)).totalClaimed
  const before = await total()
  await beginWithdrawal(buyer)
  await chain.advance(226)
  await claimed(chain, buyer.channelId, buyer.charged)
  const spent = async (address: `0x${string}`) => 10n ** 18n - (await chain.escrow.nativeBalance(address))
  await vi.waitUntil(async () => (await spent(one.gasAddress)) + (await spent(two.gasAddress)) > 0n, patient)
  await one.close()
  await two.close()
  expect((await total()) - before).toBe(buyer.charged)
})

test('the owner makes a code, lists the towers and lets one go from the command line', async () => {
  await using home = await openFolder()
  await using seller = await openSeller({ folder: join(home.path, 'seller', 'local') })
  const made = (await runCli(home.path, ['--json', 'watchers', 'code'])).json()
  await using follower = await tower(seller.url, String(made['code']))
  const listed = await runCli(home.path, ['watchers'])
  expect(listed.stdout).toContain(follower.peer)
  expect((await runCli(home.path, ['watchers', 'remove', follower.peer])).code).toBe(0)
  expect((await runCli(home.path, ['--json', 'watchers'])).json()).toEqual({ towers: [] })
  await seller.close(0)
  expect((await runCli(home.path, ['watchers', 'code'])).stderr).toContain(
    'No seller of this home is running',
  )
})
