import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import type { Startable } from '@libp2p/interface'
import { mdns, type MulticastDNSComponents } from '@libp2p/mdns'
import { multiaddr } from '@multiformats/multiaddr'
import { expect, test } from 'vitest'
import { nodeKeyOf } from '../../src/wire/node-key.ts'
import { openHost, type PeerTarget } from '../../src/net/p2p/open-host.ts'

// A container may have no network that carries multicast.
async function carriesMulticast(): Promise<boolean> {
  const socket = createSocket({ type: 'udp4', reuseAddr: true })
  try {
    socket.bind(0)
    await once(socket, 'listening')
    socket.addMembership('224.0.0.251')
    const { port } = socket.address()
    const heard = once(socket, 'message', { signal: AbortSignal.timeout(500) })
    socket.send('?', port, '224.0.0.251')
    return await heard.then(
      () => true,
      () => false,
    )
  } catch {
    return false
  } finally {
    socket.close()
  }
}

const open = (allowPrivate: boolean, onPeer: (target: PeerTarget) => void) =>
  openHost({
    key: nodeKeyOf(randomBytes(32)),
    listen: ['/ip4/127.0.0.1/tcp/0'],
    bootstrap: [],
    server: false,
    allowPrivate,
    onConnection: (socket) => socket.end(),
    lan: { onPeer },
  })

const hasMulticast = await carriesMulticast()

test.runIf(hasMulticast)(
  'two hosts on one network meet, and each proves to the other who it is',
  async () => {
    const met = Promise.withResolvers<PeerTarget>()
    await using first = await open(true, () => {})
    await using second = await open(true, (target) => {
      if (target.peer === first.peerId) met.resolve(target)
    })
    const target = await met.promise
    expect(target.addrs.every((addr) => addr.startsWith('/ip4/127.0.0.1/tcp/'))).toBe(true)
    const socket = await second.connect(target, { signal: AbortSignal.timeout(10_000) })
    expect(socket.remotePeer).toBe(first.peerId)
    socket.destroy()

    // Somebody else's name at this address leads nowhere.
    const impostor = { peer: nodeKeyOf(randomBytes(32)).peerId, addrs: target.addrs }
    await expect(second.connect(impostor, { signal: AbortSignal.timeout(10_000) })).rejects.toMatchObject({
      code: 'seller_unreachable',
    })
  },
)

test.runIf(hasMulticast)(
  'what is announced leads into the local network only, and not back to this machine',
  async () => {
    const { peerId } = nodeKeyOf(randomBytes(32))
    const addrs = ['/ip4/127.0.0.1/tcp/22', '/ip4/10.9.8.7/tcp/4001', '/ip4/169.254.1.2/tcp/4001']
    const log = Object.assign(() => {}, { error() {}, trace() {} })
    const announcer = mdns({ serviceTag: '_openseed._udp.local' })({
      logger: { forComponent: () => log },
      addressManager: { getAddresses: () => addrs.map((addr) => multiaddr(`${addr}/p2p/${peerId}`)) },
    } as unknown as MulticastDNSComponents) as unknown as Startable
    await announcer.start()
    try {
      const met = Promise.withResolvers<PeerTarget>()
      await using _ = await open(false, (target) => {
        if (target.peer === peerId) met.resolve(target)
      })
      expect((await met.promise).addrs).toEqual(addrs.slice(1))
    } finally {
      await announcer.stop()
    }
  },
)
