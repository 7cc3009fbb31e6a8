/** How long connections take to come up, to come back and to end. All in this process, on loopback. */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import { silentLog } from '../src/base/log.ts'
import { startAnvil } from '../src/chain/anvil.ts'
import { deployLocal } from '../src/chain/local.ts'
import { networks } from '../src/config/networks.ts'
import { openHost, type Host, type PeerSocket } from '../src/net/p2p/open-host.ts'
import {
  newWallet,
  startDemoBuyer,
  startDemoRegistry,
  startDemoSeller,
  type DemoSeller,
  type DemoWorld,
} from '../src/node/demo-parties.ts'
import { probeEngine } from '../src/seller/engine/probe.ts'
import { startTinyEngine } from '../src/seller/engine/tiny-engine.ts'
import { nodeKeyOf, type NodeKey } from '../src/wire/node-key.ts'
import { askDemo } from './discovery.ts'
import type { ConnectionResults, Noticed } from './results.ts'
import { quantile } from './statistics.ts'

const loopback = '/ip4/127.0.0.1/tcp/0'
const ether = 10n ** 18n
const waitMs = 30_000
/** It listens nowhere, and its URL is one that no buyer follows: whoever finds it comes over the relay. */
const hidden: NonNullable<DemoSeller['announce']> = {
  publicUrl: 'http://seller.example:8403',
  allowPrivate: true,
  p2p: { listen: [], announce: [], bootstrap: [], portMapping: false, punch: false, lan: false },
}

export async function measureConnections(folder: string, rounds: number): Promise<ConnectionResults> {
  return {
    rounds,
    firstPaidMs: noticed(await measureFirstPaid(folder, rounds)),
    ...(await measureRelay(rounds)),
  }
}

/** From a buyer that begins, with an empty home, to the end of its first answer, paid with its first deposit. */
async function measureFirstPaid(folder: string, rounds: number): Promise<number[]> {
  await using stack = new AsyncDisposableStack()
  const { chainId } = networks.local.terms
  const anvil = stack.use(await startAnvil({ chainId }))
  const signer = newWallet()
  const buyers = Array.from({ length: rounds }, () => ({ payer: newWallet(), authorizer: newWallet() }))
  const network = await deployLocal(anvil.url, {
    chainId,
    canonical: true,
    funded: [
      { address: signer.address, eth: ether },
      ...buyers.map(({ payer }) => ({ address: payer.address, usdc: 1_000_000_000n })),
    ],
  })
  const registry = stack.use(
    await startDemoRegistry({ network, log: silentLog }, { listen: [loopback], requestsPerSec: 1_000 }),
  )
  const world: DemoWorld = {
    folder: join(folder, 'connections'),
    network,
    rpcUrls: [anvil.url],
    registry: registry.url,
    log: silentLog,
  }
  const tiny = stack.use(await startTinyEngine({ port: 0 }))
  const engine = await probeEngine(tiny.url, AbortSignal.timeout(waitMs))
  const seller = await startDemoSeller(
    world,
    { name: 'seller', signer, payTo: newWallet(), priceOut: 4_000_000n, announce: hidden },
    engine,
  )
  stack.defer(() => seller.close(0))
  const tookMs: number[] = []
  for (const [round, wallets] of buyers.entries()) {
    const startedMs = performance.now()
    const buyer = await startDemoBuyer({ ...world, folder: join(world.folder, `buyer-${round}`) }, wallets)
    await askDemo(buyer)
    tookMs.push(performance.now() - startedMs)
    await buyer.close(0)
  }
  return tookMs
}

async function measureRelay(rounds: number): Promise<Omit<ConnectionResults, 'rounds' | 'firstPaidMs'>> {
  await using stack = new AsyncDisposableStack()
  const key = freshKey()
  let relay = await openRelay(key, loopback)
  stack.defer(() => relay[Symbol.asyncDispose]())
  const addr = relay.addrs()[0] as string
  const ends: PromiseWithResolvers<number>[] = []
  const seller = stack.use(
    await openPeer({
      onConnection: (socket) => {
        const end = ends.at(-1)
        socket.on('error', () => undefined)
        socket.once('close', () => end?.resolve(performance.now()))
        socket.on('data', (chunk: Buffer) => socket.write(chunk))
      },
    }),
  )
  seller.useRelays([addr])
  const buyer = stack.use(await openPeer({}))
  const backMs: number[] = []
  const cancelMs: number[] = []
  await held(seller, true)
  for (let round = 0; round < rounds; round += 1) {
    for (let call = 0; call < 10; call += 1) cancelMs.push(await cancel(buyer, seller, ends))
    await relay[Symbol.asyncDispose]()
    await held(seller, false)
    relay = await openRelay(key, addr.split('/p2p/')[0] as string)
    const returnedMs = performance.now()
    await held(seller, true)
    backMs.push(performance.now() - returnedMs)
  }
  return { relayBackMs: noticed(backMs), cancelMs: noticed(cancelMs) }
}

/** From the buyer's leaving a stream over the relay until the seller sees it. */
async function cancel(buyer: Host, seller: Host, ends: PromiseWithResolvers<number>[]): Promise<number> {
  const end = Promise.withResolvers<number>()
  ends.push(end)
  const target = { peer: seller.peerId, addrs: seller.addrs() }
  const socket = await buyer.connect(target, { signal: AbortSignal.timeout(waitMs), brief: true })
  socket.on('error', () => undefined)
  socket.write('hello')
  await once(socket, 'data')
  const leftMs = performance.now()
  socket.destroy()
  return (await end.promise) - leftMs
}

async function held(seller: Host, isHeld: boolean): Promise<void> {
  const isSo = () => seller.reachability().relays.length > 0 === isHeld
  const { promise, resolve } = Promise.withResolvers<void>()
  const stop = seller.onReachability(() => {
    if (isSo()) resolve()
  })
  if (isSo()) resolve()
  await promise
  stop()
}

const freshKey = (): NodeKey => nodeKeyOf(randomBytes(32))

const openRelay = (key: NodeKey, listen: string): Promise<Host> =>
  openHost({
    key,
    listen: [listen],
    bootstrap: [],
    server: true,
    allowPrivate: true,
    relay: { mayReserve: () => true },
  })

const openPeer = (more: { onConnection?: (socket: PeerSocket) => void }): Promise<Host> =>
  openHost({ key: freshKey(), listen: [], bootstrap: [], server: false, allowPrivate: true, ...more })

const noticed = (tookMs: readonly number[]): Noticed => ({
  p50: quantile([...tookMs], 0.5),
  worst: Math.max(...tookMs),
})
