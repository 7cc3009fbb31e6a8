import { expect, test } from 'vitest'
import type { Reachability } from '../net/p2p/open-host.ts'
import { nodeKey } from '../../test/fixtures/records.ts'
import { netReport, type NetFacts } from './net-report.ts'

const relay = '/ip4/9.9.9.9/tcp/8406/p2p/12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp'

function report(seen: Partial<Reachability>, more: Partial<NetFacts> = {}, peers = 5) {
  const reachability = (): Reachability => ({
    state: 'unknown',
    nat: 'unknown',
    observed: [],
    mapped: null,
    relays: [],
    ...seen,
  })
  const facts = { peer: nodeKey(1).peerId, addrs: [], isOn: true, dht: null, ...more }
  return netReport({ reachability, peerCount: () => peers }, facts)
}

test('who is reached directly has nothing to improve', () => {
  expect(report({ state: 'public', nat: 'none' }).advice).toEqual([])
})

test('who is reached over a relay is told of the port, and of a second relay', () => {
  expect(report({ state: 'punchable', nat: 'cone', relays: [relay, relay] }).advice).toEqual([
    expect.stringContaining('sell.p2p_announce'),
  ])
  expect(report({ state: 'relayed', nat: 'symmetric', relays: [relay] }).advice).toEqual([
    expect.stringContaining('limits speed'),
    expect.stringContaining('another registry'),
  ])
})

test('who nobody reaches is told every way out', () => {
  expect(report({ state: 'unreachable', nat: 'symmetric' }).advice[0]).toMatch(/relays.*--public-url/)
})

test('who knows no DHT server is told so', () => {
  expect(report({ state: 'public' }, {}, 0).advice).toEqual([expect.stringContaining('DHT')])
})

test('in a trial no relay keeps a place, and none is missed', () => {
  expect(report({ state: 'unreachable', nat: 'cone' }, { isTrial: true })).toMatchObject({
    state: 'punchable',
    advice: [expect.any(String)],
  })
  expect(report({ state: 'unreachable', nat: 'symmetric' }, { isTrial: true }).state).toBe('relayed')
})

test('a host that is not up is starting, or switched off', () => {
  const facts = { peer: nodeKey(1).peerId, addrs: [], dht: null }
  expect(netReport(null, { ...facts, isOn: true })).toMatchObject({ state: 'starting', advice: [] })
  expect(netReport(null, null)).toMatchObject({ state: 'off', peer: null, advice: [expect.any(String)] })
})
