/** Sellers found in the DHT, for when registries are few or not to be relied on: by model, and from the list of all. */
import { setTimeout as sleep } from 'node:timers/promises'
import { atOnce } from '../base/at-once.ts'
import type { Clock } from '../base/clock.ts'
import { asOpenSeedError, type OpenSeedError } from '../base/errors.ts'
import type { Digests } from '../wire/digests.ts'
import type { Hex } from '../wire/hex.ts'
import { bindingHash, type SignedBinding } from '../wire/peer-binding.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { allSellers } from '../wire/seller-record.ts'
import type { Dht, FoundSeller } from './p2p/open-host.ts'
import type { SellerNews } from './seller-news.ts'

export interface DhtFeedParts {
  /** The DHT once this node has joined it; null when no way into it is known. Throws what keeps it from joining. */
  dht: (signal: AbortSignal) => Promise<Pick<Dht, 'findSellers' | 'getSeller' | 'getBinding'> | null>
  /** Whether the DHT is to be asked now. */
  isNeeded: () => boolean
  digests: Digests
  /** Takes what was found; resolves when it can be used, with how many of them can. */
  onFound: (news: readonly SellerNews[]) => Promise<number>
  /** What went wrong the last time; null when nothing did. */
  onState: (error: OpenSeedError | null) => void
  now: Clock
}

export interface DhtFeed extends AsyncDisposable {
  /**
   * Looks for sellers of the model now, if nobody did lately, and again for as long as it is among the last that were
   * asked for. Resolves when the lookup is over, and what it found was taken; at once when the DHT is not needed.
   */
  look(model: string): Promise<void>
}

const tickMs = 1_000
const againMs = 60_000
const firstRetryMs = 5_000
const mostWanted = 64
const longestModel = 256
const sellersPerLookup = 32
const recordsAtOnce = 8
const patienceMs = 500
const lookUpMs = 4_000
const mostBindings = 2_048

interface Wish {
  dueMs: number
  waitMs: number
  running: Promise<void> | null
}

export function openDhtFeed(parts: DhtFeedParts): DhtFeed {
  const { now, digests } = parts
  const stop = new AbortController()
  const wishes = new Map<string, Wish>([[allSellers, newWish()]])
  /** By digest, so that a record of the same wallet and node needs no second lookup. */
  const bindings = new Map<Hex, SignedBinding>()

  function keep(hash: Hex, binding: SignedBinding | null): SignedBinding | null {
    // It may be an older one, from before the wallet or the key was changed.
    if (binding === null || bindingHash(digests, binding) !== hash) return null
    const [oldest] = bindings.keys()
    if (oldest !== undefined && bindings.size >= mostBindings) bindings.delete(oldest)
    bindings.set(hash, binding)
    return binding
  }

  async function bindingOf(dht: Pick<Dht, 'getBinding'>, found: FoundSeller, signal: AbortSignal) {
    const { peer, body } = found.document
    const hash = body.bindingHash
    const near = bindings.get(hash) ?? keep(hash, found.binding)
    if (near !== null) return near
    const asked = await dht.getBinding(peer, { signal })
    return keep(hash, asked?.document ?? null)
  }

  /** True when somebody was found. */
  async function lookUp(model: string): Promise<boolean> {
    const signal = AbortSignal.any([stop.signal, AbortSignal.timeout(lookUpMs)])
    const dht = await parts.dht(signal)
    if (dht === null) return false
    const peers = await dht.findSellers(model, { limit: sellersPerLookup, signal })
    const inTurn = atOnce(recordsAtOnce, patienceMs)
    let hasFound = false
    const meet = async (peer: PeerId) => {
      const seller = await dht.getSeller(peer, { agree: 1, binding: true, signal })
      const binding = seller && (await bindingOf(dht, seller, signal))
      if (seller === null || binding === null || stop.signal.aborted) return
      // Each at once: a request may be waiting for just this one.
      const usable = await parts.onFound([{ record: seller.document, binding, heartbeat: null }])
      hasFound ||= usable > 0
    }
    await Promise.all(peers.map((peer) => inTurn(() => meet(peer))))
    return hasFound
  }

  async function fulfil(model: string, wish: Wish): Promise<void> {
    let hasFound = false
    try {
      hasFound = await lookUp(model)
      parts.onState(null)
    } catch (thrown) {
      if (!stop.signal.aborted) parts.onState(asOpenSeedError(thrown))
    }
    wish.waitMs = hasFound ? againMs : Math.min(2 * wish.waitMs, againMs)
    wish.dueMs = now() + wish.waitMs
    wish.running = null
  }

  function begin(model: string, wish: Wish): Promise<void> {
    wish.running ??= fulfil(model, wish)
    return wish.running
  }

  function wishFor(model: string): Wish {
    const wish = wishes.get(model) ?? newWish()
    // The last asked for is the last to be forgotten.
    wishes.delete(model)
    wishes.set(model, wish)
    const oldest = [...wishes].find(([name, { running }]) => name !== allSellers && running === null)?.[0]
    if (wishes.size > mostWanted && oldest !== undefined && oldest !== model) wishes.delete(oldest)
    return wish
  }

  async function goOn(): Promise<void> {
    while (!stop.signal.aborted) {
      if (parts.isNeeded()) {
        for (const [model, wish] of wishes) if (wish.dueMs <= now()) void begin(model, wish)
      }
      await sleep(tickMs, undefined, { signal: stop.signal, ref: false }).catch(() => undefined)
    }
  }

  const going = goOn()
  return {
    async look(model) {
      // Nobody can be listed under it, and it would be kept for long.
      if (model.length > longestModel) return
      const wish = wishFor(model)
      if (wish.running !== null) return await wish.running
      if (wish.dueMs <= now() && parts.isNeeded() && !stop.signal.aborted) await begin(model, wish)
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      await going
      await Promise.all([...wishes.values()].flatMap(({ running }) => running ?? []))
    },
  }
}

const newWish = (): Wish => ({ dueMs: 0, waitMs: firstRetryMs / 2, running: null })
