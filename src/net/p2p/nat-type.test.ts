import { expect, test } from 'vitest'
import { bestSighting, natOf, stateOf, type Sighting } from './nat-type.ts'

const own = new Set(['127.0.0.1', '192.168.1.2'])
const outside = '44.1.1.1'

function sighting(witness: string, port: number, { ip = outside, localPort = 20_000 } = {}): Sighting {
  return { witness, localPort, seenAs: { ip, port } }
}

test('Nothing is known until somebody has answered.', () => {
  expect(natOf([], own)).toBe('unknown')
  expect(bestSighting([])).toBeNull()
})

test('There is no NAT where others see one of our own addresses.', () => {
  expect(natOf([sighting('a', 20_000, { ip: '192.168.1.2' })], own)).toBe('none')
  expect(natOf([sighting('a', 20_001, { ip: '192.168.1.2' })], own)).not.toBe('none')
})

test('A NAT that shows two witnesses the same port is a cone, whether or not the port is ours.', () => {
  expect(natOf([sighting('a', 20_000), sighting('b', 20_000)], own)).toBe('cone')
  expect(natOf([sighting('a', 41_000), sighting('b', 41_000)], own)).toBe('cone')
})

test('A NAT that shows each witness another port is symmetric.', () => {
  expect(natOf([sighting('a', 41_000), sighting('b', 41_001)], own)).toBe('symmetric')
  expect(natOf([sighting('a', 20_000), sighting('b', 41_001)], own)).toBe('symmetric')
})

test('So is one that uses another address for each.', () => {
  expect(natOf([sighting('a', 20_000), sighting('b', 20_000, { ip: '44.1.1.2' })], own)).toBe('symmetric')
})

test('One witness is believed when the port came through as it was.', () => {
  expect(natOf([sighting('a', 20_000)], own)).toBe('cone')
  expect(natOf([sighting('a', 41_000)], own)).toBe('unknown')
})

test('Two answers from one address are one witness, and connections from two ports say nothing of each other.', () => {
  expect(natOf([sighting('a', 41_000), sighting('a', 41_000)], own)).toBe('unknown')
  expect(natOf([sighting('a', 41_000), sighting('b', 41_001, { localPort: 20_001 })], own)).toBe('unknown')
})

test('One liar does not change what two others agree on.', () => {
  const truth = [sighting('a', 20_000), sighting('b', 20_000)]
  const lie = sighting('c', 80, { ip: '44.9.9.9' })
  expect(natOf([lie, ...truth], own)).toBe('cone')
  expect(bestSighting([lie, ...truth])?.seenAs).toEqual({ ip: outside, port: 20_000 })
})

test('What is seen over IPv6 says nothing of the NAT that IPv4 goes through, and counts where there is no IPv4.', () => {
  const ipv6 = sighting('c', 20_000, { ip: '2001:db8::1' })
  const dual = [sighting('a', 41_000), ipv6, sighting('b', 41_000)]
  expect(natOf(dual, new Set(['2001:db8::1']))).toBe('cone')
  expect(bestSighting([ipv6, ...dual])?.seenAs).toEqual({ ip: outside, port: 41_000 })
  expect(natOf([ipv6], new Set(['2001:db8::1']))).toBe('none')
})

test.each([
  [{ isPublic: true, listens: true, nat: 'cone', relays: 0 }, 'public'],
  [{ isPublic: false, listens: true, nat: 'cone', relays: 2 }, 'punchable'],
  [{ isPublic: false, listens: true, nat: 'none', relays: 1 }, 'punchable'],
  [{ isPublic: false, listens: true, nat: 'symmetric', relays: 2 }, 'relayed'],
  [{ isPublic: false, listens: true, nat: 'unknown', relays: 2 }, 'relayed'],
  [{ isPublic: false, listens: true, nat: 'cone', relays: 0 }, 'unreachable'],
  [{ isPublic: false, listens: true, nat: 'unknown', relays: 0 }, 'unknown'],
  [{ isPublic: false, listens: false, nat: 'cone', relays: 0 }, 'punchable'],
  [{ isPublic: false, listens: false, nat: 'symmetric', relays: 0 }, 'relayed'],
] as const)('%j is %s.', (facts, state) => {
  expect(stateOf(facts)).toBe(state)
})
