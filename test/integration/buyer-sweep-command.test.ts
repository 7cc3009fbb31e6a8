/** `openseed channels sweep` and `openseed wallet explain` as commands: what they say, and that they add up. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { explainWallet, type WalletExplained } from '../../src/node/wallet-explain.ts'
import { withdrawChannel } from '../../src/node/channel-tools.ts'
import { openTestBuyer, settled } from '../fixtures/buyer.ts'
import { openBuyerHome, type BuyerHome } from '../fixtures/buyer-home.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { runCli } from '../fixtures/cli.ts'
import { openRpcProxy } from '../fixtures/rpc-proxy.ts'
import { gate, startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { openSellerProxy } from '../fixtures/seller-proxy.ts'
import { openTestSeller } from '../fixtures/seller.ts'
import { patient } from '../fixtures/patient.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine
let seller: Awaited<ReturnType<typeof openTestSeller>>

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
  seller = parts.use(await openTestSeller(chain, engine.url))
})
afterAll(() => parts.disposeAsync())

const started = 5_000_000n
const explain = (home: BuyerHome, rpcUrl = chain.url) =>
  explainWallet(home.configWith({ rpcUrls: [rpcUrl] }), Date.now(), home.io.signal)

function openBuyer(home: BuyerHome) {
  return openTestBuyer(chain, [seller.url], { keys: home.keys, folder: home.config.paths.buyer })
}

async function payOnce(home: BuyerHome) {
  await using buyer = await openBuyer(home)
  expect((await buyer.chat()).status).toBe(200)
  await settled(buyer)
  const { id, ledger } = buyer.book.all()[0]!
  return { id, spent: ledger.charged }
}

/** Every place there is, added up one by one. */
function places({ usdc, channels }: WalletExplained): bigint {
  return channels.reduce(
    (sum, { free, held, unresolved, refunding, withdrawing }) =>
      sum + free + held + unresolved + refunding + withdrawing,
    usdc ?? 0n,
  )
}

test('what is explained adds up to what was put in less what was spent, whatever runs', async () => {
  await using home = await openBuyerHome(chain, [seller.url])
  const before = await explain(home)
  expect(before).toMatchObject({ source: 'chain', usdc: started, channels: [], wei: 10n ** 17n })
  {
    await using buyer = await openBuyer(home)
    expect((await buyer.chat()).status).toBe(200)
    await settled(buyer)
    // The chain's word on the deposit is booked after the reply.
    await vi.waitUntil(async () => (await explain(home)).channels[0]!.deposit === null, patient)
    const { charged, balance } = buyer.book.all()[0]!.ledger
    const quiet = await explain(home)
    expect(quiet.totals).toEqual({
      put: started,
      spent: charged,
      yours: started - charged,
      atHand: quiet.usdc,
    })
    expect(places(quiet)).toBe(started - charged)
    expect(quiet.channels[0]).toMatchObject({
      balance,
      free: balance - charged,
      held: 0n,
      refundable: balance - charged,
    })

    // One request runs: its ceiling is neither spent nor free.
    const door = gate()
    engine.next({ pause: { after: 'headers', gate: door } })
    const called = engine.nextCall()
    const reply = buyer.chat()
    await called
    const busy = await explain(home)
    expect(busy.channels[0]!.held).toBeGreaterThan(0n)
    expect(busy.channels[0]!.unresolved).toBe(0n)
    expect(busy.channels[0]!.refundable).toBe(0n)
    expect(busy.channels[0]!.exposure).toBeGreaterThanOrEqual(busy.channels[0]!.held)
    expect(places(busy)).toBe(started - charged)
    door.open()
    expect((await reply).status).toBe(200)
    await settled(buyer)
  }
  const spent = (await explain(home)).totals!.spent
  const { id } = (await explain(home)).channels[0]!
  const begun = await withdrawChannel(home.config, id, home.io, { finalize: false })
  const leaving = await explain(home)
  expect(leaving.channels[0]).toMatchObject({
    state: 'withdrawing',
    free: 0n,
    unlocksAtSec: begun.unlocksAtSec,
  })
  expect(leaving.channels[0]!.withdrawing).toBe(leaving.channels[0]!.balance - leaving.channels[0]!.spent)
  expect(places(leaving)).toBe(started - spent)
})

