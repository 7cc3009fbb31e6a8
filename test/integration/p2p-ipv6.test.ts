/** Everything that peers do, over IPv6 alone. */
import { expect, test } from 'vitest'
import { readBody } from '../../src/net/read-body.ts'
import { clientOver, openPeer, openServingPeer } from '../fixtures/p2p-hosts.ts'
import {
  circuitsOf,
  connect,
  openBuyer,
  openHidden,
  openRelay,
  ping,
  placesAt,
} from '../fixtures/p2p-relay.ts'
import { whenReach } from '../fixtures/relayed-peers.ts'

const loopback6 = '/ip6/::1/tcp/0'

test('a seller is met straight at its IPv6 address', async () => {
  await using seller = await openServingPeer((_request, response) => response.end('ok'), {
    listen: [loopback6],
  })
  expect(seller.host.addrs()).toEqual([expect.stringMatching(/^\/ip6\/::1\/tcp\/\d+\/p2p\//)])
  await using buyer = await openPeer()
  await using client = clientOver(buyer, seller.host)
  const { body } = await client.request({
    method: 'GET',
    path: '/',
    signal: AbortSignal.timeout(5_000),
    firstByteTimeoutMs: 5_000,
    idleTimeoutMs: 5_000,
  })
  expect((await readBody(body, 100)).toString()).toBe('ok')
  expect(buyer.pathTo(seller.host.peerId)).toBe('direct')
})

test('a seller that listens nowhere is met over a relay at an IPv6 address', async () => {
  const relay = await openRelay({}, { listen: loopback6 })
  await using _ = relay.host
  await using seller = await openHidden([relay.addr])
  await placesAt(seller, [relay])
  expect(circuitsOf(seller)).toEqual([`${relay.addr}/p2p-circuit/p2p/${seller.peerId}`])
  await using buyer = await openBuyer()
  const socket = await connect(buyer, seller)
  expect(socket.path).toBe('relayed')
  expect(await ping(socket)).toBe('pong')
})

test('a relay tells a host how it is seen, lets itself in, and the host announces that address', async () => {
  const relay = await openRelay({}, { listen: loopback6 })
  await using _ = relay.host
  await using host = await openPeer({ listen: ['/ip6/::/tcp/0'], bootstrap: [relay.addr] })
  await whenReach(host, ({ state, nat }) => state === 'public' && nat === 'none')
  expect(host.reachability().observed).toEqual([expect.stringMatching(/^\[::1\]:\d+$/)])
  expect(host.addrs()).toContainEqual(expect.stringMatching(/^\/ip6\/::1\/tcp\/\d+\/p2p\//))
})

test('a name that has an IPv6 address only is met there', async () => {
  const relay = await openRelay({}, { listen: loopback6 })
  await using _ = relay.host
  const named = relay.addr.replace('/ip6/::1/', '/dns/relay.example/')
  const resolve = async (_name: string, family: 4 | 6) => (family === 6 ? ['::1'] : [])
  await using seller = await openHidden([named], { resolve })
  await placesAt(seller, [{ ...relay, addr: named }])
})
