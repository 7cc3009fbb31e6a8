/** A buyer that lies about where it is does not make a seller knock at anybody else's door. */
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { identify } from '@libp2p/identify'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { jsonStream } from '../../src/net/p2p/json-stream.ts'
import type { Host } from '../../src/net/p2p/open-host.ts'
import { punchProtocol } from '../../src/net/p2p/punch-messages.ts'
import { openPeer, openRelay, openRelayedSeller, overRelay } from '../fixtures/relayed-peers.ts'

const patience = () => AbortSignal.timeout(5_000)

let relay: Host
let seller: Host
let liar: Awaited<ReturnType<typeof openLiar>>

beforeAll(async () => {
  relay = await openRelay()
  seller = await openRelayedSeller(relay, (socket) => void socket.on('error', () => {}))
  liar = await openLiar()
})

afterAll(async () => {
  await liar.stop()
  await seller[Symbol.asyncDispose]()
  await relay[Symbol.asyncDispose]()
})

async function openLiar() {
  const node = await createLibp2p({
    privateKey: await generateKeyPair('Ed25519'),
    transports: [tcp(), circuitRelayTransport()],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    services: { identify: identify() },
  })
  const connection = await node.dial(multiaddr(overRelay(seller).addrs[0]))
  const open = () => connection.newStream(punchProtocol, { runOnLimitedConnection: true, signal: patience() })
  return {
    peer: node.peerId.toString(),
    open,
    /** Says this and that, in turn with the seller. The seller hears one call at a time: tried until it is heard. */
    async call(side: object, start: object): Promise<void> {
      for (;;) {
        try {
          const stream = await open()
          const messages = jsonStream(stream)
          await messages.write(side, patience())
          await messages.read(patience())
          await messages.write(start, patience())
          return await stream.close({ signal: patience() })
        } catch {
          await sleep(20)
        }
      }
    },
    stop: () => node.stop(),
  }
}

/** Somebody who listens and counts who comes. */
async function openVictim(
  host: string,
): Promise<{ at: { ip: string; port: number }; visits: () => number; server: Server }> {
  let visits = 0
  const server = createServer((socket) => {
    visits += 1
    socket.on('error', () => {}).destroy()
  }).listen(0, host)
  await once(server, 'listening')
  return { at: { ip: host, port: (server.address() as { port: number }).port }, visits: () => visits, server }
}

/** Resolves when the seller has come to the liar's own door: calls before this one are dealt with then. */
async function settle(): Promise<void> {
  const own = await openVictim('127.0.0.1')
  const came = once(own.server, 'connection')
  await liar.call({ nat: 'none', from: own.at, open: true }, { plan: 'reverse', at: own.at })
  await came
  own.server.close()
}

test.each(['reverse', 'meet'] as const)(
  'A seller that is asked to %s at the address of somebody else stays where it is.',
  async (plan) => {
    const victim = await openVictim('127.0.0.2')
    await liar.call({ nat: 'none', from: victim.at, open: true }, { plan, at: victim.at })
    await settle()
    expect(victim.visits()).toBe(0)
    victim.server.close()
  },
)

test('Who answers at the place that a caller named must be the caller.', async () => {
  await using other = await openPeer({})
  const port = Number(/\/tcp\/(\d+)\//.exec(other.addrs()[0]!)![1])
  const at = { ip: '127.0.0.1', port }
  await liar.call({ nat: 'none', from: at, open: true }, { plan: 'reverse', at })
  await settle()
  expect(seller.pathTo(other.peerId)).toBeNull()
  expect(seller.pathTo(liar.peer)).toBe('relayed')
})

test('Nonsense ends the call and nothing else.', async () => {
  for (const nonsense of [
    {},
    { nat: 'flat' },
    { nat: 'cone', from: 7, open: false },
    { pad: 'x'.repeat(5_000) },
  ]) {
    const stream = await liar.open()
    const messages = jsonStream(stream)
    await messages.write(nonsense, patience()).catch(() => {})
    await expect(messages.read(patience())).rejects.toThrow()
  }
  await settle()
  expect(seller.pathTo(liar.peer)).toBe('relayed')
})
