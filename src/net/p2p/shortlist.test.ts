import { expect, test } from 'vitest'
import { Shortlist, type Contact } from './shortlist.ts'

const at = (far: number, addr = 'somewhere'): Contact => ({
  id: `p${far}`,
  far: BigInt(far),
  addr,
  network: null,
})
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => at(from + index))

function askAll(list: Shortlist): string[] {
  const asked = []
  for (let peer = list.next(); peer !== null; peer = list.next()) asked.push(peer.id)
  return asked
}

test('the nearest are asked first, and none while as many nearer ones may still answer', () => {
  const list = new Shortlist(3)
  list.meet([at(9), at(1), at(5), at(7)])
  expect(askAll(list)).toEqual(['p1', 'p5', 'p7'])
  expect(list.standing()).toEqual({ known: 3, answered: 0, awaited: 2 })
})

test('a peer that failed makes room; one that is late does as well, and is still waited for', () => {
  const list = new Shortlist(2)
  list.meet(range(1, 6))
  expect(askAll(list)).toEqual(['p1', 'p2'])
  list.failed(at(1))
  expect(askAll(list)).toEqual(['p3'])
  list.late(at(2))
  expect(askAll(list)).toEqual(['p4'])
  expect(list.standing()).toEqual({ known: 2, answered: 0, awaited: 1 })
  list.answered(at(3), null, [])
  list.answered(at(2), null, [])
  expect(list.standing()).toEqual({ known: 2, answered: 2, awaited: 0 })
  expect(list.found()).toEqual(['p2', 'p3'])
})

test('who names peers that do not answer is believed after the others', () => {
  const list = new Shortlist(4)
  list.meet([at(1_000), at(2_000)])
  expect(askAll(list)).toEqual(['p1000', 'p2000'])
  list.answered(at(1000), null, range(1, 9))
  list.answered(at(2000), null, range(100, 104))
  // Three of the first one's, and then others, although its own are nearer.
  expect(askAll(list)).toEqual(['p1', 'p2', 'p3', 'p100', 'p4'])
  for (const peer of range(1, 5)) list.late(peer)
  expect(askAll(list)).toEqual(['p101', 'p102', 'p5', 'p6', 'p7', 'p8'])
})

test('whoever answers acquits who named it, and only those that stood for it', () => {
  const list = new Shortlist(8)
  list.meet([at(1_000), at(2_000)])
  askAll(list)
  list.answered(at(1000), null, range(1, 4))
  expect(askAll(list)).toEqual(['p1', 'p2', 'p3'])
  // Too late to stand for those: it earns nothing when they answer.
  list.answered(at(2000), null, [...range(1, 4), ...range(10, 20)])
  list.answered(at(1), null, [])
  expect(askAll(list)).toEqual(['p10', 'p11', 'p12', 'p13', 'p14'])
})

test('of one network a fifth counts, by the address where a peer really is', () => {
  const list = new Shortlist(20)
  const crowd = range(1, 30).map((contact) => ({ ...contact, network: '198.51.100' }))
  list.meet([...crowd, ...range(100, 103)])
  expect(askAll(list)).toEqual(['p1', 'p2', 'p3', 'p4', 'p100', 'p101', 'p102'])
  for (const peer of range(100, 102)) list.answered(peer, '198.51.100', [])
  expect(list.standing()).toEqual({ known: 5, answered: 0, awaited: 4 })
})

test('an answer that names half the world is cut short', () => {
  const list = new Shortlist(2)
  list.meet([at(5_000)])
  askAll(list)
  list.answered(at(5000), null, range(1, 1_000))
  expect(list.standing().known).toBe(2)
  for (let round = 0; round < 10; round++) for (const id of askAll(list)) list.failed(at(Number(id.slice(1))))
  expect(list.found()).toEqual(['p5000'])
})

test('a peer that is not where a liar says is asked where others say it is', () => {
  const list = new Shortlist(4)
  list.meet([at(1_000), at(2_000)])
  askAll(list)
  list.answered(at(1_000), null, [at(1, 'a lie'), at(2, 'a lie')])
  askAll(list)
  list.late(at(1, 'a lie'))
  list.answered(at(2_000), null, [at(1, 'home'), at(2, 'home')])
  expect(list.next()).toMatchObject({ id: 'p1', addr: 'home' })
  list.failed(at(2, 'a lie'))
  expect(list.next()).toMatchObject({ id: 'p2', addr: 'home' })
  // What was asked before may still come, and what it was asked for last is not given up for it.
  list.failed(at(1, 'a lie'))
  list.answered(at(1, 'home'), null, [])
  list.answered(at(2, 'home'), null, [])
  expect(list.standing()).toEqual({ known: 4, answered: 4, awaited: 0 })
  list.late(at(1, 'home'))
  expect(list.found()).toEqual(['p1', 'p2', 'p1000', 'p2000'])
})

test('a peer that is said to be everywhere is looked for at a few places', () => {
  const list = new Shortlist(4)
  list.meet([at(1, 'place 0')])
  for (let place = 1; place < 100; place++) list.meet([at(1, `place ${place}`)], 'liar')
  let asked = 0
  for (let peer = list.next(); peer !== null && asked < 100; peer = list.next()) {
    asked += 1
    list.failed(peer)
  }
  expect(asked).toBe(16)
})

test('who is near and in time is awaited, however many farther ones have answered', () => {
  const list = new Shortlist(6)
  list.meet(range(10, 16))
  askAll(list)
  for (const peer of range(11, 15)) list.answered(peer, null, [])
  expect(list.standing()).toEqual({ known: 6, answered: 4, awaited: 1 })
  list.answered(at(15), null, [at(1)])
  // The farthest is not among the nearest any more.
  expect(list.standing()).toEqual({ known: 6, answered: 4, awaited: 2 })
  for (const peer of [at(10), at(1)]) {
    askAll(list)
    list.late(peer)
  }
  expect(list.standing()).toEqual({ known: 6, answered: 4, awaited: 0 })
})
