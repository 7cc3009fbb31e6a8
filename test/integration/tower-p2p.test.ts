/** A watchtower follows a seller that nobody can dial, and over the command line. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { main } from '../../src/cli/run.ts'
import { openKeystore, towerKeyNames } from '../../src/node/keystore.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { openPeerSeller, startRelay } from '../fixtures/p2p-market.ts'
import { depositDirectly, openRawBuyer } from '../fixtures/raw-buyer.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey } from '../fixtures/seller-process.ts'
import { beginWithdrawal, claimed, holds, openTestTower, towerCode } from '../fixtures/tower.ts'
import { patient } from '../fixtures/patient.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
})
afterAll(() => parts.disposeAsync())

test('a tower pairs with a seller behind a relay, follows it, and saves its money', async () => {
  await using relay = await startRelay(chain)
  await using seller = await openPeerSeller(chain, engine.url, [relay.url])
  await vi.waitUntil(
    async () => (await relay.client.sellers())?.listings.some(({ record }) => record.body.addrs.length > 0),
    patient,
  )
  await using tower = await openTestTower(chain, {
    key: await freshSellerKey(chain),
    sellers: [seller.address],
    code: await towerCode(seller.folder),
    p2p: { registries: [relay.url], bootstrap: [], punch: false, allowPrivate: true },
  })
  const buyer = await openRawBuyer(chain, seller.url, 1)
  await depositDirectly(buyer, 1_000_000n)
  await buyer.chat()
  await holds(tower, buyer.channelId, buyer.charged)
  await seller.abandon()
  await beginWithdrawal(buyer)
  await chain.advance(226)
  await claimed(chain, buyer.channelId, buyer.charged)
  expect((await chain.escrow.channel(buyer.channelId)).totalClaimed).toBe(buyer.charged)
})

test('openseed watch makes a key that pays gas only, pairs, and goes on by itself the next time', async () => {
  await using relay = await startRelay(chain)
  await using seller = await openPeerSeller(chain, engine.url, [relay.url])
  const home = await mkdtemp(join(tmpdir(), 'openseed-watch-'))
  await using stack = new AsyncDisposableStack()
  stack.defer(() => rm(home, { recursive: true, force: true }))
  const watch = async (...args: string[]) => {
    const stop = new AbortController()
    const stdout = Object.assign(new PassThrough(), { isTTY: false })
    const said = Promise.withResolvers<Record<string, unknown>>()
    stdout.on('data', (chunk: Buffer) => said.resolve(JSON.parse(String(chunk)) as Record<string, unknown>))
    const stdin = Object.assign(new PassThrough(), { isTTY: false })
    stdin.end()
    const ended = main(['--json', 'watch', '--rpc-url', chain.url, ...args], {
      stdin,
      stdout,
      stderr: Object.assign(new PassThrough(), { isTTY: false }),
      variables: { OPENSEED_HOME: home, OPENSEED_NETWORK: 'local', OPENSEED_PASSWORD: 'open' },
      signal: stop.signal,
    })
    const facts = await said.promise
    stop.abort()
    return { facts, code: await ended }
  }
  const code = await towerCode(seller.folder)
  const { facts } = await watch('--seller', seller.url, '--code', code)
  expect(facts).toMatchObject({ sellers: [seller.url], network: 'local' })
  expect((await watch()).facts).toEqual(facts)
  // Nothing in it can sign for a payer or a seller.
  expect(await openKeystore(join(home, 'keystore')).addresses()).toEqual({})
  const keystore = openKeystore(join(home, 'keystore'), { names: towerKeyNames })
  expect(Object.keys(await keystore.addresses())).toEqual(['tower'])
})
