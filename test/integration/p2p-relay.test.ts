import { setImmediate } from 'node:timers/promises'
import { multiaddr } from '@multiformats/multiaddr'
import { RELAY_V2_HOP_CODEC } from '@libp2p/circuit-relay-v2'
import { expect, test, vi } from 'vitest'
import {
  circuitsOf,
  connect,
  openBuyer,
  openHidden,
  openRelay,
  openStock,
  ping,
  placesAt,
  readAll,
  stopRelay,
} from '../fixtures/p2p-relay.ts'
import { patient } from '../fixtures/patient.ts'

test('a seller that nobody can dial is met over a relay, and says where', async () => {
  const relay = await openRelay()
  await using relayHost = relay.host
  await using seller = await openHidden([relay.addr])
  await using buyer = await openBuyer()
  await placesAt(seller, [relay])
  expect(circuitsOf(seller)).toEqual([`${relay.addr}/p2p-circuit/p2p/${seller.peerId}`])
  const socket = await connect(buyer, seller)
  expect(socket.path).toBe('relayed')
  expect(socket.remotePeer).toBe(seller.peerId)
  expect(await ping(socket)).toBe('pong')
  const answer = readAll(socket)
  socket.write('give 3000000\n')
  expect(await answer.end).toBe('whole')
  expect(answer.bytes()).toBe(3_000_000)
  // The stock transport would have made a reservation of its own by now.
  expect(circuitsOf(seller)).toHaveLength(1)
  expect(relayHost.peerId).toBe(relay.key.peerId)
})

test('a stranger gets no place, and gets one soon after it is known', async () => {
  let isKnown = false
  let asked = 0
  const { promise: askedTwice, resolve } = Promise.withResolvers<void>()
  const relay = await openRelay({
    mayReserve: () => {
      asked += 1
      if (asked === 2) resolve()
      return isKnown
    },
  })
  await using _ = relay.host
  await using stranger = await openHidden([relay.addr])
  await askedTwice
  expect(circuitsOf(stranger)).toEqual([])
  isKnown = true
  await placesAt(stranger, [relay])
})

test('a place is free again when its holder has gone', async () => {
  const relay = await openRelay({ limits: { reservations: 1 } })
  await using _ = relay.host
  const first = await openHidden([relay.addr])
  await placesAt(first, [relay])
  await using second = await openHidden([relay.addr])
  await first[Symbol.asyncDispose]()
  await placesAt(second, [relay])
})

test('a flood of requests over one connection is refused and takes nobody its place', async () => {
  const nowMs = Date.now()
  const relay = await openRelay({ limits: { reservations: 2 } }, { now: () => nowMs })
  await using _ = relay.host
  await using flooder = await openStock()
  const connection = await flooder.dial(multiaddr(relay.addr))
  const answers: Buffer[] = []
  for (let sent = 0; sent < 200; sent += 1) {
    const stream = await connection.newStream(RELAY_V2_HOP_CODEC)
    const answer = new Promise<Buffer>((resolve) =>
      stream.addEventListener('message', ({ data }) => resolve(Buffer.from(data.subarray())), {
        once: true,
      }),
    )
    stream.send(Uint8Array.from([2, 8, 0]))
    answers.push(await answer)
    await stream.close()
  }
  // A status of 100 or 201, the last field of each answer.
  const given = answers.filter((answer) => answer.at(-1) === 100).length
  expect(given).toBeGreaterThan(0)
  expect(answers.filter((answer) => answer.subarray(-2).toString('hex') === 'c901')).toHaveLength(200 - given)
  expect(given).toBeLessThan(150)
  await using seller = await openHidden([relay.addr])
  await placesAt(seller, [relay])
})

test('circuits are limited by pair, by buyer and in all, and free again when they close', async () => {
  const relay = await openRelay({ limits: { circuitsPerPair: 2, circuitsPerBuyer: 3, circuits: 4 } })
  await using _ = relay.host
  await using first = await openHidden([relay.addr])
  await using second = await openHidden([relay.addr])
  await Promise.all([placesAt(first, [relay]), placesAt(second, [relay])])
  await using one = await openStock()
  await using other = await openStock()
  const open = (buyer: typeof one, seller: typeof first) =>
    buyer.dial(multiaddr(circuitsOf(seller)[0] ?? ''), { force: true })
  const refused = (dial: Promise<unknown>) => expect(dial).rejects.toThrow(/RESOURCE_LIMIT_EXCEEDED/)
  const circuit = await open(one, first)
  expect(circuit.limits?.bytes).toBeLessThanOrEqual(64n * 1024n * 1024n)
  expect(circuit.limits?.seconds).toBeLessThanOrEqual(1_800)
  await open(one, first)
  await refused(open(one, first))
  await open(one, second)
  await refused(open(one, second))
  await open(other, second)
  await refused(open(other, second))
  await circuit.close()
  // The relay hears of it a moment later.
  await vi.waitFor(() => open(other, second), patient)
})

