/** The ways to a seller compared: plain HTTP, its peer straight, its peer through a relay. Relay and seller are processes. */
import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { openHost, type Host } from '../src/net/p2p/open-host.ts'
import { readBody } from '../src/net/read-body.ts'
import { openSellerClient, type SellerClient } from '../src/net/seller-client.ts'
import { nodeKeyOf } from '../src/wire/node-key.ts'
import { peerAddress } from '../src/wire/seller-address.ts'
import { bulkMiB, measureBulk, type BulkWay } from './bulk.ts'
import { startChild, type Child } from './child.ts'
import { get, waitMs } from './p2p-requests.ts'
import type { PathName, PathResult, PeerResults } from './results.ts'
import { quantile, spread } from './statistics.ts'

export interface PeerExtent {
  rounds: number
  windowMs: number
}

interface Way {
  name: PathName
  client: SellerClient
  requestMs: number[]
  eventMs: number[]
}

const warmUpRequests = 300
const events = 100
const everyMs = 3
// Even where little is measured.
const fewestBulks = 3
const manyStreams = 1_000
const manyHosts = 4
const manyEvents = 20
const peerServer = fileURLToPath(new URL('servers/peer.ts', import.meta.url))
const pipeServer = fileURLToPath(new URL('servers/pipe.ts', import.meta.url))

export async function measurePeers({ rounds, windowMs }: PeerExtent): Promise<PeerResults> {
  await using stack = new AsyncDisposableStack()
  const relay = stack.use(await startChild('relay', { file: peerServer, args: ['relay'] }))
  const { addrs: relayAddrs } = await peerAt(relay)
  const seller = stack.use(
    await startChild('seller', { file: peerServer, args: ['seller', relayAddrs[0] as string] }),
  )
  const ways = await openWays(stack, seller)
  for (const way of ways) for (let sent = 0; sent < warmUpRequests; sent += 1) await ask(way)
  for (let round = 0; round < rounds; round += 1) {
    for (const way of ways) {
      const until = performance.now() + windowMs
      while (performance.now() < until) way.requestMs.push(await ask(way))
      way.eventMs.push(...(await readEvents(way.client)))
    }
  }
  const [plain] = ways as [Way]
  const bulkWays = await openBulkWays(stack, { ways, seller, relay })
  return {
    paths: ways.map((way) => resultOf(way, plain)),
    bulkMiB,
    bulk: await measureBulk(bulkWays, { seller, samples: Math.max(fewestBulks, rounds) }),
    many: await measureMany(stack, seller),
  }
}

function resultOf(way: Way, plain: Way): PathResult {
  const requestMs = spread(way.requestMs)
  const eventMs = spread(way.eventMs)
  return {
    path: way.name,
    requestMs,
    requestToPlain: requestMs.p50 / quantile(plain.requestMs, 0.5),
    eventMs,
    eventAddedMs: eventMs.p50 - quantile(plain.eventMs, 0.5),
  }
}

interface Peer {
  peer: string
  addrs: string[]
}

async function peerAt({ url }: Child): Promise<Peer> {
  return (await (await fetch(`${url}/peer`)).json()) as Peer
}

async function openWays(stack: AsyncDisposableStack, seller: Child): Promise<Way[]> {
  const { peer, addrs } = await peerAt(seller)
  const straight = addrs.filter((addr) => !addr.includes('/p2p-circuit'))
  const relayed = addrs.filter((addr) => addr.includes('/p2p-circuit'))
  const over = async (to: readonly string[]) =>
    clientOver(stack, stack.use(await openBuyerHost()), { peer, addrs: [...to] })
  const clients: [PathName, SellerClient][] = [
    ['plain', openSellerClient({ url: seller.url, connectTimeoutMs: waitMs })],
    ['direct', await over(straight)],
    ['relayed', await over(relayed)],
  ]
  return clients.map(([name, client]) => {
    stack.defer(() => client.close())
    return { name, client, requestMs: [], eventMs: [] }
  })
}

/** The same ways, and one over a process that does no more than pass bytes on. */
async function openBulkWays(
  stack: AsyncDisposableStack,
  { ways, seller, relay }: { ways: readonly Way[]; seller: Child; relay: Child },
): Promise<BulkWay[]> {
  const pipe = stack.use(await startChild('pipe', { file: pipeServer, args: [new URL(seller.url).port] }))
  const piped = openSellerClient({ url: pipe.url, connectTimeoutMs: waitMs })
  stack.defer(() => piped.close())
  const [plain, ...peers] = ways.map(({ name, client }) => ({
    path: name,
    client,
    between: name === 'relayed' ? relay : null,
  }))
  return [plain!, { path: 'piped', client: piped, between: pipe }, ...peers]
}

function openBuyerHost(): Promise<Host> {
  const key = nodeKeyOf(randomBytes(32))
  return openHost({ key, listen: [], bootstrap: [], server: false, allowPrivate: true })
}

function clientOver(stack: AsyncDisposableStack, host: Host, target: Peer): SellerClient {
  const client = openSellerClient({
    url: peerAddress(target.peer),
    connectTimeoutMs: waitMs,
    async dial(signal) {
      // Brief: on one machine a relayed connection would be a direct one after a moment.
      const socket = await host.connect(target, { signal, brief: true })
      return { socket, path: socket.path }
    },
  })
  stack.defer(() => client.close())
  return client
}

/** Milliseconds from the request to the answer's last byte. */
async function ask({ client }: Way): Promise<number> {
  const startedMs = performance.now()
  await readBody(await get(client, '/', 'POST'), 10_000)
  return performance.now() - startedMs
}

/** Milliseconds from when each event was written until it was here. */
async function readEvents(client: SellerClient, count = events): Promise<number[]> {
  const taken: number[] = []
  for await (const chunk of await get(client, `/events?count=${count}&everyMs=${everyMs}`)) {
    const nowNs = process.hrtime.bigint()
    for (const [, writtenNs = ''] of String(chunk).matchAll(/data: (\d+)/g))
      taken.push(Number(nowNs - BigInt(writtenNs)) / 1e6)
  }
  if (taken.length !== count) throw new Error(`${taken.length} of ${count} events arrived`)
  return taken
}

async function measureMany(stack: AsyncDisposableStack, seller: Child): Promise<PeerResults['many']> {
  const target = await peerAt(seller)
  const straight = { ...target, addrs: target.addrs.filter((addr) => !addr.includes('/p2p-circuit')) }
  const hosts = await Promise.all(Array.from({ length: manyHosts }, openBuyerHost))
  const clients = hosts.map((host) => clientOver(stack, stack.use(host), straight))
  const before = await seller.usage()
  const startedMs = performance.now()
  await Promise.all(
    Array.from({ length: manyStreams }, (_, at) =>
      readEvents(clients[at % clients.length] as SellerClient, manyEvents),
    ),
  )
  const after = await seller.usage()
  return {
    streams: manyStreams,
    events: manyEvents,
    tookMs: performance.now() - startedMs,
    rssBeforeMiB: before.rssKiB / 1024,
    peakRssMiB: after.peakRssKiB / 1024,
  }
}

if (import.meta.main) console.log(JSON.stringify(await measurePeers({ rounds: 5, windowMs: 1_000 }), null, 2))
