/** Who takes part in the demo: two sellers at different prices and a buyer, with wallets of their own. */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { systemClock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { networks } from '../config/networks.ts'
import type { Engine } from '../seller/engine/engine.ts'
import type { Usdc } from '../wire/amount.ts'
import { curve } from '../wire/curve.ts'
import { bytesToHex, type Address, type Hex } from '../wire/hex.ts'
import type { NetworkTerms } from '../wire/network.ts'
import { nodeKeyOf } from '../wire/node-key.ts'
import type { AnnounceOptions } from './announcing.ts'
import { startBuyerNode, type BuyerNode } from './buyer-node.ts'
import { startRegistryNode, type RegistryNode } from './registry-node.ts'
import { startSellerNode, type SellerNode } from './seller-node.ts'

export interface DemoWorld {
  folder: string
  network: NetworkTerms
  rpcUrls: string[]
  /** URL of the registry. */
  registry: string
  log: Log
}

export interface DemoWallet {
  key: Hex
  address: Address
}

export interface DemoSeller {
  name: string
  signer: DemoWallet
  payTo: DemoWallet
  /** Atomic USDC per million generated tokens; a quarter of it for prompt tokens. */
  priceOut: Usdc
  /** how it is met, where that is not by the URL it listens on */
  announce?: Partial<AnnounceOptions>
}

export function newWallet(): DemoWallet {
  const key = bytesToHex(randomBytes(32))
  return { key, address: curve.addressOf(key) }
}

const mostBodyBytes = 32 * 1024 * 1024
const mostAtOnce = 16

/** For a network of this machine alone, on any free port. Given multiaddrs, it serves the DHT and relays there. */
export function startDemoRegistry(
  { network, log }: Pick<DemoWorld, 'network' | 'log'>,
  { listen = [], requestsPerSec = 100 }: { listen?: string[]; requestsPerSec?: number } = {},
): Promise<RegistryNode> {
  return startRegistryNode({
    key: nodeKeyOf(randomBytes(32)),
    network,
    listen: { host: '127.0.0.1', port: 0 },
    ...(listen.length > 0 && { dht: { listen, bootstrap: [] } }),
    peers: [],
    allowPrivate: true,
    requestsPerSec,
    trustForwarded: false,
    build: 'demo',
    now: systemClock,
    log,
  })
}

/** On port 0 any free one; a seller that comes back asks for the port it had. */
export function startDemoSeller(
  world: DemoWorld,
  { name, signer, payTo, priceOut, announce }: DemoSeller,
  engine: Engine,
  port = 0,
): Promise<SellerNode> {
  const priceIn = priceOut / 4n
  return startSellerNode({
    ...world,
    folder: join(world.folder, name),
    confirmation: networks.local.confirmation,
    key: signer.key,
    payTo: payTo.address,
    listen: { host: '127.0.0.1', port },
    engines: [engine],
    pricesOf: () => ({ priceIn, priceCached: priceIn / 2n, priceOut, fixedPrice: 0n }),
    maxConcurrency: mostAtOnce,
    withdrawDelaySec: 900,
    minDeposit: 100_000n,
    settle: { threshold: 1_000_000_000n, intervalMs: 3_600_000 },
    maxBodyBytes: mostBodyBytes,
    firstByteTimeoutMs: 120_000,
    idleTimeoutMs: 60_000,
    announce: {
      registries: [world.registry],
      publicUrl: null,
      region: null,
      hardware: null,
      payToKey: payTo.key,
      ...announce,
    },
  })
}

export function startDemoBuyer(
  world: DemoWorld,
  { payer, authorizer }: { payer: DemoWallet; authorizer: DemoWallet },
): Promise<BuyerNode> {
  return startBuyerNode({
    ...world,
    folder: join(world.folder, 'buyer'),
    confirmation: networks.local.confirmation,
    keys: { payer: payer.key, authorizer: authorizer.key },
    sellers: [],
    registries: [world.registry],
    allowPrivate: true,
    caps: {
      maxPerRequest: 50_000n,
      maxDepositPerSeller: 2_000_000n,
      maxPerDay: 10_000_000n,
      maxExposure: 1_000_000n,
      maxUnresolved: 250_000n,
    },
    listen: { host: '127.0.0.1', port: 0 },
    maxBodyBytes: mostBodyBytes,
    firstByteTimeoutMs: 120_000,
    idleTimeoutMs: 60_000,
  })
}
