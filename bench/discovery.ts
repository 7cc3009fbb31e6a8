/** How long the market takes to notice: a seller that begins, and one that dies without a word. All in this process. */
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { silentLog } from '../src/base/log.ts'
import { startAnvil } from '../src/chain/anvil.ts'
import { deployLocal } from '../src/chain/local.ts'
import { networks } from '../src/config/networks.ts'
import type { BuyerNode } from '../src/node/buyer-node.ts'
import {
  newWallet,
  startDemoBuyer,
  startDemoRegistry,
  startDemoSeller,
  type DemoSeller,
  type DemoWorld,
} from '../src/node/demo-parties.ts'
import type { Engine } from '../src/seller/engine/engine.ts'
import { probeEngine } from '../src/seller/engine/probe.ts'
import { startTinyEngine, tinyModel } from '../src/seller/engine/tiny-engine.ts'
import type { DiscoveryResults } from './results.ts'
import { quantile } from './statistics.ts'

const ether = 10n ** 18n
const noticeWithinMs = 30_000
const requestsAfter = 10

/** Throws when something is not noticed at all. */
export async function measureDiscovery(folder: string, rounds: number): Promise<DiscoveryResults> {
  await using stack = new AsyncDisposableStack()
  const { chainId } = networks.local.terms
  const anvil = stack.use(await startAnvil({ chainId }))
  const wallets = { payer: newWallet(), authorizer: newWallet() }
  const steady: DemoSeller = { name: 'steady', signer: newWallet(), payTo: newWallet(), priceOut: 9_000_000n }
  const fleeting = Array.from({ length: rounds }, (_, round) => ({
    ...steady,
    name: `seller-${round}`,
    signer: newWallet(),
    payTo: newWallet(),
    priceOut: 2_000_000n,
  }))
  const network = await deployLocal(anvil.url, {
    chainId,
    canonical: true,
    funded: [
      { address: wallets.payer.address, usdc: 1_000_000_000n },
      ...[steady, ...fleeting].map(({ signer }) => ({ address: signer.address, eth: ether })),
    ],
  })
  const registry = stack.use(await startDemoRegistry({ network, log: silentLog }, { requestsPerSec: 1_000 }))
  const tiny = stack.use(await startTinyEngine({ port: 0 }))
  const engine = await probeEngine(tiny.url, AbortSignal.timeout(noticeWithinMs))
  const world: DemoWorld = {
    folder: join(folder, 'discovery'),
    network,
    rpcUrls: [anvil.url],
    registry: registry.url,
    log: silentLog,
  }
  const other = await startDemoSeller(world, steady, engine)
  stack.defer(() => other.close(0))
  const buyer = await startDemoBuyer(world, wallets)
  stack.defer(() => buyer.close(0))
  await askDemo(buyer)

  const noticedMs: number[] = []
  const avoidedMs: number[] = []
  for (const seller of fleeting) {
    const round = await measureSeller(world, seller, engine, buyer)
    noticedMs.push(round.noticedMs)
    avoidedMs.push(round.avoidedMs)
  }
  return {
    rounds,
    newSellerMs: { p50: quantile(noticedMs, 0.5), worst: Math.max(...noticedMs) },
    deadSellerMs: { p50: quantile(avoidedMs, 0.5), worst: Math.max(...avoidedMs) },
  }
}

/** From when it serves until the buyer could buy there; from its death until the request that found out is answered. */
async function measureSeller(
  world: DemoWorld,
  seller: DemoSeller,
  engine: Engine,
  buyer: BuyerNode,
): Promise<{ noticedMs: number; avoidedMs: number }> {
  const node = await startDemoSeller(world, seller, engine)
  const startedMs = performance.now()
  while (buyer.market.terms(node.url) === null) {
    if (performance.now() > startedMs + noticeWithinMs) throw new Error('a new seller was not noticed')
    await sleep(5)
  }
  const noticedMs = performance.now() - startedMs
  if ((await askDemo(buyer)).seller !== node.url) throw new Error('the cheapest seller was not chosen')
  await node.abandon()
  const diedMs = performance.now()
  // The first of them finds out; none may fail, and those after it must not lose time over it.
  const { seller: next } = await askDemo(buyer)
  const avoidedMs = performance.now() - diedMs
  if (next === node.url) throw new Error('a dead seller answered')
  for (let count = 0; count < requestsAfter; count += 1) {
    if ((await askDemo(buyer)).seller === node.url) throw new Error('a dead seller answered')
  }
  return { noticedMs, avoidedMs }
}

export async function askDemo(buyer: BuyerNode): Promise<{ seller: string | null }> {
  const response = await fetch(`${buyer.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      model: tinyModel,
      max_tokens: 8,
      messages: [{ role: 'user', content: 'Say a word.' }],
    }),
    signal: AbortSignal.timeout(noticeWithinMs),
  })
  if (response.status !== 200) throw new Error(`${response.status}: ${await response.text()}`)
  await response.bytes()
  return { seller: response.headers.get('x-openseed-seller') }
}
