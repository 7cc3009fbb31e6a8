/**
 * What befalls a buyer, at each step of its work: whoever uses it does nothing but ask again, and in the end its rows,
 * the seller's and the chain agree to the unit. What other files show already is in `coverage.ts`.
 */
import { afterAll, beforeAll, expect, test } from 'vitest'
import { settled } from '../fixtures/buyer.ts'
import { openTestChain, type TestChain } from '../fixtures/chain.ts'
import type { BuyerProcess } from '../fixtures/fault-buyer-process.ts'
import { holdChat, openFaultWorld, resumes, tryChat, type FaultWorld } from '../fixtures/fault-world.ts'
import { startScriptedEngine, type ScriptedEngine } from '../fixtures/scripted-engine.ts'
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
  strike: (process: BuyerProcess, world: FaultWorld) => Promise<unknown>
  lift?: (process: BuyerProcess) => Promise<void>
}

const hourMs = 3_600_000
const clock = (ms: number): Blow => ({
  strike: (process) => process.advance(ms),
  lift: (process) => process.advance(-ms),
})

const blows: Record<Exclude<Fault, 'stale'>, Blow> = {
  kill: { strike: (process) => process.kill() },
  disk: {
    strike: async (process) => process.limitFiles(0),
    lift: async (process) => process.limitFiles(null),
  },
  lost: { strike: async (_, { door }) => door.faults.push({ loseReply: true }) },
  ahead: clock(hourMs),
  behind: clock(-hourMs),
  twin: { strike: (_, world) => expect(world.openBuyer()).rejects.toMatchObject({ code: 'home_locked' }) },
}

// So short that a buyer which forgot something soon knows that it cannot run any more.
const requestTtlSec = 2

/** The request is on its way to the seller when the fault comes. */
async function refundUnder(world: FaultWorld, process: BuyerProcess, strike: () => Promise<unknown>) {
  const { door } = world
  const seen = door.seen.length
  door.faults.push({}, {})
  const done = process.refund()
  await expect.poll(() => door.seen.length, { interval: 1 }).toBeGreaterThan(seen)
  await strike()
  await done
  door.faults.length = 0
}

async function befall({ step, fault }: Cell, world: FaultWorld): Promise<void> {
  if (fault === 'stale') return
  const { strike, lift } = blows[fault]
  const process = await world.buyerProcess()
  if (step !== 'deposit') expect(await tryChat(process.url)).toBe(200)
  const blow = () => strike(process, world)
  if (step === 'refund') await refundUnder(world, process, blow)
  else {
    const held = step === 'engine' || step === 'stream' ? await holdChat(engine, process.url, step) : null
    await blow()
    held?.open()
    await (held?.reply ?? tryChat(process.url, { stream: true }))
  }
  await lift?.(process)
  if (fault !== 'kill') await resumes(process.url)
  await process.kill()
}

/** Killed at a step and copied; the work goes on without the copy, and then the copy is all there is. */
async function forget({ step, crashAt }: Cell, world: FaultWorld): Promise<void> {
  if (step !== 'deposit') {
    await using first = await world.openBuyer({ requestTtlSec })
    expect(await tryChat(first.url)).toBe(200)
    await settled(first)
  }
  const doomed = await world.buyerProcess({ crashAt, requestTtlSec })
  await tryChat(doomed.url)
  expect(await doomed.ended).toEqual([null, 'SIGKILL'])
  const restore = await world.backUp('buyer')
  {
    await using later = await world.openBuyer({ requestTtlSec })
    await resumes(later.url)
    await resumes(later.url)
    await settled(later)
  }
  await restore()
}

test.for(cellsOf('buyer'))('$name', async (cell) => {
  await using world = await openFaultWorld(chain, engine)
  const seller = await world.openSeller()
  await (cell.fault === 'stale' ? forget(cell, world) : befall(cell, world))
  const buyer = await world.openBuyer({ requestTtlSec })
  await resumes(buyer.url)
  await resumes(buyer.url)
  const charged = await world.audit(buyer, seller, cell.fault === 'stale' ? 'some' : 'all')
  expect(charged).toBeGreaterThan(0n)
})
