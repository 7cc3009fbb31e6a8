/** The same over IPv6 alone, where there are no NATs, and firewalls let in only answers. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { areEven } from './books.ts'
import { openTown, type Town, type TownBuyer, type TownSeller } from './town.ts'

const mostUpgradeMs = 4_000

let town: Town
let open: TownSeller
let guarded: TownSeller
let buyer: TownBuyer

beforeAll(async () => {
  town = await openTown(6)
  ;[open, guarded, buyer] = await Promise.all([
    town.addSeller('public6'),
    town.addSeller('firewall6'),
    town.addBuyer('firewall6'),
  ])
  await buyer.start()
})

afterAll(() => town?.[Symbol.asyncDispose]())

test('A seller with a public address is public, and bought from directly.', async () => {
  const { nat, state, addrs, observed } = await open.net()
  const { publicIp } = open.side
  expect({ nat, state }).toEqual({ nat: 'none', state: 'public' })
  expect(addrs).toEqual([expect.stringMatching(`^/ip6/${publicIp}/tcp/8405/p2p/`)])
  for (const seen of observed) expect(seen).toContain(`[${publicIp}]:`)
  const chat = await buyer.chat(open.model, 'tokens=200')
  expect(chat.path).toBe('direct')
  expect(await chat.end).toMatchObject({ words: 200, isComplete: true })
  await areEven(buyer, open)
})

test('Firewalls on both sides are met through by a relay first, and directly after a moment.', async () => {
  const { nat, state, relays } = await guarded.net()
  expect({ nat, state, relays: relays.length }).toEqual({ nat: 'none', state: 'punchable', relays: 2 })
  const ask = async () => {
    const chat = await buyer.chat(guarded.model, 'tokens=200')
    expect(await chat.end).toMatchObject({ words: 200, isComplete: true })
    return chat.path
  }
  const startedMs = performance.now()
  expect(['relayed', 'direct']).toContain(await ask())
  await vi.waitUntil(async () => (await ask()) === 'direct', { timeout: mostUpgradeMs, interval: 100 })
  process.stdout.write(
    `firewall6 -> firewall6: direct after ${(performance.now() - startedMs).toFixed(0)} ms\n`,
  )
  await areEven(buyer, guarded)
})
