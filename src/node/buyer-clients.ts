/** The buyer's connections: one client for each seller, over HTTP or over the peer-to-peer side, whichever leads to it. */
import type { Log } from '../base/log.ts'
import { guardedLookup, isPublicUrl } from '../net/guarded-lookup.ts'
import { normaliseSellerUrl, openSellerClient, type SellerClient } from '../net/seller-client.ts'
import type { SellerDialer } from '../net/seller-dialer.ts'
import { peerAddress, peerOfAddress } from '../wire/seller-address.ts'
import type { PeerId } from '../wire/peer-id.ts'

export interface BuyerClientsParts {
  /** Addresses that the user named. */
  told: readonly string[]
  allowPrivate: boolean
  connectTimeoutMs: number
  dialer: Pick<SellerDialer, 'dial'>
  log: Log
}

export interface BuyerClients extends AsyncDisposable {
  /** Also for sellers of old channels that are no longer bought from. */
  get(address: string): SellerClient
  /** There is a better way to the peer: what is asked from now on takes it. */
  renew(peer: PeerId): void
}

export function openBuyerClients(parts: BuyerClientsParts): BuyerClients {
  const { allowPrivate, connectTimeoutMs, dialer, log } = parts
  const clients = new Map<string, SellerClient>()
  const told = new Set(parts.told.map(normaliseSellerUrl))
  // A private address was never taken from a registry, so the user named it; a public name may lead there one day.
  const isGuarded = (url: string) => !allowPrivate && !told.has(url) && isPublicUrl(url)

  function open(url: string): SellerClient {
    const peer = peerOfAddress(url)
    if (peer === null) {
      const lookup = isGuarded(url) ? guardedLookup() : undefined
      return openSellerClient({ url, connectTimeoutMs, lookup })
    }
    const client = openSellerClient({ url, connectTimeoutMs, dial: (signal) => dialer.dial(peer, signal) })
    return tellingPath(client, log)
  }

  return {
    get(address) {
      const url = normaliseSellerUrl(address)
      const client = clients.get(url) ?? open(url)
      clients.set(url, client)
      return client
    },
    renew: (peer) => clients.get(peerAddress(peer))?.retire(),
    async [Symbol.asyncDispose]() {
      await Promise.all([...clients.values()].map((client) => client.close()))
    },
  }
}

function tellingPath(client: SellerClient, log: Log): SellerClient {
  let last: string | null = null
  return {
    ...client,
    async request(request) {
      const reply = await client.request(request)
      const path = client.path()
      if (path !== null && path !== last)
        log.info({ seller: client.url, path, before: last }, 'way to a seller')
      last = path ?? last
      return reply
    },
  }
}
