/** A watchtower's way to its sellers: by URL over TLS, or to the peer that a seller is, wherever it is met. */
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { openPeerBook } from '../buyer/peer-book.ts'
import type { HostOptions } from '../net/p2p/open-host.ts'
import { normaliseSellerUrl, openSellerClient, type SellerClient } from '../net/seller-client.ts'
import { openSellerDialer } from '../net/seller-dialer.ts'
import type { TowerStore } from '../tower/claim-book.ts'
import type { NetworkTerms } from '../wire/network.ts'
import type { NodeKey } from '../wire/node-key.ts'
import type { PeerId } from '../wire/peer-id.ts'
import type { SellerRecord } from '../wire/record.ts'
import { peerOfAddress } from '../wire/seller-address.ts'
import { openBuyerHost } from './buyer-host.ts'
import { knownPeersKey } from './known-peers.ts'
import { openRegistryClients } from './registry-clients.ts'

/** How a tower takes part in the peer-to-peer network. */
export interface TowerP2p {
  registries: readonly string[]
  /** Multiaddrs of DHT servers and relays, each with its /p2p/ part. */
  bootstrap: readonly string[]
  /** Whether relayed connections may become direct. */
  punch: boolean
  /** Whether records may lead into private networks. */
  allowPrivate: boolean
  /** Changes of the host for networks that are not the usual one. */
  host?: Pick<HostOptions, 'replicas'>
}

export interface TowerLink extends AsyncDisposable {
  /** Throws `config_invalid` for an address that is none, or over which everybody could listen. */
  open(address: string): SellerClient
}

const connectTimeoutMs = 10_000
const peerKey = (peer: PeerId) => `peer.${peer}`
const loopback = /^(?:127(?:\.\d+){3}|\[::1\]|localhost)$/

/** The one spelling of a seller's address. Throws `config_invalid`, also for http to another machine. */
export function towerAddress(input: string): string {
  const address = normaliseSellerUrl(input)
  if (peerOfAddress(address) !== null) return address
  const { protocol, hostname } = new URL(address)
  if (protocol === 'https:' || loopback.test(hostname)) return address
  throw new OpenSeedError('config_invalid', {
    message: `${address} has no TLS: whoever is on the way could take the watchtower's place.`,
    hint: 'Name the seller as openseed://<peer id> or https://host.',
  })
}

/** Asks nobody yet. */
export function openTowerLink(parts: {
  key: NodeKey
  network: NetworkTerms
  p2p: TowerP2p
  store: TowerStore
  now: Clock
  log: Log
}): TowerLink {
  const { key, network, p2p, store, now, log } = parts
  const { allowPrivate } = p2p
  const resources = new AsyncDisposableStack()
  const registries = resources.use(
    openRegistryClients({ registries: p2p.registries, allowPrivate, now, log }, () => undefined),
  )
  const host = resources.use(
    openBuyerHost({
      key: () => key,
      listen: [],
      bootstrap: p2p.bootstrap,
      allowPrivate,
      punch: p2p.punch,
      registries: () => registries.all(),
      loadKnown: () => store.read('getMeta', { key: knownPeersKey }),
      saveKnown: (value) => store.run('setMeta', { key: knownPeersKey, value }),
      host: p2p.host,
      now,
      log,
    }),
  )

  async function lookUp(peer: PeerId): Promise<SellerRecord | null> {
    const asked = await Promise.allSettled(registries.all().map((registry) => registry.seller(peer)))
    const records = asked.flatMap((answer) =>
      answer.status === 'fulfilled' && answer.value !== null ? [answer.value.record] : [],
    )
    const [newest] = records.toSorted((a, b) => b.seq - a.seq)
    return newest ?? (await host.findSeller(peer))
  }

  const peers = openPeerBook({
    rules: { network, allowPrivate, allowPlainHttp: false },
    find: () => null,
    lookUp,
    load: (peer) => store.read('getMeta', { key: peerKey(peer) }),
    save: (peer, value) => store.run('setMeta', { key: peerKey(peer), value }),
    now,
    log,
  })
  const clients = new Map<PeerId, SellerClient>()
  const dialer = resources.use(
    openSellerDialer({
      host: () => host.get(),
      targetOf: (peer) => peers.targetOf(peer),
      allowPrivate,
      onBetterPath: (peer) => clients.get(peer)?.retire(),
      connectTimeoutMs,
    }),
  )

  return {
    open(input) {
      const url = towerAddress(input)
      const peer = peerOfAddress(url)
      const dial = peer === null ? undefined : (signal: AbortSignal) => dialer.dial(peer, signal)
      const client = openSellerClient({ url, connectTimeoutMs, dial })
      resources.defer(() => client.close())
      if (peer !== null) clients.set(peer, client)
      return client
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  }
}
