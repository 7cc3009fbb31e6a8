/** `openseed sell`: wallet and configuration in, a running seller out, until the signal says stop. */
import { once } from 'node:events'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Config } from '../config/config.ts'
import type { Engine } from '../seller/engine/engine.ts'
import { findEngines, probeEngine } from '../seller/engine/probe.ts'
import type { Usdc } from '../wire/amount.ts'
import { checksummed, type Address, type Hex } from '../wire/hex.ts'
import type { AnnounceOptions } from './announcing.ts'
import { detectHardware } from './hardware.ts'
import { openKeystore } from './keystore.ts'
import type { P2pOptions } from './seller-host.ts'
import type { ModelPrices } from './seller-offers.ts'
import { startSellerNode } from './seller-node.ts'

/** What a started seller says of itself. Prices in atomic USDC per million tokens. */
export interface SellerFacts {
  url: string
  /** The name of its node; null when it is not announced. */
  peer: string | null
  network: string
  payTo: string
  engines: { kind: string; url: string }[]
  /** Where it is announced; empty when nowhere. */
  registries: readonly string[]
  models: { id: string; priceIn: Usdc; priceOut: Usdc; maxContext: number }[]
}

export interface SellIo {
  log: Log
  ready: (facts: SellerFacts) => void
  signal: AbortSignal
  password: () => Promise<string>
}

export async function runSell(config: Config, io: SellIo): Promise<void> {
  const { sell, network } = config
  const engines = await openEngines(sell.engines, sell.engineKey ?? undefined, io.signal)
  const keys = await openKeystore(config.paths.keystore).unlock(['seller-authorizer'], await io.password())
  const authorizer = keys['seller-authorizer']
  const node = await startSellerNode({
    folder: config.paths.seller,
    network: network.terms,
    rpcUrls: network.rpcUrls,
    rpcQuorum: config.rpcQuorum,
    escrowCodeHash: config.escrowCodeHash,
    confirmation: network.confirmation,
    paysForData: network.paysForData,
    key: authorizer.privateKey,
    payTo: sell.payTo ?? authorizer.address,
    listen: sell.listen,
    engines,
    engineKey: sell.engineKey ?? undefined,
    pricesOf: pricesFrom(sell),
    maxConcurrency: sell.maxConcurrency,
    withdrawDelaySec: sell.withdrawDelaySec,
    minDeposit: sell.minDeposit,
    leastExact: sell.leastExact,
    settle: {
      threshold: sell.claimThreshold,
      intervalMs: sell.claimIntervalSec * 1000,
      profitFactor: BigInt(sell.claimProfit),
      coinPrice: sell.coinPrice,
      maxBatchGas: sell.claimGas,
    },
    maxBodyBytes: sell.maxBodyBytes,
    firstByteTimeoutMs: sell.firstByteTimeoutSec * 1000,
    idleTimeoutMs: sell.idleTimeoutSec * 1000,
    announce: await announceOptions(config, authorizer),
    log: io.log,
  })
  io.ready({
    url: sell.publicUrl ?? node.url,
    peer: node.net().peer,
    network: network.name,
    payTo: checksummed(sell.payTo ?? authorizer.address),
    engines: engines.map(({ kind, baseUrl }) => ({ kind, url: baseUrl })),
    registries: sell.announce ? config.registries : [],
    models: node.offers.all().map(({ signed: { offer, details } }) => ({
      id: details.model,
      priceIn: offer.priceIn,
      priceOut: offer.priceOut,
      maxContext: offer.maxContext,
    })),
  })
  const stopped = io.signal.aborted ? Promise.resolve([]) : once(io.signal, 'abort')
  const failure = await Promise.race([node.failed, stopped.then(() => null)])
  await node.close(failure === null ? undefined : 0)
  if (failure !== null) throw failure
}

async function announceOptions(
  { registries, p2p, sell, buy }: Config,
  wallet: { address: Address; privateKey: Hex },
): Promise<AnnounceOptions | undefined> {
  const among = peerOptions(p2p, sell)
  const isTold = among !== undefined && (p2p.bootstrap.length > 0 || (p2p.lan && !among.onlyTells))
  if (!sell.announce || (registries.length === 0 && !isTold)) return undefined
  return {
    registries,
    p2p: among,
    publicUrl: sell.publicUrl,
    region: sell.region,
    hardware: await detectHardware(),
    payToKey: sell.payTo === null || sell.payTo === wallet.address ? wallet.privateKey : null,
    takeOver: sell.takeOver,
    allowPrivate: buy.allowPrivate,
  }
}

/** Who takes no connections of peers is in the DHT all the same when it has a URL to tell. */
function peerOptions(
  p2p: Config['p2p'],
  { p2pListen: listen, p2pAnnounce: announce, publicUrl }: Config['sell'],
): P2pOptions | undefined {
  if (listen.length > 0) return { ...p2p, listen, announce }
  return publicUrl === null ? undefined : { ...p2p, listen, announce: [], onlyTells: true }
}

async function openEngines(
  urls: readonly string[],
  apiKey: string | undefined,
  signal: AbortSignal,
): Promise<Engine[]> {
  if (urls.length > 0) return Promise.all(urls.map((url) => probeEngine(url, signal, apiKey)))
  const found = await findEngines(signal)
  if (found.length > 0) return found
  throw new OpenSeedError('engine_unavailable', {
    message:
      'No inference engine answers on the usual local ports (Ollama, vLLM, llama.cpp, LM Studio, SGLang).',
    hint: 'Start one, or name it: openseed sell --engine http://127.0.0.1:11434',
  })
}

function pricesFrom(sell: Config['sell']): (model: string) => ModelPrices {
  return (model) => {
    const own = sell.models[model] ?? {}
    const priceIn = own.priceIn ?? sell.priceIn
    return {
      priceIn,
      priceCached: own.priceCached ?? sell.priceCached ?? priceIn,
      priceOut: own.priceOut ?? sell.priceOut,
      fixedPrice: own.fixedPrice ?? 0n,
      maxContext: own.maxContext,
      maxOutput: own.maxOutput,
    }
  }
}
