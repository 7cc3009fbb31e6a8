/** The channel that pays a seller: from the store, or from the chain when the store has none. */
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { ChannelOnChain, Escrow } from '../chain/escrow.ts'
import { channelSalt, type ChannelConfig } from '../wire/channel.ts'
import type { Digests } from '../wire/digests.ts'
import type { Address, Hex } from '../wire/hex.ts'
import { keccak256 } from '../wire/keccak.ts'
import type { SellerTerms } from '../wire/terms.ts'
import { firstLaneIndex, isLane, type Channel } from './channel.ts'
import type { ChannelBook } from './channel-book.ts'

export interface FinderParts {
  book: ChannelBook
  escrow: Escrow
  digests: Digests
  authorizerKey: Hex
  payer: Address
  payerAuthorizer: Address
  now: Clock
  log: Log
}

type Party = Omit<ChannelConfig, 'salt'>

const scanAtOnce = 4
export const indexesOfParty = 1024

export class ChannelFinder {
  readonly #parts: FinderParts
  readonly #scans = new Map<string, Promise<Channel>>()

  constructor(parts: FinderParts) {
    this.#parts = parts
  }

  /**
   * The channel under these terms; a new one has no row and no money yet. With a stored channel it asks nobody; else
   * it looks at the chain first, because a store that was lost must not sign as if nothing had been signed. Throws
   * `chain_…` then.
   */
  async find(sellerUrl: string, terms: SellerTerms): Promise<Channel> {
    const known = this.stored(terms)
    if (known !== undefined) {
      // The same parties at another address: what is asked about this money is asked where it is paid now.
      known.sellerUrl = sellerUrl
      return known
    }
    const party = this.#partyOf(terms)
    const key = JSON.stringify(party)
    const scan = this.#scans.get(key) ?? this.#scan(sellerUrl, party).finally(() => this.#scans.delete(key))
    this.#scans.set(key, scan)
    return scan
  }

  /** The channel under these terms, if it is known without the chain. */
  stored(terms: SellerTerms): Channel | undefined {
    const party = this.#partyOf(terms)
    return this.#parts.book
      .all()
      .find(
        ({ index, state, config }) =>
          !isLane({ index }) &&
          state !== 'closed' &&
          config.payer === party.payer &&
          config.payerAuthorizer === party.payerAuthorizer &&
          config.receiver === party.receiver &&
          config.receiverAuthorizer === party.receiverAuthorizer &&
          config.token === party.token &&
          config.withdrawDelay === party.withdrawDelay,
      )
  }

  async #scan(sellerUrl: string, party: Party): Promise<Channel> {
    const { book, escrow } = this.#parts
    for (let index = firstIndex(party); ; index += scanAtOnce) {
      const candidates = Array.from({ length: scanAtOnce }, (_, ahead) => this.#number(party, index + ahead))
      const onChain = await escrow.channels(candidates.map(({ id }) => id))
      for (const [at, candidate] of candidates.entries()) {
        const stored = book.find(candidate.id)
        if (stored?.state === 'closed') continue
        if (stored !== undefined) return stored
        const facts = onChain[at]
        if (facts === undefined || isUnused(facts)) return book.add({ ...candidate, sellerUrl })
        const found = await takeOver({ ...candidate, sellerUrl }, facts, this.#parts)
        if (found.state !== 'closed') return found
      }
    }
  }

  #partyOf(terms: SellerTerms): Party {
    const { payer, payerAuthorizer } = this.#parts
    return {
      payer,
      payerAuthorizer,
      receiver: terms.payTo,
      receiverAuthorizer: terms.receiverAuthorizer,
      token: terms.asset,
      withdrawDelay: terms.withdrawDelay,
    }
  }

  #number(party: Party, index: number): { id: Hex; config: ChannelConfig; index: number } {
    const { digests, authorizerKey } = this.#parts
    const config = { ...party, salt: channelSalt(authorizerKey, index) }
    return { id: digests.channelId(config), config, index }
  }
}

/** A channel of ours that the chain knows and the store does not: the store was lost. */
export async function takeOver(
  facts: { id: Hex; config: ChannelConfig; index: number; sellerUrl: string },
  { balance, totalClaimed, withdrawInitiatedAtSec }: ChannelOnChain,
  { book, now, log }: Pick<FinderParts, 'book' | 'now' | 'log'>,
): Promise<Channel> {
  const channel = book.add(facts)
  Object.assign(channel.ledger, {
    balance,
    charged: totalClaimed,
    signed: totalClaimed,
    proven: totalClaimed,
  })
  if (balance === totalClaimed) channel.state = 'closed'
  else if (withdrawInitiatedAtSec > 0) channel.state = 'withdrawing'
  log.warn(
    { channel: channel.id, seller: channel.sellerUrl, balance: balance.toString() },
    'the chain has a channel that the store does not know: its state is asked of the seller',
  )
  await book.markLost(channel, Math.floor(now() / 1000))
  return channel
}

/** The index of the key that gave a channel its salt; null when it is not this key's channel. */
export function channelIndex(authorizerKey: Hex, config: ChannelConfig): number | null {
  const first = firstIndex(config)
  for (const from of [first, firstLaneIndex + first])
    for (let index = from; index < from + indexesOfParty; index += 1)
      if (channelSalt(authorizerKey, index) === config.salt) return index
  return null
}

const isUnused = (channel: ChannelOnChain) =>
  channel.balance === 0n && channel.totalClaimed === 0n && channel.refundNonce === 0n

/**
 * Where the channels of these parties start to count: a place of their own among the indexes of the key, so that the
 * key and the seller's terms alone find them again.
 */
export function firstIndex({
  receiver,
  receiverAuthorizer,
  token,
  withdrawDelay,
}: Omit<Party, 'payer' | 'payerAuthorizer'>): number {
  const place = keccak256(JSON.stringify([receiver, receiverAuthorizer, token, withdrawDelay]))
  return Number(BigInt(place) >> 216n) * indexesOfParty
}
