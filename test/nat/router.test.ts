/** Routers that open ports when they are asked make a seller public. */
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { Side } from './lab.ts'
import { startRouterDaemon, type RouterDaemon } from './router-daemon.ts'
import { openTown, type Town } from './town.ts'

const mostMappingMs = 20_000

let town: Town

beforeAll(async () => {
  town = await openTown()
})

afterAll(() => town?.[Symbol.asyncDispose]())

test.each(['upnp', 'nat-pmp'] as const)(
  'A seller behind a router that speaks %s is bought from directly, and leaves no mapping behind.',
  async (speaks) => {
    let router: RouterDaemon | undefined
    const prepare = async (side: Side) => {
      router = await startRouterDaemon(side, speaks)
    }
    const [seller, buyer] = await Promise.all([
      town.addSeller('cone', { prepare }),
      town.addBuyer('symmetric'),
    ])
    await using daemon = router!
    await vi.waitUntil(async () => (await seller.net()).state === 'public', { timeout: mostMappingMs })
    const { nat, mapped, addrs, peer, advice } = await seller.net()
    const entrance = `/ip4/${seller.side.publicIp}/tcp/8405/p2p/${peer}`
    expect({ nat, mapped, addrs, advice }).toEqual({
      nat: 'cone',
      mapped: entrance,
      addrs: [entrance],
      advice: [],
    })
    expect(await daemon.mappings()).toHaveLength(1)
    await buyer.start()
    const chat = await buyer.chat(seller.model, 'tokens=20')
    expect(chat.path).toBe('direct')
    expect(await chat.end).toMatchObject({ words: 20, isComplete: true })
    await seller.stop()
    expect(await daemon.mappings()).toEqual([])
  },
)
