/** The stop rule in networks that are played, not run: replies come at times of a virtual clock. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { seeded } from '../../../test/fixtures/seeded.ts'
import { agreeOn, type Claim } from './agreement.ts'
import { Shortlist, type Contact } from './shortlist.ts'
import { walk, type Told } from './walk.ts'

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

const k = 20
const deadlineMs = 3_000

interface World {
  nodes: number
  /** Nearest to the key; they answer at once, with the older record or none, and name each other and their inventions. */
  liars: number
  inventions: number
  lie: 'older' | 'none'
  /** Share of the honest that never answers, and never refuses. */
  silent: number
  /** The slowest honest answer. */
  slowestMs: number
}

interface Outcome {
  rank: number | undefined
  ms: number
  asked: number
}

/** One lookup of a reader that knows three nodes, somewhere in the world. */
async function lookUp(seed: number, world: World, first = false): Promise<Outcome> {
  const random = seeded(seed)
  const place = () => Math.floor(random() * 2 ** 30)
  const key = place()
  const contact = (id: string, at = place()): Contact => ({
    id,
    far: BigInt(at ^ key),
    addr: null,
    network: null,
  })
  const byDistance = (a: Contact, b: Contact) => (a.far < b.far ? -1 : 1)
  const honest = Array.from({ length: world.nodes - world.liars }, (_, at) => contact(`h${at}`))
  const near = (name: string, count: number) =>
    Array.from({ length: count }, (_, at) => contact(`${name}${at}`, key ^ (place() >> 14)))
  const liars = near('l', world.liars)
  const invented = near('x', world.inventions)
  const everyone = [...honest, ...liars].toSorted(byDistance)
  const holders = new Set(everyone.slice(0, k).map(({ id }) => id))
  // Who held the older one until liars took its place among the nearest.
  const outdated = new Set(
    honest
      .toSorted(byDistance)
      .slice(0, k)
      .map(({ id }) => id),
  )
  const isSilent = new Map(honest.map(({ id }) => [id, random() < world.silent]))
  const older: Claim<number> = { answer: 1, identity: 'older', rank: 1 }
  const newest: Claim<number> = { answer: 2, identity: 'newest', rank: 2 }

  /** What is in a Kademlia table: k peers, whichever came first, of each range of distances. */
  const tableOf = (id: string): Contact[] => {
    const self = everyone.find((peer) => peer.id === id) as Contact
    const others = everyone.filter((peer) => peer !== self).map((peer) => ({ peer, order: random() }))
    const ranges = Map.groupBy(
      others.toSorted((a, b) => a.order - b.order),
      ({ peer }) => Math.clz32(Number(peer.far ^ self.far)),
    )
    return [...ranges.values()].flatMap((range) => range.slice(0, k).map(({ peer }) => peer))
  }
  const tell = (id: string): Told<Claim<number> | null> => {
    const lie = world.lie === 'older' ? older : null
    if (id.startsWith('l')) return { answer: lie, named: [...invented, ...liars], network: null }
    const named = tableOf(id).toSorted(byDistance).slice(0, k)
    const held = outdated.has(id) ? older : null
    return { answer: holders.has(id) ? newest : held, named, network: null }
  }
  let asked = 0
  const ask = ({ id }: Contact, signal: AbortSignal) =>
    new Promise<Told<Claim<number> | null>>((resolve, reject) => {
      asked += 1
      signal.addEventListener('abort', () => reject(new Error('ended')))
      if (id.startsWith('x') || isSilent.get(id)) return
      setTimeout(() => resolve(tell(id)), id.startsWith('l') ? 0 : random() * world.slowestMs)
    })
  const list = new Shortlist(k)
  // The reader is somewhere else: it knows nobody near, or it would be too easy.
  list.meet(honest.toSorted(byDistance).slice(-3))
  for (const { id } of honest.toSorted(byDistance).slice(-3)) isSilent.set(id, false)
  const deadline = new AbortController()
  setTimeout(() => deadline.abort(), deadlineMs)
  const beganAtMs = Date.now()
  const heard = walk({ list, width: first ? 3 : 10, ask, signal: deadline.signal })
  const agreed = agreeOn({ heard, standing: () => list.standing() }, { first })
  await vi.advanceTimersByTimeAsync(1)
  let endedAtMs = beganAtMs
  const done = agreed.then((result) => {
    endedAtMs = Date.now()
    return result
  })
  await vi.advanceTimersByTimeAsync(deadlineMs)
  return { rank: (await done)?.answer, ms: endedAtMs - beganAtMs, asked }
}

