/** Who a seller is: a payout wallet that signs elsewhere, a new node key, and how it is reached. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Wallet } from 'ethers'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { openWalletCheck } from '../../src/chain/contract-wallet.ts'
import type { AnnounceOptions } from '../../src/node/announcing.ts'
import type { BindingToSign } from '../../src/node/bind-wallet.ts'
import { openNodeKey } from '../../src/node/identity.ts'
import type { SellerNodeOptions } from '../../src/node/seller-node.ts'
import type { Address, Hex } from '../../src/wire/hex.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { runCli } from '../fixtures/cli.ts'
import { listening, startRelay } from '../fixtures/p2p-market.ts'
import { startRegistry } from '../fixtures/registry.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey } from '../fixtures/seller-process.ts'
import { openTestSeller } from '../fixtures/seller.ts'
import { patient } from '../fixtures/patient.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
})
afterAll(() => parts.disposeAsync())

async function openHome() {
  const path = await mkdtemp(join(tmpdir(), 'openseed-home-'))
  return {
    path,
    seller: join(path, 'seller', 'local'),
    run: (...args: string[]) => runCli(path, args),
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  }
}

const openRegistry = () =>
  startRegistry({ network: chain.network, isValidSignature: openWalletCheck(chain.rpc) })

async function openSeller(
  folder: string,
  registries: readonly string[],
  {
    announce,
    ...more
  }: Omit<Partial<SellerNodeOptions>, 'announce'> & { announce?: Partial<AnnounceOptions> } = {},
) {
  const payToKey = accounts.receiver.key
  return openTestSeller(chain, engine.url, {
    folder,
    key: await freshSellerKey(chain),
    announce: { registries, publicUrl: null, region: null, hardware: null, payToKey, ...announce },
    ...more,
  })
}

const cold = Wallet.createRandom()
const coldAddress = cold.address.toLowerCase() as Address
const bind = (payTo: string, ...more: string[]) => [
  'wallet',
  'bind',
  '--pay-to',
  payTo,
  '--rpc-url',
  chain.url,
  ...more,
  '--json',
]
/** What a wallet elsewhere does with the printed JSON. */
const signedBy = async (wallet: Pick<Wallet, 'signTypedData'>, { typedData }: BindingToSign) =>
  (await wallet.signTypedData(
    typedData.domain,
    { PeerBinding: typedData.types.PeerBinding },
    typedData.message,
  )) as Hex

test('a payout wallet whose key is elsewhere signs what is printed, and the seller is announced with it', async () => {
  await using home = await openHome()
  await using registry = await openRegistry()
  const start = () =>
    openSeller(home.seller, [registry.url], { payTo: coldAddress, announce: { payToKey: null } })
  await expect(start()).rejects.toMatchObject({ code: 'binding_missing' })

  const wanted = (await home.run(...bind(cold.address))).json() as unknown as BindingToSign
  expect(wanted).toMatchObject({ payTo: cold.address, peer: openNodeKey(home.seller).peerId })
  const signature = await signedBy(cold, wanted)
  // As some hardware wallets end it.
  const ledgerLike = signature.slice(0, -2) + (signature.endsWith('1b') ? '00' : '01')
  const file = join(home.path, 'signed.json')
  await writeFile(file, JSON.stringify({ signature: ledgerLike }))
  const imported = await home.run(...bind(cold.address, '--import', file))
  expect(imported.json()).toEqual({ peer: wanted.peer, payTo: cold.address, untilSec: wanted.untilSec })

  await using seller = await start()
  const { peer } = seller.net()
  const listing = await vi.waitUntil(() => registry.client.seller(peer!), patient)
  expect(listing.binding).toMatchObject({ payTo: coldAddress, signature })
})

test('what another wallet signed is refused, and what was never printed as well', async () => {
  await using home = await openHome()
  const early = await home.run(...bind(cold.address, '--import', `0x${'11'.repeat(65)}`))
  expect(early.json()).toMatchObject({ error: { code: 'invalid_request', hint: expect.any(String) } })
  const wanted = (await home.run(...bind(cold.address))).json() as unknown as BindingToSign
  const stranger = await signedBy(Wallet.createRandom(), wanted)
  const refused = await home.run(...bind(cold.address, '--import', stranger))
  expect(refused.json()).toMatchObject({ error: { code: 'invalid_signature' } })
  expect((await home.run('identity', '--json')).json()).toMatchObject({ identities: [{ binding: null }] })
})

