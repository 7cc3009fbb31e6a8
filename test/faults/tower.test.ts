/** What befalls a watchtower while it keeps a seller's claims: what it holds afterwards is what the seller earned. */
import { execFileSync } from 'node:child_process'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import { depositDirectly, openRawBuyer, type RawBuyer } from '../fixtures/raw-buyer.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import { freshSellerKey } from '../fixtures/seller-process.ts'
import { openTestSeller } from '../fixtures/seller.ts'
import {
  beginWithdrawal,
  claimed,
  endWithdrawal,
  holds,
  openTestTower,
  towerCode,
} from '../fixtures/tower.ts'
import { startTowerProcess, type TowerTask } from '../fixtures/tower-process.ts'
import { patient } from '../fixtures/patient.ts'

const parts = new AsyncDisposableStack()
const headStartSec = 225
let chain: TestChain
let engine: ScriptedEngine
let seller: Awaited<ReturnType<typeof openTestSeller>>
let nextIndex = 1

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
  seller = parts.use(await openTestSeller(chain, engine.url, { key: await freshSellerKey(chain) }))
})
afterAll(() => parts.disposeAsync())

type Task = Omit<TowerTask, 'chain'>

/** A folder for a tower that is not paired yet, and a buyer that was charged once. */
async function story({ url, folder } = seller): Promise<
  AsyncDisposable & { path: string; task: Task; buyer: RawBuyer }
> {
  const path = await mkdtemp(join(tmpdir(), 'openseed-fault-'))
  const buyer = await openRawBuyer(chain, url, nextIndex++)
  await depositDirectly(buyer, 100_000n)
  await buyer.chat()
  const code = await towerCode(folder)
  const task = { folder: join(path, 'tower'), key: await freshSellerKey(chain), sellers: [url], code }
  return { path, task, buyer, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

const paired = (task: Task): Task => ({ ...task, code: undefined })

/** The seller's own claims do not come: the tower's time has. */
async function expectSaved(buyer: RawBuyer): Promise<void> {
  const amount = buyer.charged
  await beginWithdrawal(buyer)
  await chain.advance(headStartSec + 1)
  await claimed(chain, buyer.channelId, amount)
  await chain.advance(901)
  await endWithdrawal(buyer)
  expect(await chain.escrow.channel(buyer.channelId)).toMatchObject({ balance: amount, totalClaimed: amount })
}

test.skipIf(process.platform !== 'linux')(
  'with its disk full it holds what it held, and takes the rest when there is space',
  async () => {
    await using tale = await story()
    const { task, buyer } = tale
    await using tower = await startTowerProcess(chain, task)
    const heldIs = (amount: bigint) =>
      vi.waitUntil(async () => (await tower.held())[buyer.channelId] === String(amount), patient)
    await heldIs(buyer.charged)
    const limit = (bytes: string) =>
      void execFileSync('prlimit', ['--pid', String(tower.pid), `--fsize=${bytes}:`])
    limit('0')
    await buyer.chat()
    await buyer.chat()
    limit('unlimited')
    await buyer.chat()
    await heldIs(buyer.charged)
  },
)

test('from an old copy of its disk it takes again what it forgot', async () => {
  await using tale = await story()
  const { task, buyer, path } = tale
  {
    await using tower = await openTestTower(chain, task)
    await holds(tower, buyer.channelId, buyer.charged)
  }
  await cp(task.folder, join(path, 'copy'), {
    recursive: true,
    filter: (file) => !file.endsWith('.sock'),
  })
  {
    await using later = await openTestTower(chain, paired(task))
    await buyer.chat()
    await holds(later, buyer.channelId, buyer.charged)
  }
  await rm(task.folder, { recursive: true })
  await cp(join(path, 'copy'), task.folder, { recursive: true })
  await using restored = await openTestTower(chain, paired(task))
  await holds(restored, buyer.channelId, buyer.charged)
})

test.each([3_600_000, -3_600_000])(
  'with its clock wrong by %i ms it saves what it holds, and hears the seller again when it is right',
  async (wrongMs) => {
    await using own = await openTestSeller(chain, engine.url, { key: await freshSellerKey(chain) })
    await using tale = await story(own)
    const { task, buyer } = tale
    let aheadMs = 0
    await using tower = await openTestTower(chain, { ...task, now: () => Date.now() + aheadMs })
    await holds(tower, buyer.channelId, buyer.charged)
    const other = await openRawBuyer(chain, own.url, nextIndex++)
    await depositDirectly(other, 100_000n)
    aheadMs = wrongMs
    await other.chat()
    aheadMs = 0
    await holds(tower, other.channelId, other.charged)
    await own.close(0)
    aheadMs = wrongMs
    await expectSaved(buyer)
  },
)

test('a second one in its home is refused, and the first goes on', async () => {
  await using tale = await story()
  const { task, buyer } = tale
  await using tower = await openTestTower(chain, task)
  await expect(openTestTower(chain, paired(task))).rejects.toMatchObject({ code: 'home_locked' })
  await buyer.chat()
  await holds(tower, buyer.channelId, buyer.charged)
})
