/** Receipts as evidence: listed, shown, exported, and verified by whoever has nothing but the file. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { newWallet, openTestBuyer, settled } from '../fixtures/buyer.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { runCli } from '../fixtures/cli.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { openTestSeller } from '../fixtures/seller.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine
let buyerHome: string
let sellerHome: string
let stranger: string
let sellerUrl: string

async function tempHome(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'openseed-receipts-'))
  parts.defer(() => rm(path, { recursive: true, force: true }))
  return path
}

// One market for all: what it left behind is only read.
beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
  buyerHome = await tempHome()
  sellerHome = await tempHome()
  stranger = await tempHome()
  await using seller = await openTestSeller(chain, engine.url, {
    folder: join(sellerHome, 'seller', 'local'),
  })
  sellerUrl = seller.url
  await using buyer = await openTestBuyer(chain, [seller.url], {
    keys: await newWallet(chain),
    folder: join(buyerHome, 'buyer', 'local'),
  })
  expect((await buyer.chat()).status).toBe(200)
  expect((await buyer.chat({ stream: true, content: 'tokens=20 cached=3' })).status).toBe(200)
  // Never served: closed at nothing, by a receipt as well.
  expect((await buyer.chat({ content: 'status=500' })).status).toBe(502)
  await Promise.all(Array.from({ length: 4 }, () => buyer.chat({ stream: true })))
  await settled(buyer)
})
afterAll(() => parts.disposeAsync())

interface Listed {
  requestId: string
  charged: string
  chargedUsd: string
  model: string | null
  cumulative: string
}

const listed = async (home: string, ...args: string[]) =>
  (await runCli(home, ['receipts', 'list', '--json', ...args])).json()['receipts'] as Listed[]

async function exported(home: string): Promise<string> {
  const file = join(stranger, `${Math.random()}.json`)
  await writeFile(file, (await runCli(home, ['receipts', 'export'])).stdout)
  return file
}

test('every receipt is listed, with exact amounts; filters leave out the others', async () => {
  const all = await listed(buyerHome)
  expect(all).toHaveLength(7)
  const [newest] = all
  expect(newest!.charged).toMatch(/^[1-9]\d*$/)
  expect(newest!.chargedUsd).toBe(`$0.${newest!.charged.padStart(6, '0')}`)
  expect(await listed(buyerHome, '--model', 'test-model', '--seller', sellerUrl)).toHaveLength(7)
  expect(await listed(buyerHome, '--limit', '2')).toEqual(all.slice(0, 2))
  for (const none of [
    ['--model', 'other'],
    ['--seller', 'https://elsewhere'],
    ['--since', '2999-01-01'],
    ['--until', '7d'],
    ['--role', 'seller'],
  ])
    expect(await listed(buyerHome, ...none)).toEqual([])
  const text = await runCli(buyerHome, ['receipts'])
  expect(text.stdout).toContain(newest!.requestId.slice(0, 12))
  expect((await runCli(buyerHome, ['receipts', '--since', 'yesterday'])).code).toBe(2)
})

test('the seller has the same receipts, by the same names', async () => {
  const [bought, sold] = [await listed(buyerHome), await listed(sellerHome)]
  const byId = (rows: Listed[]) =>
    rows.map(({ requestId, charged, cumulative }) => `${requestId} ${charged} ${cumulative}`).toSorted()
  expect(byId(sold)).toEqual(byId(bought))
  expect(sold.every(({ model }) => model === 'test-model')).toBe(true)
})

test('one receipt is shown in full with its offer, its request and a verdict', async () => {
  const [, , , , , streamed] = await listed(buyerHome)
  const shown = (
    await runCli(buyerHome, ['receipts', 'show', streamed!.requestId.slice(0, 10), '--json'])
  ).json()
  expect(shown).toMatchObject({ verdict: 'valid', faults: [], cachedTokens: 3, outputTokens: 20 })
  expect((await runCli(buyerHome, ['receipts', 'show', 'ffff'])).code).toBe(1)
})

test.each(['buyer', 'seller'])('what a %s exports is verified with the file alone', async (role) => {
  const file = await exported(role === 'buyer' ? buyerHome : sellerHome)
  // A home without anything, and no network that could be asked.
  const run = await runCli(stranger, ['receipts', 'verify', file, '--json'], { OPENSEED_NETWORK: 'base' })
  expect(run.code).toBe(0)
  const verdict = run.json()
  expect(verdict).toMatchObject({ valid: 7, contradicts: 0, forged: 0, channels: [{ missing: '0' }] })
  expect((verdict['receipts'] as { asked: boolean }[]).filter(({ asked }) => asked).length).toBeGreaterThan(5)
  const text = await runCli(stranger, ['receipts', 'verify', file])
  expect(text.stdout).toContain('All 7 receipts are genuine')
})

test('a part of it is verified too, and says what is missing', async () => {
  const run = await runCli(buyerHome, ['receipts', 'export', '--limit', '2'])
  const file = join(stranger, 'part.json')
  await writeFile(file, run.stdout)
  const verdict = await runCli(stranger, ['receipts', 'verify', file, '--json'])
  expect(verdict.code).toBe(0)
  const [channel] = verdict.json()['channels'] as { missing: string }[]
  expect(BigInt(channel!.missing)).toBeGreaterThan(0n)
})

interface ExportedFile {
  channels: { receiver: string }[]
  offers: { details: { quantization?: string; model: string } }[]
  receipts: { receipt: { outputTokens: number; charged: string }; request: { ceiling: string } | null }[]
}

test.each<[string, (file: ExportedFile) => unknown]>([
  ['a charge', ({ receipts }) => (receipts.at(-1)!.receipt.charged = '1')],
  ['a count', ({ receipts }) => (receipts.at(-1)!.receipt.outputTokens -= 1)],
  ['a ceiling', ({ receipts }) => (receipts.at(-1)!.request!.ceiling = '999999')],
  ['a payee', ({ channels }) => (channels[0]!.receiver = `0x${'11'.repeat(20)}`)],
  ['a quantization', ({ offers }) => (offers[0]!.details.quantization = 'fp16')],
  ['a missing offer', (file) => (file.offers = [])],
  ['a receipt twice', ({ receipts }) => receipts.push(receipts[0]!)],
])('a file with %s changed is not genuine', async (_what, change) => {
  const file = await exported(buyerHome)
  const content = JSON.parse(await readFile(file, 'utf8')) as ExportedFile
  change(content)
  await writeFile(file, JSON.stringify(content))
  const run = await runCli(stranger, ['receipts', 'verify', file])
  expect(run.code).toBe(1)
  expect(run.stdout).toContain('NOT GENUINE')
})

test('what is no such file is refused, whatever it is', async () => {
  const file = join(stranger, 'no.json')
  for (const text of ['', '{', '[]', '{"openseed":"evidence/2"}']) {
    await writeFile(file, text)
    expect(await runCli(stranger, ['receipts', 'verify', file, '--json'])).toMatchObject({ code: 1 })
  }
  expect((await runCli(stranger, ['receipts', 'verify', join(stranger, 'nowhere')])).code).toBe(1)
})

test('for a spreadsheet there is one line for each, oldest first, that adds up to the last sum', async () => {
  const { stdout } = await runCli(buyerHome, ['receipts', 'export', '--format', 'csv'])
  const [head, ...lines] = stdout.trimEnd().split('\r\n')
  expect(lines).toHaveLength(7)
  const at = (name: string) => head!.split(',').indexOf(name)
  const amounts = (name: string) => lines.map((line) => BigInt(line.split(',')[at(name)]!))
  const sum = amounts('charged').reduce((total, charged) => total + charged, 0n)
  const highest = amounts('cumulative')
    .toSorted((a, b) => (a < b ? -1 : 1))
    .at(-1)
  expect(sum).toBe(highest)
})