test('a wallet that is a contract vouches by what its contract says', async () => {
  await using home = await openHome()
  await using registry = await openRegistry()
  const contract: Address = `0x${'c0'.repeat(20)}`
  const signature = `0x${'ab'.repeat(130)}`
  const importIt = () => home.run(...bind(contract, '--import', signature))
  await home.run(...bind(contract))
  expect((await importIt()).json()).toMatchObject({ error: { code: 'invalid_signature' } })

  // Returns ERC-1271's magic value for whatever it is asked.
  const code = `0x7f1626ba7e${'00'.repeat(28)}5f5260205ff3`
  await chain.rpc.send('anvil_setCode', [contract, code])
  expect((await importIt()).code).toBe(0)
  await using seller = await openSeller(home.seller, [registry.url], {
    payTo: contract,
    announce: { payToKey: null },
  })
  const { peer } = seller.net()
  await vi.waitUntil(() => registry.client.seller(peer!), patient)
})

test('a wallet of this home needs no signature from elsewhere', async () => {
  await using home = await openHome()
  const answer = await home.run('wallet', 'bind', '--json')
  expect(answer.json()).toMatchObject({ error: { code: 'invalid_request' } })
})

test('a new node key: not while the seller runs; then the old name leaves and the new one is vouched for', async () => {
  await using home = await openHome()
  await using registry = await openRegistry()
  const rotate = () => home.run('identity', 'rotate', '--registry', registry.url, '--yes', '--json')
  const listed = async (peer: string) => registry.client.seller(peer)
  const first = await openSeller(home.seller, [registry.url])
  const before = first.net().peer!
  const old = await vi.waitUntil(() => listed(before), patient)
  expect((await rotate()).json()).toMatchObject({ error: { code: 'home_locked' } })
  // Without a goodbye: the registry has it as live.
  await first.abandon()
  expect((await listed(before))?.state).toBe('live')

  expect((await rotate()).json()).toMatchObject({ before, told: [registry.url], now: { binding: null } })
  expect(await listed(before)).toBeNull()
  await using second = await openSeller(home.seller, [registry.url])
  const after = second.net().peer!
  expect(after).not.toBe(before)
  const listing = await vi.waitUntil(() => listed(after), patient)
  expect(listing.binding.seq).toBeGreaterThan(old.binding.seq)
  const { identities } = (await home.run('identity', 'show', '--json')).json()
  expect(identities).toEqual([
    {
      role: 'seller',
      peer: after,
      folder: home.seller,
      binding: { payTo: expect.stringMatching(/^0x/) as string, untilSec: listing.binding.notAfterSec },
    },
  ])
})

test('a home whose key is announced from elsewhere notices at its next heartbeat', async () => {
  await using home = await openHome()
  await using registry = await openRegistry()
  const warnings: string[] = []
  const log = { error: (_: unknown, text: string) => warnings.push(text) }
  const silent = { debug() {}, info() {}, warn() {}, child: () => silent, ...log }
  const beatEveryMs = () => 50
  await using first = await openSeller(home.seller, [registry.url], {
    announce: { beatEveryMs },
    log: silent as unknown as SellerNodeOptions['log'],
  })
  const peer = first.net().peer!
  await vi.waitUntil(() => registry.client.seller(peer), patient)
  await using other = await openHome()
  const { seed } = openNodeKey(home.seller)
  openNodeKey(other.seller)
  await writeFile(join(other.seller, 'node.key'), seed)
  await using second = await openSeller(other.seller, [registry.url], { announce: { takeOver: true } })
  await vi.waitUntil(() => warnings.some((text) => text.includes('not announced any more')), patient)
  expect((await fetch(`${first.url}/openseed/v1/record`)).status).toBe(404)
  expect((await registry.client.seller(peer))?.record.body.url).toBe(second.url)
})

test('the doctor says how the running seller is reached, and without one what a new node saw', async () => {
  await using home = await openHome()
  await using relay = await startRelay(chain)
  const args = ['doctor', 'net', '--registry', relay.url, '--json']
  const look = async () => runCli(home.path, args, { OPENSEED_SELL_P2P_LISTEN: listening.join() })
  const p2p = { listen: listening, announce: [], bootstrap: [], portMapping: false, punch: false, lan: false }
  {
    await using seller = await openSeller(home.seller, [relay.url], {
      announce: { p2p, allowPrivate: true },
    })
    await vi.waitUntil(() => seller.net().state === 'public', patient)
    expect((await look()).json()).toMatchObject({
      running: true,
      state: 'public',
      nat: 'none',
      addrs: seller.net().addrs,
      advice: [],
    })
  }
  expect((await look()).json()).toMatchObject({
    running: false,
    state: 'public',
    registries: [{ url: relay.url, answers: true }],
  })
  const text = await runCli(home.path, args.slice(0, -1), { OPENSEED_SELL_P2P_LISTEN: 'none' })
  expect(text.stdout).toMatch(/peer-to-peer is off[\s\S]*not running/)
})
