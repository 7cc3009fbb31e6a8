/** What breaks while an answer is under way: who knows it, how soon, what goes on afterwards, and what is owed. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { gate } from '../fixtures/engine-script.ts'
import { areEven } from './books.ts'
import type { Chat, ChatEnd } from './chat.ts'
import { openTown, type Town, type TownBuyer, type TownSeller } from './town.ts'

const mostSilenceMs = 5_000
// Twice of what was promised: the machine is busy with all the others.
const mostHeldMs = 2_000
const mostReturnMs = 15_000
const mostDirectMs = 20_000

let town: Town
let far: TownSeller
let near: TownSeller
let stray: TownBuyer
let settled: TownBuyer

beforeAll(async () => {
  town = await openTown()
  ;[far, near, stray, settled] = await Promise.all([
    town.addSeller('cone'),
    town.addSeller('public'),
    town.addBuyer('symmetric'),
    town.addBuyer('cone'),
  ])
  await Promise.all([stray.start(), settled.start()])
})

afterAll(() => town?.[Symbol.asyncDispose]())

test('A cable that is cut under a direct answer is noticed within five seconds, and nothing is owed wrongly.', async () => {
  const open = await halfAnAnswer(settled, near, 'direct')
  await settled.side.cable.cut()
  const { silenceMs } = await brokenEnd(open, "the seller's connection went silent")
  await settled.side.cable.mend()
  const returnMs = await goesOn(settled, near)
  tell('cable cut, direct', silenceMs, returnMs)
  await areEven(settled, near)
})

test('So is one that is cut between the relay and the seller.', async () => {
  const open = await halfAnAnswer(stray, far, 'relayed')
  await far.side.cable.cut()
  const { silenceMs } = await brokenEnd(open, "the seller's connection went silent")
  await far.side.cable.mend()
  const returnMs = await goesOn(stray, far)
  tell('cable cut, relayed', silenceMs, returnMs)
  await areEven(stray, far)
})

test('A relay that dies breaks at once what it passes on; the next request takes another one, and a relay that is back holds its place again.', async () => {
  const [first, second] = town.registries
  await second!.kill()
  await vi.waitUntil(async () => (await far.net()).relays.length === 1, { timeout: 10_000 })
  const open = await halfAnAnswer(stray, far, 'relayed')
  await second!.start()
  const startedMs = performance.now()
  await vi.waitUntil(async () => (await far.net()).relays.length === 2, { timeout: 10_000 })
  const heldMs = performance.now() - startedMs
  expect(heldMs).toBeLessThan(mostHeldMs)
  await first!.kill()
  const { silenceMs } = await brokenEnd(open)
  const returnMs = await goesOn(stray, far)
  tell(`relay dies (the other one was held again after ${heldMs.toFixed(0)} ms)`, silenceMs, returnMs)
  await first!.start()
  await vi.waitUntil(async () => (await far.net()).relays.length === 2, { timeout: 10_000 })
  await areEven(stray, far)
})

test('A seller that dies and comes back is bought from again, and both know the same of what it delivered.', async () => {
  const open = await halfAnAnswer(settled, near, 'direct')
  await near.kill()
  const { silenceMs } = await brokenEnd(open)
  await near.start()
  const returnMs = await goesOn(settled, near)
  tell('seller dies', silenceMs, returnMs)
  await areEven(settled, near)
})

test('A buyer that is carried into another network goes on from there.', async () => {
  const open = await halfAnAnswer(stray, far, 'relayed')
  stray.side = await town.lab.move(stray.side, 'double')
  const startedMs = performance.now()
  const [{ silenceMs }, returnMs] = await Promise.all([brokenEnd(open), goesOn(stray, far)])
  await vi.waitUntil(async () => (await shortChat(stray, far)).path === 'direct', {
    timeout: mostDirectMs,
    interval: 500,
  })
  const directMs = performance.now() - startedMs
  tell(`buyer moves (direct after ${directMs.toFixed(0)} ms)`, silenceMs, returnMs)
  await areEven(stray, far)
})

/** Has had half of its words, and gets no more; the way it came is the one that is said. */
async function halfAnAnswer(buyer: TownBuyer, seller: TownSeller, path: string): Promise<Chat> {
  await goesOn(buyer, seller)
  // Never opened: the engine has nothing more to say, so that silence means nothing.
  seller.engine.next({ tokens: 200, pause: { after: 100, gate: gate() } })
  const chat = await buyer.chat(seller.model, 'a long answer')
  expect(chat.path).toBe(path)
  expect(await chat.words(100)).toBe(true)
  return chat
}

async function brokenEnd(chat: Chat, why = ''): Promise<ChatEnd> {
  const startedMs = performance.now()
  const end = await chat.end
  const silenceMs = performance.now() - startedMs
  const error = {
    code: 'seller_stream_broken',
    message: expect.stringMatching(`broke off its answer.*${why}`),
  }
  expect(end).toMatchObject({ words: 100, isComplete: false, error })
  expect(silenceMs).toBeLessThan(mostSilenceMs)
  return { ...end, silenceMs }
}

async function shortChat(buyer: TownBuyer, seller: TownSeller): Promise<Chat> {
  const chat = await buyer.chat(seller.model, 'tokens=2')
  expect(await chat.end).toMatchObject({ words: 2, isComplete: true })
  return chat
}

/** How long it takes until a request is answered, however often it is asked. */
async function goesOn(buyer: TownBuyer, seller: TownSeller): Promise<number> {
  const startedMs = performance.now()
  const isAnswered = () =>
    shortChat(buyer, seller).then(
      () => true,
      () => false,
    )
  await vi.waitUntil(isAnswered, { timeout: mostReturnMs, interval: 200 })
  return performance.now() - startedMs
}

function tell(what: string, silenceMs: number, returnMs: number): void {
  process.stdout.write(
    `${what}: seen after ${silenceMs.toFixed(0)} ms, answered again after ${returnMs.toFixed(0)} ms\n`,
  )
}
