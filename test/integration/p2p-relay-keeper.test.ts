import { expect, test } from 'vitest'
import type { Host } from '../../src/net/p2p/open-host.ts'
import { freshKey } from '../fixtures/dht-network.ts'
import {
  circuitsOf,
  connect,
  openBuyer,
  openHidden,
  openRelay,
  ping,
  placesAt,
  returned,
  stopRelay,
} from '../fixtures/p2p-relay.ts'

async function pingOnce(seller: Host): Promise<string> {
  await using buyer = await openBuyer()
  return await ping(await connect(buyer, seller))
}

test('a seller has its place back as soon as its relay has returned', async () => {
  const relay = await openRelay()
  await using seller = await openHidden([relay.addr])
  await placesAt(seller, [relay])
  let changes = 0
  seller.onReachability(() => {
    changes += 1
  })
  await stopRelay(relay)
  await placesAt(seller, [])
  const back = await returned(relay)
  await using _ = back.host
  await placesAt(seller, [back])
  expect(changes).toBe(2)
  expect(await pingOnce(seller)).toBe('pong')
})

test('a relay that is down does not keep a seller from starting, and gets its place when it is there', async () => {
  const relay = await openRelay()
  await stopRelay(relay)
  await using seller = await openHidden([relay.addr])
  expect(circuitsOf(seller)).toEqual([])
  const back = await returned(relay)
  await using _ = back.host
  await placesAt(seller, [back])
  expect(await pingOnce(seller)).toBe('pong')
})

test('a peer that was no relay when it was asked becomes one later', async () => {
  const plain = await openHidden([], { listen: ['/ip4/127.0.0.1/tcp/0'], server: true })
  const addr = plain.addrs()[0] as string
  const port = addr.split('/p2p/')[0] as string
  await using seller = await openHidden([addr])
  await seller.joined(1, AbortSignal.timeout(5_000))
  await plain[Symbol.asyncDispose]()
  const relay = await openRelay({}, { listen: port })
  await using _ = relay.host
  seller.useRelays([relay.addr])
  await placesAt(seller, [relay])
})

test('a seller is at two relays, and when one of them dies it is met over the other', async () => {
  const [one, other] = await Promise.all([openRelay(), openRelay()])
  await using _ = other.host
  await using seller = await openHidden([one.addr, other.addr])
  await placesAt(seller, [one, other])
  await using buyer = await openBuyer()
  const target = { peer: seller.peerId, addrs: circuitsOf(seller) }
  await stopRelay(one)
  const socket = await buyer.connect(target, { signal: AbortSignal.timeout(5_000) })
  expect(await ping(socket)).toBe('pong')
  await placesAt(seller, [other])
})

test('a dead relay is replaced by another one that is wanted, and what is not wanted any more is left', async () => {
  const [one, two, three] = await Promise.all([openRelay(), openRelay(), openRelay()])
  await using _ = two.host
  await using __ = three.host
  await using seller = await openHidden([
    one.addr,
    two.addr,
    three.addr,
    'no multiaddr',
    '/ip4/127.0.0.1/tcp/1',
  ])
  await placesAt(seller, [one, two])
  await stopRelay(one)
  await placesAt(seller, [two, three])
  seller.useRelays([three.addr])
  expect(circuitsOf(seller)).toEqual([`${three.addr}/p2p-circuit/p2p/${seller.peerId}`])
})

test('a relay that is known by its name is met at the address the name leads to, from both sides', async () => {
  const relay = await openRelay()
  await using _ = relay.host
  const named = relay.addr.replace('/ip4/127.0.0.1/', '/dns4/relay.example/')
  const resolve = async () => ['127.0.0.1']
  await using seller = await openHidden([named], { resolve })
  await placesAt(seller, [{ ...relay, addr: named }])
  expect(circuitsOf(seller)).toEqual([`${named}/p2p-circuit/p2p/${seller.peerId}`])
  await using buyer = await openHidden([], { resolve })
  const socket = await connect(buyer, seller)
  expect(socket.path).toBe('relayed')
  expect(await ping(socket)).toBe('pong')
})

test.each(['127.0.0.1', '10.1.2.3'])(
  'a name that leads to %s is no way into a private network',
  async (ip) => {
    const asked: string[] = []
    const resolve = async (name: string) => {
      asked.push(name)
      return [ip]
    }
    const relay = await openRelay()
    await using _ = relay.host
    const named = relay.addr.replace('/ip4/127.0.0.1/', '/dns4/relay.example/')
    await using buyer = await openHidden([], { resolve, allowPrivate: false })
    const peer = freshKey().peerId
    const signal = AbortSignal.timeout(5_000)
    const overRelay = buyer.connect({ peer, addrs: [`${named}/p2p-circuit/p2p/${peer}`] }, { signal })
    await expect(overRelay).rejects.toMatchObject({
      code: 'seller_unreachable',
      message: expect.stringContaining('relay.example leads to no address that may be dialled'),
    })
    const straight = buyer.connect({ peer: relay.host.peerId, addrs: [named] }, { signal })
    await expect(straight).rejects.toMatchObject({ code: 'seller_unreachable' })
    expect(asked).toEqual(['relay.example', 'relay.example'])
    expect(relay.host.pathTo(buyer.peerId)).toBeNull()
  },
)
