/** `openseed registry`: configuration in, a running registry out, until the signal says stop. */
import { once } from 'node:events'
import { setFlagsFromString } from 'node:v8'
import { systemClock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import { openRpc } from '../chain/rpc.ts'
import { openWalletCheck } from '../chain/contract-wallet.ts'
import type { Config } from '../config/config.ts'
import { openNodeKey } from './identity.ts'
import { startRegistryNode } from './registry-node.ts'

/** What a started registry says of itself. */
export interface RegistryFacts {
  url: string
  network: string
  peer: string
  peers: readonly string[]
  /** Multiaddrs through which others join the DHT and are relayed; none where that is switched off. */
  dht: readonly string[]
}

export interface RegistryIo {
  log: Log
  /** Written into answers and logs, so that others know what they talk to. */
  build: string
  ready: (facts: RegistryFacts) => void
  signal: AbortSignal
}

const rpcTimeoutMs = 3_000

export async function runRegistry(config: Config, { log, build, ready, signal }: RegistryIo): Promise<void> {
  // The space for short-lived objects would grow to 64 MiB and never shrink: more than ten thousand sellers take.
  setFlagsFromString('--semi-space-growth-factor=1')
  const { network, registry } = config
  await using rpc = openRpc({
    urls: network.rpcUrls,
    chainId: network.terms.chainId,
    timeoutMs: rpcTimeoutMs,
  })
  await using node = await startRegistryNode({
    key: openNodeKey(config.paths.registry),
    network: network.terms,
    ...registry,
    dht:
      registry.p2pListen.length === 0
        ? null
        : {
            listen: registry.p2pListen,
            announce: registry.p2pAnnounce,
            bootstrap: config.p2p.bootstrap,
          },
    isValidSignature: openWalletCheck(rpc),
    build,
    now: systemClock,
    log,
  })
  const { url, peerId: peer } = node
  ready({ url, network: network.name, peer, peers: registry.peers, dht: node.dhtAddrs() })
  if (!signal.aborted) await once(signal, 'abort')
}
