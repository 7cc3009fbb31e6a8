/** Single transfers in what an owner is told: among the receipts of both sides, and where the wallet's money is. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { openWriter } from '../../src/store/writer.ts'
import { openBuyerHome, type BuyerHome } from '../fixtures/buyer-home.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, word, type TestChain } from '../fixtures/chain.ts'
import { runCli } from '../fixtures/cli.ts'
import { ExactPayer } from '../fixtures/exact-payer.ts'
import { randomWord } from '../fixtures/raw-buyer.ts'
import { startScriptedEngine } from '../fixtures/scripted-engine.ts'
import { openTestSeller } from '../fixtures/seller.ts'
import { patient } from '../fixtures/patient.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let sellerHome: string
let home: BuyerHome
const paid: { nonce: string; amount: string }[] = []
const lost = { nonce: randomWord(), amount: 30_000n }
const delivered = { nonce: randomWord(), amount: 7_000n }
let untilSec: number

// One market for all: what it left behind is only read.
beforeAll(async () => {
  chain = parts.use(await openTestChain())
  const engine = parts.use(await startScriptedEngine())
  sellerHome = await mkdtemp(join(tmpdir(), 'openseed-transfers-'))
  parts.defer(() => rm(sellerHome, { recursive: true, force: true }))
  {
    await using seller = await openTestSeller(chain, engine.url, {
      folder: join(sellerHome, 'seller', 'local'),
    })
    const payer = new ExactPayer(chain, seller.url)
    for (const stream of [false, true]) {
      const { status, request } = await payer.chat({ stream })
      expect(status).toBe(200)
      const { from, nonce } = request.authorization
      const row = () => seller.store.read('exactFind', { payer: from, nonce })
      await vi.waitUntil(async () => (await row())?.state === 'served', patient)
      paid.push({ nonce, amount: request.amount.toString() })
    }
  }
  home = parts.use(await openBuyerHome(chain, []))
  untilSec = (await chain.escrow.head()).timestampSec + 300
  await using store = await openWriter({
    path: join(home.config.paths.buyer, 'buyer.db'),
    schema: 'buyer',
    onFatal: (error) => {
      throw error
    },
  })
  const row = {
    sellerUrl: 'http://stock.test',
    payTo: accounts.receiver.address,
    validBeforeSec: untilSec,
    model: 'tiny',
    bodyHash: word(2),
    openedAtMs: Date.now(),
    state: 'open' as const,
    charged: 0n,
    outcome: null,
    txHash: null,
    closedAtMs: null,
  }
  await store.run('exactOpen', { ...row, ...delivered })
  const end = { outcome: 'paid', txHash: word(3), closedAtMs: Date.now() - 60_000 }
  await store.run('exactFinal', { nonce: delivered.nonce, charged: delivered.amount, ...end })
  await store.run('exactOpen', { ...row, ...lost })
})
afterAll(() => parts.disposeAsync())

interface Listed {
  nonce: string
  amount: string
  charged: string | null
  state: string
  model: string | null
  unlocksAt: string
}

const listed = async (path: string, ...args: string[]) =>
  (await runCli(path, ['receipts', 'list', '--json', ...args])).json()['transfers'] as Listed[]

test('a seller lists what it was paid by single transfers, with the transaction and the signed receipt', async () => {
  const transfers = await listed(sellerHome)
  expect(transfers.map(({ nonce, amount, charged }) => [nonce, amount, charged])).toEqual(
    paid.toReversed().map(({ nonce, amount }) => [nonce, amount, amount]),
  )
  const [newest] = transfers
  expect(newest).toMatchObject({ role: 'seller', state: 'served', model: 'test-model' })
  expect(newest).toMatchObject({
    txHash: expect.stringMatching(/^0x/),
    receipt: { requestId: newest!.nonce },
  })
  expect(await listed(sellerHome, '--limit', '1')).toEqual([newest])
  expect(await listed(sellerHome, '--buyer', accounts.payer.address)).toHaveLength(2)
  expect(await listed(sellerHome, '--seller', accounts.receiver.address)).toHaveLength(2)
  for (const none of [
    ['--role', 'buyer'],
    ['--model', 'other'],
    ['--until', '7d'],
    ['--since', '2999-01-01'],
  ])
    expect(await listed(sellerHome, ...none)).toEqual([])
})

test('a buyer sees which of its transfers has no outcome, and until when it can be taken', async () => {
  const [open, final] = await listed(home.path)
  expect(open).toMatchObject({ ...lost, amount: '30000', charged: null, state: 'open', outcome: null })
  expect(Date.parse(open!.unlocksAt)).toBe(untilSec * 1000)
  expect(final).toMatchObject({ nonce: delivered.nonce, charged: '7000', state: 'final', outcome: 'paid' })
  const shown = await runCli(home.path, ['receipts', 'show', lost.nonce.slice(0, 14)])
  expect(shown.stdout).toContain('not known yet')
  expect(shown.stdout).toContain(open!.unlocksAt)
  expect((await runCli(home.path, ['receipts'])).stdout).toContain(lost.nonce.slice(0, 12))
})

test('exports hold the transfers too, and what is signed in them is still verified', async () => {
  const file = join(sellerHome, 'receipts.json')
  const { stdout } = await runCli(sellerHome, ['receipts', 'export'])
  const { transfers, receipts } = JSON.parse(stdout) as { transfers: Listed[]; receipts: unknown[] }
  expect([transfers.map(({ nonce }) => nonce), receipts]).toEqual([paid.map(({ nonce }) => nonce), []])
  await writeFile(file, stdout)
  expect((await runCli(home.path, ['receipts', 'verify', file])).code).toBe(0)
  const csv = await runCli(home.path, ['receipts', 'export', '--format', 'csv'])
  expect(csv.stdout).toContain(`,30000,,,${lost.nonce},,,transfer,open,`)
})

test('the wallet shows each open transfer, where it may go and when it is free again', async () => {
  const explain = ['wallet', 'explain', '--rpc-url', chain.url]
  const told = (await runCli(home.path, [...explain, '--json'])).json()
  expect(told).toMatchObject({
    paying: '30000',
    transfers: [
      { nonce: lost.nonce, counterparty: 'http://stock.test', amount: '30000', unlocksAtSec: untilSec },
    ],
    totals: { put: '5000000', yours: '5000000', atHand: '4970000' },
  })
  const { stdout } = await runCli(home.path, explain)
  const until = new Date(untilSec * 1000).toISOString().replace('.000Z', 'Z')
  expect(stdout).toContain(`of $0.03 to http://stock.test: taken, or free again after ${until}`)
  await chain.advance(400)
  expect((await runCli(home.path, [...explain, '--json'])).json()).toMatchObject({
    paying: '0',
    transfers: [],
  })
})