test('a stock client keeps a place here and is met over it', async () => {
  const relay = await openRelay()
  await using _ = relay.host
  await using seller = await openStock([`${relay.addr}/p2p-circuit`])
  await using buyer = await openStock()
  await seller.handle(
    '/echo',
    (stream) => stream.addEventListener('message', ({ data }) => stream.send(data)),
    {
      runOnLimitedConnection: true,
    },
  )
  const circuit = await buyer.dial(multiaddr(`${relay.addr}/p2p-circuit/p2p/${String(seller.peerId)}`))
  const stream = await circuit.newStream('/echo', { runOnLimitedConnection: true })
  const echoed = new Promise((resolve) =>
    stream.addEventListener('message', ({ data }) => resolve(Buffer.from(data.subarray()).toString())),
  )
  stream.send(Buffer.from('hello'))
  expect(await echoed).toBe('hello')
})

test('who read more than a circuit may carry sees an error and never an end, and can begin again', async () => {
  const relay = await openRelay({ limits: { bytes: 300_000 } })
  await using _ = relay.host
  await using seller = await openHidden([relay.addr])
  await using buyer = await openBuyer()
  await placesAt(seller, [relay])
  const socket = await connect(buyer, seller)
  const answer = readAll(socket)
  socket.write('give 1000000\n')
  expect(await answer.end).toBe('cut')
  expect(answer.bytes()).toBeLessThan(300_000)
  expect(await ping(await connect(buyer, seller))).toBe('pong')
})

test('a circuit that was open for as long as it may is cut, and the reader told', async () => {
  const relay = await openRelay({ limits: { durationMs: 2_500 } })
  await using _ = relay.host
  await using seller = await openHidden([relay.addr])
  await using buyer = await openBuyer()
  await placesAt(seller, [relay])
  const socket = await connect(buyer, seller)
  const answer = readAll(socket)
  expect(await ping(socket)).toBe('pong')
  expect(await answer.end).toBe('cut')
})

test('a relay that dies in the middle of an answer cuts it, and the reader sees that', async () => {
  const relay = await openRelay({ limits: { bytesPerSec: 50_000 } })
  await using seller = await openHidden([relay.addr])
  await using buyer = await openBuyer()
  await placesAt(seller, [relay])
  const socket = await connect(buyer, seller)
  const answer = readAll(socket)
  socket.once('data', () => void stopRelay(relay))
  socket.write('give 1000000\n')
  expect(await answer.end).toBe('cut')
  expect(answer.bytes()).toBeLessThan(1_000_000)
})

test('a greedy circuit waits for its share while another answers at once', async () => {
  let nowMs = Date.now()
  const bytesPerSec = 500_000
  const relay = await openRelay({ limits: { bytesPerSec } }, { now: () => nowMs })
  await using _ = relay.host
  await using seller = await openHidden([relay.addr])
  await placesAt(seller, [relay])
  await using greedy = await openBuyer()
  await using modest = await openBuyer()
  const [taking, asking] = await Promise.all([connect(greedy, seller), connect(modest, seller)])
  const answer = readAll(taking)
  taking.write('give 2000000\n')
  // As long as the clock stands still, there is the burst and the piece that went into debt.
  for (let asked = 0; asked < 100; asked += 1) expect(await ping(asking)).toBe('pong')
  expect(answer.bytes()).toBeLessThanOrEqual(2 * bytesPerSec + 512 * 1024)
  nowMs += 60_000
  taking.on('data', () => {
    nowMs += 60_000
  })
  expect(await answer.end).toBe('whole')
  expect(answer.bytes()).toBe(2_000_000)
})

test('many answers over one circuit wait together, and all of them come whole', async () => {
  const relay = await openRelay({ limits: { bytesPerSec: 1_000_000 } })
  await using _ = relay.host
  await using seller = await openHidden([relay.addr])
  await placesAt(seller, [relay])
  await using buyer = await openBuyer()
  const taking = await Promise.all(Array.from({ length: 6 }, () => connect(buyer, seller)))
  const answers = taking.map(readAll)
  for (const socket of taking) socket.write('give 600000\n')
  // Each is held back by its reader, all together only by the relay, which loses the circuit when it does not.
  expect(await Promise.all(answers.map(({ end }) => end))).toEqual(Array(6).fill('whole'))
})

test('a reader that is slow slows the sender down, and the relay keeps little for it', async () => {
  const relay = await openRelay({ limits: { bytesPerSec: 1e9 } })
  await using _ = relay.host
  await using seller = await openHidden([relay.addr])
  await using buyer = await openBuyer()
  await placesAt(seller, [relay])
  const socket = await connect(buyer, seller)
  socket.write('give 8000000\n')
  let bytes = 0
  // A relay that kept on taking would lose the stream: it holds no more than half a megabyte of each.
  for await (const chunk of socket) {
    bytes += (chunk as Buffer).length
    await setImmediate()
  }
  expect(bytes).toBe(8_000_000)
})
