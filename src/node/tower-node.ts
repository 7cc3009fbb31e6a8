/** Composition root of the watchtower: construct, start, dispose. No decisions live here. */
import { systemClock, type Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { checkChain, knownEscrowCode } from '../chain/check.ts'
import { openEscrow, type Head } from '../chain/escrow.ts'
import { openOutbox } from '../chain/outbox.ts'
import { openRpc } from '../chain/rpc.ts'
import { lockRole } from '../store/lock.ts'
import { openWriter } from '../store/writer.ts'
import { loadClaimBook, type ClaimBook, type TowerStore } from '../tower/claim-book.ts'
import { openFollowing, type Following } from '../tower/follow.ts'
import { openGuard } from '../tower/guard.ts'
import { openSellerSource } from '../tower/seller-source.ts'
import { openClaimSender } from '../tower/send-claims.ts'
import { watchWithdrawals } from '../tower/watch-withdrawals.ts'
import { worthOfWei, type Usdc } from '../wire/amount.ts'
import { curve } from '../wire/curve.ts'
import { openDigests } from '../wire/digests.ts'
import type { Address, Hex } from '../wire/hex.ts'
import type { NetworkTerms } from '../wire/network.ts'
import { normalCode } from '../wire/tower-auth.ts'
import { encodeTowerPairing, parseTowerPairing, type TowerPairing } from '../wire/tower.ts'
import { openControl } from './control.ts'
import { openNodeKey } from './identity.ts'
import { outboxStoreOf } from './outbox-store.ts'
import { claimWei, readGas, warnOfLowGas } from './tower-gas.ts'
import { openTowerLink, towerAddress, type TowerP2p } from './tower-link.ts'
import { towerControl } from './tower-status.ts'

export interface TowerNodeOptions {
  /** the role's own folder */
  folder: string
  network: NetworkTerms
  rpcUrls: readonly string[]
  rpcQuorum?: number | null
  escrowCodeHash?: Hex | null
  /** how deep a claim lies when it counts */
  confirmations: number
  /** pays gas, and can do nothing else */
  key: Hex
  /** addresses of sellers, beside those that were paired before */
  sellers: readonly string[]
  /** of the one seller that is not paired yet */
  code?: string | undefined
  /** seconds; null for a quarter of each channel's withdraw delay */
  headStartSec: number | null
  /** what a whole coin of the chain's gas money is worth */
  coinPrice: Usdc
  /** whether transactions pay for their bytes, besides gas */
  paysForData?: boolean
  p2p: TowerP2p
  log: Log
  now?: Clock
  /** how often the chain is asked for news */
  pollMs?: number
  /** how many channels of one seller are kept at most */
  mostChannels?: number
  /** how often all channels are looked at */
  everyMs?: number
}

export interface TowerNode {
  peer: string
  /** the account that pays gas */
  gasAddress: Address
  sellers: readonly string[]
  book: ClaimBook
  followings: ReadonlyMap<string, Following>
  /** Resolves when the node cannot go on. */
  failed: Promise<OpenSeedError>
  close: () => Promise<void>
}

const usualChannels = 10_000
const pairWithinMs = 60_000

interface Paired {
  seller: string
  pairing: TowerPairing
  cursor: string
}

export async function startTowerNode(options: TowerNodeOptions): Promise<TowerNode> {
  const { network, log, key, folder } = options
  const now = options.now ?? systemClock
  const stop = new AbortController()
  const fatal = Promise.withResolvers<OpenSeedError>()
  const wanted = [...new Set(options.sellers.map(towerAddress))]
  await using cleanup = new AsyncDisposableStack()
  cleanup.use(lockRole(folder, 'tower'))
  const store = cleanup.use(
    await openWriter({ path: `${folder}/tower.db`, schema: 'tower', onFatal: fatal.resolve }),
  )
  const { rpcQuorum: quorum = null, escrowCodeHash = null } = options
  const rpc = cleanup.use(
    openRpc({ urls: [...options.rpcUrls], chainId: network.chainId, timeoutMs: 10_000, quorum }),
  )
  const escrow = openEscrow(rpc, network)
  const { head } = await checkChain(escrow, escrowCodeHash ?? knownEscrowCode(network.chainId))
  const outboxStore = outboxStoreOf(store)
  const { confirmations } = options
  const { chainId } = network
  const { signal } = stop
  const outbox = openOutbox({ rpc, store: outboxStore, key, chainId, confirmations, now, log, signal })
  const purse = { escrow, address: outbox.address, paysForData: options.paysForData ?? false }
  const nodeKey = openNodeKey(folder)
  const link = cleanup.use(openTowerLink({ key: nodeKey, network, p2p: options.p2p, store, now, log }))
  const sourceOf = (seller: string) => openSellerSource(link.open(seller), nodeKey, now)
  const paired = await pairAll(wanted, options.code, { store, network, sourceOf, now, log })

  const book = await loadClaimBook(store, { now, mostChannels: options.mostChannels ?? usualChannels })
  const guard = openGuard({
    escrow,
    book,
    sender: openClaimSender(escrow, outbox, outboxStore),
    headStartSec: options.headStartSec,
    least: async () => (options.coinPrice === 0n ? 0n : worthOfWei(await claimWei(purse), options.coinPrice)),
    ...(options.everyMs !== undefined && { everyMs: options.everyMs }),
    now,
    log,
  })
  // What the last run saw mined may be gone.
  guard.reorged(Math.max(0, head.number - safeDepth))
  const digests = openDigests(network)
  const followings = new Map<string, Following>()
  for (const { seller, pairing, cursor } of paired) {
    const source = sourceOf(seller)
    const onNews = (ids: Hex[]) => guard.renewed(ids)
    followings.set(
      seller,
      openFollowing({ seller, pairing, cursor, source, book, digests, curve, onNews, now, log }),
    )
  }
  const heads = rpc.sources.map(({ name }) => ({ name, head: null as Head | null }))
  const onHead = (source: number, newest: Head) => void (heads[source]!.head = newest)
  const sellers = paired.map(({ seller }) => seller)
  const standing = { gasAddress: outbox.address, sellers, book, guard, followings, heads }
  cleanup.use(await openControl(folder, towerControl({ ...standing, readGas: () => readGas(purse) })))
  const { pollMs = 10_000 } = options
  const background = [
    guard.run(signal),
    watchWithdrawals({ escrow, guard, fromBlock: head.number, pollMs, onHead, log }, signal),
    ...[...followings.values()].map((following) => following.run(signal)),
    warnOfLowGas(purse, log, signal),
  ]
  const resources = cleanup.move()
  let ended: Promise<void> | undefined
  return {
    peer: nodeKey.peerId,
    gasAddress: outbox.address,
    sellers,
    book,
    followings,
    failed: fatal.promise,
    close: () =>
      (ended ??= (async () => {
        stop.abort(new OpenSeedError('shutting_down', { message: 'The watchtower is stopping.' }))
        await Promise.allSettled(background)
        await resources.disposeAsync()
      })()),
  }
}

const safeDepth = 256

/** Those paired before, and the new one with its code. */
async function pairAll(
  wanted: readonly string[],
  code: string | undefined,
  parts: {
    store: TowerStore
    network: NetworkTerms
    sourceOf: (seller: string) => ReturnType<typeof openSellerSource>
    now: Clock
    log: Log
  },
): Promise<Paired[]> {
  const { store, network, sourceOf, now, log } = parts
  const kept = (await store.read('watchedSellers')).map(({ seller, pairing, cursor }) => ({
    seller,
    pairing: parseTowerPairing(JSON.parse(pairing)),
    cursor,
  }))
  // A code that is given for one that is paired pairs it again: the seller may have lost its database.
  const isKnown = (seller: string) => kept.some((one) => one.seller === seller)
  const strangers = wanted.filter((seller) => !isKnown(seller))
  const [fresh, ...others] =
    strangers.length === 0 && code !== undefined && wanted.length === 1 ? wanted : strangers
  if (fresh === undefined && kept.length === 0) throw nobodyToWatch()
  if (fresh === undefined) return kept
  if (code === undefined || others.length > 0) throw codeNeeded(strangers)
  const signal = AbortSignal.timeout(pairWithinMs)
  const pairing = await sourceOf(fresh).pair(normalCode(code), signal)
  if (
    pairing.network !== network.caip2 ||
    pairing.escrow !== network.escrow ||
    pairing.asset !== network.asset
  )
    throw otherNetwork(fresh, pairing.network)
  const text = JSON.stringify(encodeTowerPairing(pairing))
  await store.run('watchSeller', { seller: fresh, pairing: text, cursor: '', pairedAtMs: now() })
  log.info({ seller: fresh }, 'paired with a seller')
  return [...kept.filter(({ seller }) => seller !== fresh), { seller: fresh, pairing, cursor: '' }]
}

const nobodyToWatch = () =>
  new OpenSeedError('usage', {
    message: 'This watchtower is not paired with any seller yet.',
    hint: 'openseed watch --seller ADDRESS --code CODE; the seller makes the code with openseed watchers code',
  })

const codeNeeded = (sellers: readonly string[]) =>
  new OpenSeedError('usage', {
    message: `Not paired yet: ${sellers.join(', ')}.`,
    hint: 'Pair one at a time, with a code that its seller makes: openseed watchers code',
  })

const otherNetwork = (seller: string, network: string) =>
  new OpenSeedError('chain_mismatch', {
    message: `${seller} is paid on another network, or through another escrow (${network}).`,
    hint: 'Choose its network with --network.',
  })
