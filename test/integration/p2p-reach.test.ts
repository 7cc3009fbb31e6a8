/** What a host learns about itself from relays, and what relays tell. */
import { once } from 'node:events'
import { createServer } from 'node:net'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { noise } from '@libp2p/noise'
import { peerIdFromString } from '@libp2p/peer-id'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { expect, test } from 'vitest'
import { openDialPort, type DialPort } from '../../src/net/p2p/fixed-port.ts'
import { jsonStream } from '../../src/net/p2p/json-stream.ts'
import type { Host } from '../../src/net/p2p/open-host.ts'
import { reachProtocol } from '../../src/net/p2p/reach-messages.ts'
import { openBuyer, openPeer, openRelay, whenReach } from '../fixtures/relayed-peers.ts'

const patience = () => AbortSignal.timeout(5_000)

test('A host that others get in to is public, and says where.', async () => {
  await using relay = await openRelay()
  await using host = await openPeer({ bootstrap: relay.addrs() })
  expect(host.reachability()).toMatchObject({ state: 'unknown', nat: 'unknown', observed: [] })
  await whenReach(host, ({ state }) => state === 'public')
  const { nat, observed, mapped } = host.reachability()
  expect({ nat, mapped }).toEqual({ nat: 'none', mapped: null })
  expect(observed).toEqual([expect.stringMatching(/^127\.0\.0\.1:\d+$/)])
  expect(host.addrs()).toContainEqual(expect.stringMatching(/^\/ip4\/127\.0\.0\.1\/tcp\/\d+\/p2p\//))
})

test('A host that begins to serve the DHT says so to those it is connected to already.', async () => {
  await using relay = await openRelay()
  expect(relay.peerCount()).toBe(0)
  await using host = await openPeer({ bootstrap: relay.addrs(), server: 'when-public' })
  await whenReach(host, ({ state }) => state === 'public')
  expect(await relay.joined(1, AbortSignal.timeout(20_000))).toBe(true)
})

test('A host that only asks learns how it looks, and is not public.', async () => {
  await using relay = await openRelay()
  await using buyer = await openBuyer(relay)
  await whenReach(buyer, ({ nat }) => nat === 'none')
  expect(buyer.reachability().state).toBe('punchable')
})

test('All that is dialled comes from one port, but for a second connection to the same place.', async () => {
  await using first = await openRelay()
  await using second = await openRelay()
  const port = openDialPort()
  await using node = await rawNode(port.transport)
  const connections = await Promise.all(
    [first, second].map((relay) => node.dial(multiaddr(relay.addrs()[0]))),
  )
  const [one, other] = connections.map((connection) => port.portOf(connection))
  expect(one).toBeGreaterThan(0)
  expect(other).toBe(one)
  const again = await node.dial(multiaddr(first.addrs()[0]), { force: true })
  expect(port.portOf(again)).not.toBe(one)
})

test('A port that somebody else has taken is given up for another.', async () => {
  await using relay = await openRelay()
  const port = openDialPort()
  await using node = await rawNode(port.transport)
  const taken = port.portOf(await node.dial(multiaddr(relay.addrs()[0])))
  await node.stop()
  const holder = createServer().listen(taken!, '127.0.0.1')
  await once(holder, 'listening')
  await node.start()
  const fresh = port.portOf(await node.dial(multiaddr(relay.addrs()[0])))
  expect(fresh).not.toBeNull()
  expect(fresh).not.toBe(taken)
  holder.close()
})

test('What was learned from a relay is forgotten with the connection to it.', async () => {
  const relay = await openRelay()
  await using host = await openPeer({ bootstrap: relay.addrs() })
  await whenReach(host, ({ nat }) => nat === 'none')
  await relay[Symbol.asyncDispose]()
  await whenReach(host, ({ nat }) => nat === 'unknown')
  expect(host.reachability().observed).toEqual([])
})

async function rawNode(transport: DialPort['transport'] = tcp()) {
  const node = await createLibp2p({
    privateKey: await generateKeyPair('Ed25519'),
    transports: [transport],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
  })
  return Object.assign(node, { [Symbol.asyncDispose]: () => Promise.resolve(node.stop()) })
}

async function rawPeer(relay: Host) {
  const node = await rawNode()
  const connection = await node.dial(multiaddr(relay.addrs()[0]))
  return {
    peer: node.peerId.toString(),
    async ask(question: object): Promise<unknown> {
      const messages = jsonStream(await connection.newStream(reachProtocol, { signal: patience() }))
      await messages.write(question, patience())
      return await messages.read(patience())
    },
    isConnected: () => node.getConnections(peerIdFromString(relay.peerId)).length > 0,
    [Symbol.asyncDispose]: () => Promise.resolve(node.stop()),
  }
}

test('A relay confirms where a peer is to who knows it already, and tells nobody else.', async () => {
  await using relay = await openRelay()
  await using asker = await rawPeer(relay)
  await using other = await rawPeer(relay)
  const confirm = (peer: string, ip: string) => asker.ask({ ask: 'confirm', peer, ip })
  expect(await confirm(other.peer, '127.0.0.1')).toEqual({ yes: true })
  expect(await confirm(other.peer, '44.1.1.1')).toEqual({ yes: false })
  const stranger = await openPeer({})
  await stranger[Symbol.asyncDispose]()
  expect(await confirm(stranger.peerId, '127.0.0.1')).toEqual({ yes: false })
})

test('A relay that is asked to dial finds out whether it is the asker who listens there.', async () => {
  await using relay = await openRelay()
  await using asker = await rawPeer(relay)
  const victim = createServer().listen(0, '127.0.0.1')
  await once(victim, 'listening')
  victim.on('connection', (socket) =>
    socket
      .on('error', () => {})
      .resume()
      .end('HTTP/1.1 400 Bad Request\r\n\r\n'),
  )
  const { port } = victim.address() as { port: number }
  expect(await asker.ask({ ask: 'dial', port })).toEqual({ yes: false })
  await new Promise((resolve) => victim.close(resolve))
  expect(await asker.ask({ ask: 'dial', port })).toEqual({ yes: false })
  expect(await asker.ask({ ask: 'dial', port: 0 })).toEqual({ refused: 'not_for_you' })
})

test('A relay dials an address so often, and then no more for a while.', async () => {
  await using relay = await openRelay()
  await using asker = await rawPeer(relay)
  const answers = await Promise.all(Array.from({ length: 25 }, () => ask()))
  async function ask(): Promise<unknown> {
    return await asker.ask({ ask: 'dial', port: 1 }).catch(() => 'cut')
  }
  expect(answers.filter((answer) => JSON.stringify(answer) === '{"yes":false}').length).toBeLessThanOrEqual(
    20,
  )
})

test('Who asks nonsense is cut off, and the relay lives.', async () => {
  await using relay = await openRelay()
  await using asker = await rawPeer(relay)
  for (const question of [{ ask: 'everything' }, { ask: 'dial', port: -1 }, { pad: 'x'.repeat(5_000) }, []])
    await expect(asker.ask(question)).rejects.toThrow()
  expect(asker.isConnected()).toBe(true)
  expect(await asker.ask({ ask: 'seen' })).toMatchObject({ seen: { ip: '127.0.0.1' } })
})