const world: World = {
  nodes: 300,
  liars: 0,
  inventions: 0,
  lie: 'older',
  silent: 0,
  slowestMs: 300,
}

test('liars that are fewer than two thirds of the nearest never win, however fast they and slow the others are', async () => {
  for (const lie of ['older', 'none'] as const) {
    for (const liars of [5, 9, 13]) {
      for (let seed = 1; seed <= 10; seed++) {
        const { rank } = await lookUp(seed, { ...world, liars, lie, slowestMs: 900 })
        expect(rank, `${liars} liars, ${lie}, seed ${seed}`).toBe(2)
      }
    }
  }
})

test('of the peers one in seven may be dead without a word, and nobody waits for it', async () => {
  const times: number[] = []
  for (let seed = 1; seed <= 20; seed++) {
    const { rank, ms } = await lookUp(seed, { ...world, silent: 0.15 })
    expect(rank).toBe(2)
    times.push(ms)
  }
  expect(times.toSorted((a, b) => a - b)[10]).toBeLessThan(1_500)
})

test('peers that liars invent are asked in vain, and the record is found before the deadline all the same', async () => {
  for (let seed = 1; seed <= 10; seed++) {
    const { rank, ms } = await lookUp(seed, { ...world, liars: 5, inventions: 40 })
    expect(rank, `seed ${seed}`).toBe(2)
    expect(ms).toBeLessThanOrEqual(deadlineMs)
  }
})

test('who takes the first valid answer asks few, and may be given an older one', async () => {
  const quiet = await lookUp(1, world, true)
  expect(quiet).toMatchObject({ rank: 2 })
  expect(quiet.asked).toBeLessThan(20)
  expect(await lookUp(1, { ...world, liars: 5 }, true)).toMatchObject({ rank: 1 })
})

test('of answers that come all at once, none is counted as heard before it was read', async () => {
  const list = new Shortlist(3)
  const ids = ['a', 'b', 'c']
  list.meet(ids.map((id, at) => ({ id, far: BigInt(at), addr: null, network: null })))
  const ask = ({ id }: Contact) => Promise.resolve({ answer: id, named: [], network: null })
  const counts: number[] = []
  for await (const _ of walk({ list, width: 3, ask, signal: new AbortController().signal }))
    counts.push(list.standing().answered)
  expect(counts).toEqual([1, 2, 3])
})

test('a walk ends when nobody is left, and at once when nobody was there', async () => {
  const list = new Shortlist(k)
  const ask = async () => ({ answer: 'x', named: [], network: null })
  const signal = new AbortController().signal
  expect(await Array.fromAsync(walk({ list, width: 3, ask, signal }))).toEqual([])
  list.meet([{ id: 'a', far: 1n, addr: null, network: null }])
  expect(await Array.fromAsync(walk({ list, width: 3, ask, signal }))).toEqual([{ from: 'a', answer: 'x' }])
})

test('who stops listening ends what is under way', async () => {
  const list = new Shortlist(k)
  list.meet([
    { id: 'a', far: 1n, addr: null, network: null },
    { id: 'b', far: 2n, addr: null, network: null },
  ])
  const ended = vi.fn<() => void>()
  const ask = ({ id }: Contact, signal: AbortSignal) =>
    id === 'a'
      ? Promise.resolve({ answer: id, named: [], network: null })
      : new Promise<never>((_, reject) => {
          signal.addEventListener('abort', () => {
            ended()
            reject(new Error('ended'))
          })
        })
  for await (const _ of walk({ list, width: 3, ask, signal: new AbortController().signal })) break
  expect(ended).toHaveBeenCalledOnce()
})
