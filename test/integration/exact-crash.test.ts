/** kill -9 of a seller at every step of an exact payment, and what its next run and its rows make of it. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { SellerExactState } from '../../src/store/seller-exact-operations.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { ExactPayer } from '../fixtures/exact-payer.ts'
import { randomWord } from '../fixtures/raw-buyer.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey, startSellerProcess } from '../fixtures/seller-process.ts'
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

interface Step {
  crashAt: string
  stream: boolean
  /** what the row says after the next start */
  state: SellerExactState
  /** the engine was asked */
  worked: boolean
}

// Money is taken in `settled` and `served` alone, and `served` alone says that the answer left.
const steps: Step[] = [
  { crashAt: 'seller.exact-reserved', stream: false, state: 'abandoned', worked: false },
  { crashAt: 'seller.engine-called', stream: false, state: 'abandoned', worked: true },
  { crashAt: 'seller.exact-settling', stream: false, state: 'failed', worked: true },
  { crashAt: 'outbox.intended', stream: false, state: 'failed', worked: true },
  { crashAt: 'outbox.signed', stream: false, state: 'settled', worked: true },
  { crashAt: 'seller.exact-settled', stream: false, state: 'settled', worked: true },
  { crashAt: 'outbox.confirmed', stream: true, state: 'settled', worked: true },
  { crashAt: 'seller.first-byte', stream: true, state: 'settled', worked: true },
  { crashAt: 'seller.answered', stream: true, state: 'served', worked: true },
]

test.concurrent.for(steps)('killed at $crashAt, stream: $stream', async (step) => {
  const { crashAt, stream, state, worked } = step
  const folder = await mkdtemp(join(tmpdir(), 'openseed-seller-'))
  await using cleanup = new AsyncDisposableStack()
  cleanup.defer(() => rm(folder, { recursive: true, force: true }))
  const key = await freshSellerKey(chain)
  const doomed = cleanup.use(await startSellerProcess(chain, engine.url, { folder, key, crashAt }))
  const mark = randomWord()
  const calls = () => engine.calls.filter(({ body }) => JSON.stringify(body).includes(mark)).length
  const request = await new ExactPayer(chain, doomed.url).make({ stream, say: `tokens=5 ${mark}` })
  const { from, nonce } = request.authorization
  await new ExactPayer(chain, doomed.url).send(request).catch(() => null)
  expect(await doomed.ended).toEqual([null, 'SIGKILL'])
  expect(calls()).toBe(worked ? 1 : 0)

  const seller = cleanup.use(await openTestSeller(chain, engine.url, { folder, key }))
  const row = () => seller.store.read('exactFind', { payer: from, nonce })
  await vi.waitUntil(async () => (await row())?.state === state, patient)
  const isTaken = state === 'settled' || state === 'served'
  expect(await chain.escrow.authorizationUsed(from, nonce)).toBe(isTaken)
  if (isTaken) {
    const { txHash } = (await row())!
    expect(await chain.rpc.send('eth_getTransactionReceipt', [txHash])).toMatchObject({ status: '0x1' })
  }

  const payer = new ExactPayer(chain, seller.url)
  if (state === 'settled') {
    // Paid, and never answered: sent again it is served, once.
    const owed = await payer.send(request)
    expect([owed.status, owed.settlement?.transaction]).toEqual([200, (await row())!.txHash])
    expect(owed.receipt?.receipt).toMatchObject({ outputTokens: 5, charged: request.amount })
    expect(calls()).toBe(2)
    await vi.waitUntil(async () => (await row())?.state === 'served', patient)
  }
  const runs = calls()
  const again = await payer.send(request)
  // A plain answer is kept for a while.
  expect(state === 'settled' && !stream ? [200] : [402, 409]).toContain(again.status)
  expect(calls()).toBe(runs)
  expect(await chain.escrow.authorizationUsed(from, nonce)).toBe(isTaken)
})
