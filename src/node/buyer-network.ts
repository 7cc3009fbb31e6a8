/** How a buyer meets sellers: who they are, where they are, and connections to them. Put together, no decisions. */
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { BuyerStore } from '../buyer/channel-book.ts'
import { openPeerBook } from '../buyer/peer-book.ts'
import { openWalletCheck } from '../chain/contract-wallet.ts'
import type { Rpc } from '../chain/rpc.ts'
import type { ResolveTxt } from '../net/bootstrap.ts'
import type { HostOptions } from '../net/p2p/open-host.ts'
import type { SellerClient } from '../net/seller-client.ts'
import { openSellerDialer } from '../net/seller-dialer.ts'
import type { Curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import type { NetworkTerms } from '../wire/network.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { openBuyerClients } from './buyer-clients.ts'
import { openBuyerHost } from './buyer-host.ts'
import { openDiscovery, type BuyerDiscovery } from './discovery.ts'
import { openNodeKey } from './identity.ts'
import { knownPeersKey } from './known-peers.ts'

/** How a buyer takes part in the peer-to-peer network. */
export interface BuyerP2p {
  /** Multiaddrs of DHT servers and relays, each with its /p2p/ part. */
  bootstrap?: readonly string[]
  /** Multiaddrs to listen on; a buyer needs none. */
  listen?: readonly string[]
  /** Whether relayed connections may become direct; true unless told. */
  punch?: boolean
  /** Whether the local network is listened to for sellers. */
  lan?: boolean
  /** Whether the DHT is asked although registries answer. */
  trustless?: boolean
  /** Changes of the host for networks that are not the usual one. */
  host?: Pick<HostOptions, 'replicas'>
}

export interface BuyerNetworkOptions {
  folder: string
  network: NetworkTerms
  sellers: readonly string[]
  registries?: readonly string[]
  allowPrivate?: boolean
  allowPlainHttp?: boolean
  p2p?: BuyerP2p
  resolveTxt?: ResolveTxt
  connectTimeoutMs?: number
  /** null: nobody is looked for, unless `seek` says so */
  listen: object | null
  seek?: boolean
  rpc: Rpc
  store: BuyerStore
  digests: Digests
  curve: Curve
  now: Clock
  log: Log
}

export interface BuyerNetwork extends AsyncDisposable {
  clientFor: (address: string) => SellerClient
  /** null when there is nobody to ask, or nobody is looked for */
  discovery: BuyerDiscovery | null
}

const usualConnectMs = 5000
const peerKey = (peer: PeerId) => `peer.${peer}`

/** Asks nobody yet. */
export function openBuyerNetwork(options: BuyerNetworkOptions): BuyerNetwork {
  const { folder, network, store, now, log, p2p = {}, registries = [] } = options
  const { allowPrivate = false, allowPlainHttp = false, connectTimeoutMs = usualConnectMs } = options
  const { bootstrap = [], lan = false, trustless = false } = p2p
  const rules = { network, allowPrivate, allowPlainHttp }
  const resources = new AsyncDisposableStack()
  let discovery: BuyerDiscovery | null = null
  const host = resources.use(
    openBuyerHost({
      key: () => openNodeKey(folder),
      listen: p2p.listen ?? [],
      punch: p2p.punch ?? true,
      bootstrap,
      allowPrivate,
      onNeighbour: lan ? (target) => discovery?.met(target) : undefined,
      registries: () => discovery?.registries() ?? [],
      loadKnown: () => store.read('getMeta', { key: knownPeersKey }),
      saveKnown: (value) => store.run('setMeta', { key: knownPeersKey, value }),
      host: p2p.host,
      now,
      log,
    }),
  )
  const peers = openPeerBook({
    rules,
    find: (peer) => discovery?.find(peer) ?? null,
    lookUp: (peer) => host.findSeller(peer),
    load: (peer) => store.read('getMeta', { key: peerKey(peer) }),
    save: (peer, value) => store.run('setMeta', { key: peerKey(peer), value }),
    now,
    log,
  })
  const dialer = resources.use(
    openSellerDialer({
      host: () => host.get(),
      targetOf: (peer) => peers.targetOf(peer),
      allowPrivate,
      onBetterPath: (peer) => clients.renew(peer),
      connectTimeoutMs,
    }),
  )
  const clients = resources.use(
    openBuyerClients({ told: options.sellers, allowPrivate, connectTimeoutMs, dialer, log }),
  )
  const clientFor = (address: string) => clients.get(address)
  // What only moves money asks nobody for sellers.
  const seeks = options.listen !== null || options.seek === true
  if (seeks && (registries.length > 0 || bootstrap.length > 0 || lan)) {
    discovery = openDiscovery({
      ...options,
      registries,
      trustless,
      lan,
      rules,
      isValidSignature: openWalletCheck(options.rpc),
      host,
      clientFor,
      connectTimeoutMs,
    })
  }
  return { clientFor, discovery, [Symbol.asyncDispose]: () => resources.disposeAsync() }
}
