/** Transfers that a buyer signed and has no outcome of: what they count as, and how the truth is found. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { silentLog } from '../../src/base/log.ts'
import { ExactBook } from '../../src/buyer/exact-book.ts'
import { Spending } from '../../src/buyer/spending.ts'
import { openWriter } from '../../src/store/writer.ts'
import { curve } from '../../src/wire/curve.ts'
import type { Hex } from '../../src/wire/hex.ts'
import { testCaps } from '../fixtures/buyer.ts'
import { accounts } from '../fixtures/accounts.ts'
import { openTestChain, word, type TestChain } from '../fixtures/chain.ts'
import { take } from '../fixtures/hostile-server.ts'
import { randomWord } from '../fixtures/raw-buyer.ts'

const parts = new AsyncDisposableStack()
const sellerUrl = 'http://seller.test'
const price = 10_000n
let chain: TestChain

beforeAll(async () => {
  chain = parts.use(await openTestChain())
})
afterAll(() => parts.disposeAsync())

interface Desk extends AsyncDisposable {
  folder: string
  book: ExactBook
  spending: Spending
  taken: string[]
  spent: () => bigint
  /** Signs and stores, as for a request that is about to be sent; gives what a seller could put on the chain. */
  open: (validForSec?: number) => Promise<{ nonce: Hex; use: () => Promise<void> }>
}

async function openDesk(folder: string): Promise<Desk> {
  const onFatal = (error: Error) => {
    throw error
  }
  const store = await openWriter({ path: join(folder, 'buyer.db'), schema: 'buyer', onFatal })
  const now = () => Date.now()
  const spending = await Spending.load((since) => store.read('spentSince', since), now())
  const taken: string[] = []
  const book = await ExactBook.load({
    store,
    spending,
    escrow: chain.escrow,
    payer: accounts.payer.address,
    caps: { ...testCaps, maxUnresolved: 25_000n, maxPerDay: 100_000n },
    onTaken: (url) => taken.push(url),
    now,
    log: silentLog,
  })
  return {
    folder,
    book,
    spending,
    taken,
    spent: () => spending.spent(now()),
    async open(validForSec = 300) {
      const { timestampSec } = await chain.escrow.head()
      const { assetName: name, assetVersion: version, chainId, asset } = chain.network
      const authorization = {
        from: accounts.payer.address,
        to: accounts.receiver.address,
        value: price,
        validAfter: 0n,
        validBefore: BigInt(timestampSec + validForSec),
        nonce: randomWord(),
      }
      const { nonce, validBefore, to: payTo } = authorization
      const digest = chain.digests.transferAuthorization({ name, version, chainId, asset }, authorization)
      const signature = curve.sign(digest, accounts.payer.key)
      book.check(sellerUrl, price)
      const row = { nonce, sellerUrl, payTo, amount: price, validBeforeSec: Number(validBefore) }
      await book.open({ ...row, model: 'm', bodyHash: word(1), openedAtMs: now() })
      return { nonce, use: () => take(chain, { authorization, signature }) }
    },
    [Symbol.asyncDispose]: () => store.close(),
  }
}

async function withDesk(story: (desk: Desk, reopen: () => Promise<Desk>) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'openseed-exact-'))
  await using cleanup = new AsyncDisposableStack()
  cleanup.defer(() => rm(folder, { recursive: true, force: true }))
  let desk = await openDesk(folder)
  cleanup.defer(() => desk[Symbol.asyncDispose]())
  await story(desk, async () => {
    await desk[Symbol.asyncDispose]()
    desk = await openDesk(folder)
    return desk
  })
}

test('a refused payment that is never used counts until it has expired, and then costs nothing', () =>
  withDesk(async (desk, reopen) => {
    const { nonce } = await desk.open()
    desk.book.lost(nonce, { refused: true })
    await desk.book.resolve()
    expect(desk.spent()).toBe(price)
    // Also for a run that knows nothing of it but its row.
    const { book, spent, taken } = await reopen()
    expect(spent()).toBe(price)
    await chain.advance(300 + 31)
    await book.resolve()
    expect([spent(), taken]).toEqual([0n, []])
  }))

test('a seller that uses what it refused has taken it, and is remembered for that', () =>
  withDesk(async (desk, reopen) => {
    const { nonce, use } = await desk.open()
    desk.book.lost(nonce, { refused: true })
    await use()
    await desk.book.resolve()
    expect([desk.spent(), desk.taken]).toEqual([price, [sellerUrl]])
    const { book, spent } = await reopen()
    expect([spent(), await book.takers()]).toEqual([price, [sellerUrl]])
  }))

test('a payment whose reply was lost on the way costs what the chain says, and nobody is blamed', () =>
  withDesk(async (desk) => {
    const { nonce, use } = await desk.open()
    desk.book.lost(nonce, { refused: false })
    await use()
    await desk.book.resolve()
    expect([desk.spent(), desk.taken]).toEqual([price, []])
    expect(await desk.book.takers()).toEqual([])
  }))

test('unknown outcomes above the cap stop new signatures for that seller alone', () =>
  withDesk(async (desk) => {
    for (let n = 0; n < 2; n++) desk.book.lost((await desk.open()).nonce, { refused: true })
    await expect(desk.open()).rejects.toThrow(expect.objectContaining({ code: 'money_outcome_unknown' }))
    expect(() => desk.book.check('http://other.test', price)).not.toThrow()
    expect(() => desk.book.check('http://other.test', 90_000n)).toThrow(
      expect.objectContaining({ code: 'budget_exceeded' }),
    )
  }))

test('what runs counts in full, and what was never sent costs nothing', () =>
  withDesk(async (desk) => {
    const first = await desk.open()
    const second = await desk.open()
    expect(desk.spent()).toBe(2n * price)
    await desk.book.unsent(first.nonce)
    await desk.book.paid(second.nonce, null)
    expect(desk.spent()).toBe(price)
  }))
