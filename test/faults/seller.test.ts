/**
 * What befalls a seller, at each step of its work: the buyer in front of it does nothing but ask again, and in the end
 * its rows, the seller's and the chain agree to the unit. What other files show already is in `coverage.ts`.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { settled, type TestBuyer } from '../fixtures/buyer.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import {
  holdChat,
  openFaultWorld,
  resumes,
  tryChat,
  type FaultWorld,
  type TestSeller,
} from '../fixtures/fault-world.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
import type { SellerProcess } from '../fixtures/seller-process.ts'
import { cellsOf, type Cell, type Fault } from './cells.ts'

const parts = new AsyncDisposableStack()
let chain: TestChain
let engine: ScriptedEngine

beforeAll(async () => {
  chain = parts.use(await openTestChain())
  engine = parts.use(await startScriptedEngine())
})
afterAll(() => parts.disposeAsync())

interface Blow {
  strike: (process: SellerProcess, world: FaultWorld) => Promise<unknown>
  /** The seller that is there afterwards; the same one if there is nothing to say. */
  lift?: (process: SellerProcess, world: FaultWorld, buyer: TestBuyer) => Promise<TestSeller | undefined>
}

const hourMs = 3_600_000
const clock = (ms: number): Blow => ({
  strike: (process) => process.advance(ms),
  async lift(process) {
    await process.advance(-ms)
    return undefined
  },
})

const blows: Record<Fault, Blow> = {
  kill: {
    strike: (process) => process.kill(),
    lift: (_, world) => world.openSeller(),
  },
  disk: {
    strike: async (process) => process.limitFiles(0),
    async lift(process) {
      process.limitFiles(null)
      return undefined
    },
  },
  stale: {
    strike: (process) => process.kill(),
    async lift(_, world, buyer) {
      const restore = await world.backUp('seller')
      const forgotten = await world.openSeller()
      await resumes(buyer.url)
      await resumes(buyer.url)
      await settled(buyer)
      await forgotten.close(0)
      await restore()
      return world.openSeller()
    },
  },
  lost: { strike: async (_, { door }) => door.faults.push({ loseReply: true }) },
  ahead: clock(hourMs),
  behind: clock(-hourMs),
  twin: { strike: (_, world) => expect(world.openSeller()).rejects.toMatchObject({ code: 'home_locked' }) },
}

/** What is tried while the fault lasts. It may fail, and says nothing else. */
async function attempt(step: Cell['step'], buyer: TestBuyer, process: SellerProcess): Promise<void> {
  if (step === 'claim') await process.settle()
  else if (step === 'refund') await buyer.refund(buyer.book.all()[0]!.id).catch(() => null)
  else await tryChat(buyer.url, { stream: step === 'idle' })
}

/** The step at which it kills itself. */
async function die(cell: Cell, crashAt: string, world: FaultWorld, buyer: TestBuyer): Promise<SellerProcess> {
  const process = await world.sellerProcess(crashAt)
  const { step, stream = false } = cell
  if (step === 'claim') await resumes(buyer.url)
  if (step === 'claim' || step === 'refund') await attempt(step, buyer, process)
  else for (let alive = true; alive; alive = await lives(process)) await tryChat(buyer.url, { stream })
  expect(await process.ended).toEqual([null, 'SIGKILL'])
  return process
}

const lives = ({ ended }: SellerProcess) =>
  Promise.race([ended.then(() => false), new Promise<boolean>((resolve) => setImmediate(resolve, true))])

/** A channel that is open and was charged. */
async function open(buyer: TestBuyer): Promise<void> {
  expect(await tryChat(buyer.url)).toBe(200)
  await settled(buyer)
}

async function befall(cell: Cell, world: FaultWorld, buyer: TestBuyer): Promise<TestSeller> {
  const { step, crashAt } = cell
  const { strike, lift } = blows[cell.fault]
  let process: SellerProcess
  if (crashAt !== undefined) {
    if (step !== 'deposit') {
      await using first = await world.openSeller()
      await open(buyer)
      await first.close(0)
    }
    process = await die(cell, crashAt, world, buyer)
  } else {
    process = await world.sellerProcess()
    if (step !== 'deposit') await open(buyer)
    const held = step === 'engine' || step === 'stream' ? await holdChat(engine, buyer.url, step) : null
    await strike(process, world)
    held?.open()
    await (held === null ? attempt(step, buyer, process) : held.reply)
  }
  const restarted = await lift?.(process, world, buyer)
  await resumes(buyer.url)
  if (restarted !== undefined) return restarted
  await settled(buyer)
  await process.close()
  return world.openSeller()
}

test.for(cellsOf('seller'))('$name', async (cell) => {
  await using world = await openFaultWorld(chain, engine)
  const buyer = await world.openBuyer()
  const seller = await befall(cell, world, buyer)
  const charged = await world.audit(buyer, seller, cell.fault === 'stale' ? 'some' : 'all')
  expect(charged).toBeGreaterThan(0n)
})
