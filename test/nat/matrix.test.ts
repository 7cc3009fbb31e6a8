/** Every kind of network on either side, with the real program: who gets through, how, how fast, and for how much. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { gate } from '../fixtures/engine-script.ts'
import { accountsWith, areEven } from './books.ts'
import { natKinds, type NatKind } from './lab.ts'
import { askOpenseed } from './program.ts'
import { openTown, type Town, type TownBuyer, type TownSeller } from './town.ts'

const events = 200
// What was promised of a buyer that has just been started, on two cores with everything on them.
const mostFirstMs = 1_500
const mostUpgradeMs = 4_000

/** How a buyer there comes to a seller there: at once, over a relay first, or over a relay only. */
type Way = 'direct' | 'upgraded' | 'relayed'

const ways: Record<NatKind, Record<NatKind, Way>> = {
  public: { public: 'direct', cone: 'upgraded', symmetric: 'upgraded', double: 'upgraded' },
  cone: { public: 'direct', cone: 'upgraded', symmetric: 'relayed', double: 'upgraded' },
  symmetric: { public: 'direct', cone: 'relayed', symmetric: 'relayed', double: 'relayed' },
  double: { public: 'direct', cone: 'upgraded', symmetric: 'relayed', double: 'upgraded' },
}
const natOf = { public: 'none', cone: 'cone', symmetric: 'symmetric', double: 'cone' } as const
const stateOf = { public: 'public', cone: 'punchable', symmetric: 'relayed', double: 'punchable' } as const
const adviceOf = {
  public: [],
  cone: [expect.stringContaining('To be reached directly at once')],
  symmetric: [expect.stringContaining('limits speed')],
  double: [expect.stringContaining('To be reached directly at once')],
}

let town: Town
const sellers = {} as Record<NatKind, TownSeller>
const buyers = {} as Record<NatKind, TownBuyer>

beforeAll(async () => {
  town = await openTown()
  await Promise.all(
    natKinds.flatMap((kind) => [
      town.addSeller(kind).then((seller) => (sellers[kind] = seller)),
      town.addBuyer(kind).then((buyer) => (buyers[kind] = buyer)),
    ]),
  )
})

afterAll(() => town?.[Symbol.asyncDispose]())

const registryFlags = () => town.registries.flatMap(({ url }) => ['--registry', url])

test.each(natKinds)('The doctor tells a seller in a %s network how it is reached.', async (kind) => {
  const said = await askOpenseed(sellers[kind], ['doctor', 'net'])
  const isPublic = kind === 'public'
  const { publicIp } = sellers[kind].side
  expect(said).toMatchObject({
    running: true,
    nat: natOf[kind],
    state: stateOf[kind],
    advice: adviceOf[kind],
  })
  // A symmetric NAT gives each connection a port of its own.
  expect(ipsOf(said['observed'] as string[])).toEqual([publicIp])
  expect(said['relays']).toHaveLength(isPublic ? 0 : 2)
  const entrance = expect.stringMatching(`^/ip4/${publicIp}/tcp/8405/p2p/`)
  const circuit = expect.stringContaining('/p2p-circuit/p2p/')
  expect(said['addrs']).toEqual(isPublic ? [entrance] : [circuit, circuit])
})

test('The doctor tells each machine how a seller there would be reached, and how many serve the DHT.', async () => {
  const said = await Promise.all(
    natKinds.map((kind) => askOpenseed(buyers[kind], ['doctor', 'net', ...registryFlags()])),
  )
  const registries = town.registries.map(({ url }) => ({ url, answers: true }))
  for (const [at, kind] of natKinds.entries()) {
    expect(said[at]).toMatchObject({ running: false, nat: natOf[kind], state: stateOf[kind], registries })
    // The registries, and the seller that is reached directly. In a public network the answer is there before that is known.
    if (kind !== 'public') expect(said[at]).toMatchObject({ dhtServers: 3 })
  }
})

