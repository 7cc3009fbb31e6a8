/** A relayed connection becomes direct, and nothing that ran over it is lost. */
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test, vi } from 'vitest'
import type { PeerSocket } from '../../src/net/p2p/open-host.ts'
import { openBuyer, openRelay, openRelayedSeller, overRelay } from '../fixtures/relayed-peers.ts'
import { patient } from '../fixtures/patient.ts'

const patience = () => ({ signal: AbortSignal.timeout(10_000) })
const chunks = 200

/** Answers each line with 200 chunks, each when the one before has left. */
async function stream(socket: PeerSocket): Promise<void> {
  socket.on('error', () => {})
  await once(socket, 'data')
  for (let sent = 0; sent < chunks; sent += 1) {
    socket.write(`${sent};`)
    await sleep(5)
  }
  socket.end()
}

async function readAll(socket: PeerSocket): Promise<string> {
  let text = ''
  for await (const chunk of socket.setEncoding('utf8')) text += chunk as string
  return text
}

const everything = Array.from({ length: chunks }, (_, at) => `${at};`).join('')

test.concurrent('A buyer that met the seller over a relay is called back, and what is on its way arrives to the last byte.', async () => {
  await using relay = await openRelay()
  await using seller = await openRelayedSeller(relay, (socket) => void stream(socket).catch(() => {}))
  await using buyer = await openBuyer(relay)
  const better = new Promise<string>((resolve) => void buyer.onBetterPath(resolve))

  const first = await buyer.connect(overRelay(seller), patience())
  expect(first.path).toBe('relayed')
  const answer = readAll(first)
  first.end('go\n')
  expect(await Promise.race([better, answer])).toBe(seller.peerId)
  expect(buyer.pathTo(seller.peerId)).toBe('direct')

  const second = await buyer.connect(overRelay(seller), patience())
  expect(second.path).toBe('direct')
  second.end('go\n')
  expect(await readAll(second)).toBe(everything)
  expect(await answer).toBe(everything)
})

test.concurrent('The relay is let go when the last stream over it has ended, and not before.', async () => {
  await using relay = await openRelay({ circuits: 1 })
  await using seller = await openRelayedSeller(relay, (socket) => void stream(socket).catch(() => {}))
  await using first = await openBuyer(relay)
  await using second = await openBuyer(relay)
  const better = new Promise((resolve) => void first.onBetterPath(resolve))
  const socket = await first.connect(overRelay(seller), patience())
  await better

  await expect(second.connect(overRelay(seller), patience())).rejects.toMatchObject({
    code: 'seller_unreachable',
  })
  const answer = readAll(socket)
  socket.end('go\n')
  expect(await answer).toBe(everything)
  const place = await whenRoom(() => second.connect(overRelay(seller), patience()))
  expect(place.path).toBe('relayed')
  expect(first.pathTo(seller.peerId)).toBe('direct')
  place.destroy()
})

function whenRoom(connect: () => Promise<PeerSocket>): Promise<PeerSocket> {
  return vi.waitFor(connect, patient)
}
