/** `openseed buy`: wallet and configuration in, a running buyer out, until the signal says stop. */
import { once } from 'node:events'
import type { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Config } from '../config/config.ts'
import { checksummed } from '../wire/hex.ts'
import { startBuyerNode, type BuyerNodeOptions } from './buyer-node.ts'
import { openKeystore } from './keystore.ts'

/** What a started buyer says of itself. */
export interface BuyerFacts {
  /** What OpenAI's clients take, with `/v1`. */
  baseUrl: string
  network: string
  payer: string
  /** Where sellers are looked for. */
  registries: readonly string[]
  /** How many DHT servers are told to begin with, beside those that registries name. */
  bootstrap: number
  /** Those that were named, with the models that are known without asking. */
  sellers: { url: string; models: string[] }[]
}

export interface BuyIo {
  log: Log
  ready: (facts: BuyerFacts) => void
  signal: AbortSignal
  password: () => Promise<string>
}

/** Runs until the signal, or throws what makes it impossible to go on. */
export async function runBuy(config: Config, io: BuyIo): Promise<void> {
  const node = await startBuyerNode({
    ...(await buyerOptions(config, io)),
    listen: { host: '127.0.0.1', port: config.buy.port },
  })
  io.ready({
    baseUrl: `${node.url}/v1`,
    network: config.network.name,
    payer: checksummed(node.payer),
    registries: config.registries,
    bootstrap: config.p2p.bootstrap.length,
    sellers: config.buy.sellers.map((url) => ({
      url,
      models: node.market.terms(url)?.offers.map(({ details }) => details.model) ?? [],
    })),
  })
  const stopped = io.signal.aborted ? null : once(io.signal, 'abort').then(() => null)
  const failure: OpenSeedError | null = await Promise.race([stopped, node.failed])
  await node.close(failure === null ? undefined : 0)
  if (failure !== null) throw failure
}

/** Everything but where to listen. Unlocks the wallet. */
export async function buyerOptions(
  config: Config,
  io: Pick<BuyIo, 'log' | 'password'>,
): Promise<Omit<BuyerNodeOptions, 'listen'>> {
  const { buy, network } = config
  const keystore = openKeystore(config.paths.keystore)
  const keys = await keystore.unlock(['payer', 'buyer-authorizer'], await io.password())
  return {
    folder: config.paths.buyer,
    network: network.terms,
    rpcUrls: network.rpcUrls,
    rpcQuorum: config.rpcQuorum,
    escrowCodeHash: config.escrowCodeHash,
    confirmation: network.confirmation,
    keys: { payer: keys.payer.privateKey, authorizer: keys['buyer-authorizer'].privateKey },
    sellers: buy.sellers,
    registries: config.registries,
    allowPrivate: buy.allowPrivate,
    allowPlainHttp: buy.allowPlainHttp,
    p2p: { ...config.p2p, listen: buy.p2pListen, trustless: buy.trustless },
    caps: buy,
    allowV1: buy.allowV1,
    maxBodyBytes: buy.maxBodyBytes,
    firstByteTimeoutMs: buy.firstByteTimeoutSec * 1000,
    idleTimeoutMs: buy.idleTimeoutSec * 1000,
    log: io.log,
  }
}
