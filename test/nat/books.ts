/** What buyers and sellers have written down of what they owe each other. */
import { expect, vi } from 'vitest'
import { openReader } from '../../src/store/reader.ts'
import type { Usdc } from '../../src/wire/amount.ts'
import type { Hex } from '../../src/wire/hex.ts'
import type { Place } from './program.ts'
import type { TownSeller } from './town.ts'

const settleMs = 20_000

/** One channel as one of its two sides knows it. */
export interface Account {
  charged: Usdc
  /** How many requests are not settled. */
  open: number
}

/** A buyer's channel, and how its requests ended. */
export interface BuyerAccount extends Account {
  id: Hex
  /** Address of the seller. */
  seller: string
  requests: { charged: Usdc; hasReceipt: boolean; outcome: string | null }[]
}

function buyerBooks(home: string): BuyerAccount[] {
  using reader = openReader(`${home}/buyer/local/buyer.db`, 'buyer')
  if (reader === null) return []
  const requests = reader.read('listRequests', { limit: 1_000 })
  return reader.read('loadChannels').map(({ id, sellerUrl: seller, charged, openRequests = [] }) => ({
    id,
    seller,
    charged,
    open: openRequests.length,
    requests: requests
      .filter(({ channelId }) => channelId === id)
      .map((each) => ({ charged: each.charged, hasReceipt: each.receipt !== null, outcome: each.outcome }))
      .toReversed(),
  }))
}

function sellerBooks(home: string): Map<Hex, Account> {
  using reader = openReader(`${home}/seller/local/seller.db`, 'seller')
  const channels = reader?.read('loadChannels') ?? []
  return new Map(
    channels.map(({ id, charged, openRequests = [] }) => [id, { charged, open: openRequests.length }]),
  )
}

/** What a buyer has written down of a seller: one account, if it ever bought from it. */
export function accountsWith(buyer: Place, seller: Pick<TownSeller, 'address'>): BuyerAccount[] {
  return buyerBooks(buyer.home).filter((account) => account.seller === seller.address())
}

/**
 * Waits until nothing is open on either side, and demands that both have the same sum, that of the requests; all of
 * them answered, where that is said, each with a receipt.
 */
export async function areEven(buyer: Place, seller: TownSeller, outcome?: 'answered'): Promise<void> {
  const look = () => {
    const accounts = accountsWith(buyer, seller)
    const account = accounts[0]!
    return { accounts, account, theirs: sellerBooks(seller.home).get(account.id) }
  }
  const isSettled = () => look().account.open === 0 && look().theirs?.open === 0
  await vi.waitUntil(isSettled, { timeout: settleMs, interval: 50 })
  const { accounts, account, theirs } = look()
  expect(accounts).toHaveLength(1)
  expect(account.charged).toBe(account.requests.reduce((sum, { charged }) => sum + charged, 0n))
  expect(theirs).toEqual({ charged: account.charged, open: 0 })
  if (outcome === undefined) return
  const isPlain = account.requests.every((each) => each.hasReceipt && each.outcome === outcome)
  expect(isPlain).toBe(true)
}