test('The registries list who is reached directly as such, and the others as relayed.', async () => {
  const { rows } = await askOpenseed(buyers.cone, ['search', '--nodes', ...registryFlags()])
  const reach = new Map((rows as { seller: string; reach: string }[]).map((row) => [row.seller, row.reach]))
  const seen = natKinds.map((kind) => reach.get(sellers[kind].address().slice('openseed://'.length)))
  expect(seen).toEqual(natKinds.map((kind) => (kind === 'public' ? 'direct' : 'relay')))
})

// Over a relay first: that is the longest way for who has just been started.
const fromFar = ['symmetric', 'cone', 'double', 'public'] as const

describe.each(natKinds)('A buyer in a %s network that knows nobody', (kind) => {
  beforeAll(() => buyers[kind].start())

  test.each(fromFar)('buys from a seller in a %s network.', async (other) => {
    const [buyer, seller] = [buyers[kind], sellers[other]]
    const chat = await buyer.chat(seller.model, `tokens=${events}`)
    expect(await chat.end).toMatchObject({ words: events, isComplete: true })
    tell(kind, other, `first event after ${chat.firstMs.toFixed(0)} ms with the deposit, ${chat.path}`)
    const way = ways[kind][other]
    // By the time the deposit has arrived, a better way may have been found.
    expect(way === 'upgraded' ? ['relayed', 'direct'] : [way]).toContain(chat.path)
    expect(chat.firstMs).toBeLessThan(mostFirstMs)
    await areEven(buyer, seller, 'answered')
  })
})

describe.each(natKinds)('A buyer in a %s network that has just been started', (kind) => {
  test.each(fromFar)('loses nothing while the way to a seller in a %s network changes.', async (other) => {
    const [buyer, seller] = [buyers[kind], sellers[other]]
    const way = ways[kind][other]
    await buyer.stop()
    await buyer.start()
    const door = gate()
    seller.engine.next({ tokens: events, pause: { after: events / 2, gate: door } })
    const chat = await buyer.chat(seller.model, 'a long answer')
    // Nothing but this request was sent there since the start, so that it took the first way there was.
    expect(chat.path).toBe(way === 'direct' ? 'direct' : 'relayed')
    expect(await chat.words(events / 2)).toBe(true)
    const startedMs = performance.now()
    const shortChat = async () => {
      const short = await buyer.chat(seller.model, 'tokens=2')
      expect(await short.end).toMatchObject({ words: 2, isComplete: true })
      return short.path
    }
    if (way !== 'relayed')
      await vi.waitUntil(async () => (await shortChat()) === 'direct', { timeout: mostUpgradeMs })
    const upgradeMs = performance.now() - startedMs
    door.open()
    expect(await chat.end).toMatchObject({ words: events, isComplete: true })
    expect(await shortChat()).toBe(way === 'relayed' ? 'relayed' : 'direct')
    const after = way === 'upgraded' ? `, direct ${upgradeMs.toFixed(0)} ms later` : ''
    tell(kind, other, `first event after ${chat.firstMs.toFixed(0)} ms, ${chat.path}${after}`)
    expect(chat.firstMs).toBeLessThan(mostFirstMs)
    await areEven(buyer, seller, 'answered')
  })
})

test('What the sellers claim on chain is what the buyers were charged.', async () => {
  await Promise.all(natKinds.map((kind) => sellers[kind].stop()))
  for (const other of natKinds) {
    const { payTo } = sellers[other]
    const charged = natKinds.flatMap((kind) => accountsWith(buyers[kind], sellers[other]))
    expect(charged).toHaveLength(natKinds.length)
    const sum = charged.reduce((total, account) => total + account.charged, 0n)
    expect(await town.chain.escrow.tokenBalance(payTo)).toBe(sum)
  }
})

function ipsOf(endpoints: readonly string[]): string[] {
  return [...new Set(endpoints.map((endpoint) => endpoint.split(':')[0]!))]
}

function tell(buyer: NatKind, seller: NatKind, what: string): void {
  process.stdout.write(`${buyer} -> ${seller}: ${what}\n`)
}