test('a deposit on its way is promised, not lost: it is waited for, and back when it can no longer be used', async () => {
  await using alone = await openTestChain()
  await using elsewhere = await openTestSeller(alone, engine.url)
  await using proxy = await openSellerProxy(elsewhere.url)
  await using home = await openBuyerHome(alone, [])
  {
    await using buyer = await openTestBuyer(alone, [proxy.url], {
      keys: home.keys,
      folder: home.config.paths.buyer,
    })
    proxy.faults.push({ refuse: 503 })
    expect((await buyer.chat()).status).toBe(502)
    expect(buyer.book.all()[0]!.deposit).not.toBeNull()
  }
  const promised = await explain(home, alone.url)
  expect(promised.depositing).toBeGreaterThan(0n)
  expect(promised.totals).toEqual({
    put: started,
    spent: 0n,
    yours: started,
    atHand: started - promised.depositing,
  })
  expect(promised.channels[0]!.deposit).toMatchObject({ amount: promised.depositing, arrived: false })

  const sweep = ['channels', 'sweep', '--rpc-url', alone.url, '--yes', '--json']
  const variables = { OPENSEED_PASSWORD: 'pass' }
  const early = (await runCli(home.path, sweep, variables)).json()
  expect(early).toMatchObject({ channels: [{ kind: 'waiting' }] })
  await alone.advance(700)
  expect((await runCli(home.path, sweep, variables)).json()).toMatchObject({ channels: [] })
  expect(await explain(home, alone.url)).toMatchObject({ depositing: 0n, usdc: started })
})

test('without an RPC it tells what was seen last and how old that is, corrected by what the database knows since', async () => {
  await using home = await openBuyerHome(chain, [seller.url])
  await using proxy = await openRpcProxy(chain.url)
  proxy.mode = 'drop'
  const never = await explain(home, proxy.url)
  expect(never).toMatchObject({ source: 'memory', seenAtMs: null, usdc: null, totals: null })
  await explain(home)
  // Paid after the chain was looked at: the deposit moved from the wallet into the channel.
  await payOnce(home)
  const remembered = await explain(home, proxy.url)
  const now = await explain(home)
  expect(remembered).toMatchObject({ source: 'memory', usdc: now.usdc, totals: now.totals })
  expect(remembered.seenAtMs).toBeLessThanOrEqual(Date.now())

  const said = await runCli(home.path, ['wallet', 'explain', '--rpc-url', proxy.url])
  expect(said.stdout).toContain('No RPC answers: this is from memory, the chain as seen 0 min ago')
  expect(said.code).toBe(0)
})

test('the command says where the money is in words and in JSON', async () => {
  await using home = await openBuyerHome(chain, [seller.url])
  await payOnce(home)
  const args = ['wallet', 'explain', '--rpc-url', chain.url]
  const words = await runCli(home.path, args)
  expect(words.stdout).toContain(`${seller.url}: free`)
  expect(words.stdout).toContain('put in')
  expect(words.stdout).toContain('Gas: 0.100000 ETH')
  const { totals } = (await runCli(home.path, [...args, '--json'])).json() as {
    totals: Record<string, string>
  }
  expect(BigInt(totals['yours']!) + BigInt(totals['spent']!)).toBe(started)
})

test('the command shows its plan, moves nothing without a yes, and answers with one JSON value', async () => {
  await using home = await openBuyerHome(chain, [seller.url])
  const { id, spent } = await payOnce(home)
  const args = ['channels', 'sweep', '--seller', seller.url, '--rpc-url', chain.url]
  const variables = { OPENSEED_PASSWORD: 'pass' }
  const asked = await runCli(home.path, args, variables)
  expect(asked.code).toBe(2)
  expect(asked.stderr).toContain('ask the seller')
  const refused = (await runCli(home.path, [...args, '--json'], variables)).json()
  expect(refused).toMatchObject({
    error: { code: 'confirmation_needed', details: { channels: [{ id, step: { kind: 'refund' } }] } },
  })
  expect((await chain.escrow.channel(id)).balance).toBeGreaterThan(spent)
  const done = await runCli(home.path, [...args, '--yes', '--json'], variables)
  expect(done.json()).toMatchObject({ channels: [{ id, kind: 'refunded' }], historyMissing: null })
  expect(done.code).toBe(0)
  const empty = await runCli(home.path, [...args, '--yes'], variables)
  expect(empty.stdout).toContain('Nothing is left in channels.')
  expect(await chain.escrow.tokenBalance(home.wallet)).toBe(5_000_000n - spent)
})
