/** Brings money into a channel: how much, whether there is any, and what became of a deposit that was signed. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { crashPoint } from '../base/crash.ts'
import { asOpenSeedError, OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { Escrow } from '../chain/escrow.ts'
import { formatUsd, type Usdc } from '../wire/amount.ts'
import type { Curve } from '../wire/curve.ts'
import type { Digests } from '../wire/digests.ts'
import { checksummed, type Hex } from '../wire/hex.ts'
import { overDeposit, type BuyerCaps } from './caps.ts'
import type { Channel } from './channel.ts'
import type { ChannelBook } from './channel-book.ts'
import type { DepositGuard } from './deposit-guard.ts'
import { signDeposit, type PendingDeposit } from './pending-deposit.ts'
import type { Spending } from './spending.ts'

export interface FundingParts {
  book: ChannelBook
  spending: Spending
  escrow: Escrow
  guardDeposit: DepositGuard
  digests: Digests
  curve: Curve
  payerKey: Hex
  caps: BuyerCaps
  randomWord: () => Hex
  now: Clock
  log: Log
}

/** What a request lacks, and the least its seller takes. */
export interface Shortage {
  missing: Usdc
  ceiling: Usdc
  minDeposit: Usdc
}

// A deposit costs the seller gas, so it pays for more than one request of this size.
const requestsPerDeposit = 32n
const clockToleranceSec = 300
// Nodes behind one RPC address do not all have the newest block.
const expiryMarginSec = 30
const firstPollMs = 100
const longestPollMs = 4000

/** Signs a deposit for what is missing. Throws `budget_exceeded`, `balance_insufficient`, `clock_skewed`, `chain_…`. */
export async function prepareDeposit(
  channel: Channel,
  { missing, ceiling, minDeposit }: Shortage,
  parts: FundingParts,
): Promise<PendingDeposit> {
  const { escrow, guardDeposit, now, randomWord } = parts
  const least = max(minDeposit, missing)
  if (depositRoom(channel, parts).room < least) await releaseExpired(parts)
  const { room, cap } = depositRoom(channel, parts)
  if (room < least) throw overDeposit(least, room, cap)
  const { payer } = channel.config
  const [wallet] = await Promise.all([escrow.tokenBalance(payer), guardDeposit()])
  const nowSec = Math.floor(now() / 1000)
  if (wallet < least) throw walletEmpty(channel, wallet, least)
  const amount = min(max(least, missing + requestsPerDeposit * ceiling), min(room, wallet))
  const signer = { ...parts, network: escrow.network }
  return signDeposit(signer, channel, { amount, salt: randomWord(), nowSec })
}

/** The most that the caps let a new deposit be, below 0 when they are passed already; and the cap that says so. */
export function depositRoom(
  channel: Channel,
  { book, caps, spending, now }: FundingParts,
): { room: Usdc; cap: 'max_deposit_per_seller' | 'max_per_day' } {
  const unspent = book
    .all()
    .filter((other) => isSameSeller(other, channel) && other.state !== 'closed')
    .reduce((sum, { ledger }) => sum + max(0n, ledger.balance - ledger.charged), 0n)
  const atSeller = caps.maxDepositPerSeller - unspent
  const today = caps.maxPerDay - spending.depositedToday(now())
  return atSeller < today
    ? { room: atSeller, cap: 'max_deposit_per_seller' }
    : { room: today, cap: 'max_per_day' }
}

/** Deposits to sellers that are never asked again may have expired without anyone looking. */
async function releaseExpired(parts: FundingParts): Promise<void> {
  const overSec = parts.now() / 1000 - expiryMarginSec
  for (const channel of parts.book.all()) {
    if (channel.deposit === null || channel.deposit.authorization.validBefore > overSec) continue
    await resolveDeposit(channel, parts).catch((err: unknown) => {
      parts.log.debug({ channel: channel.id, err }, 'an expired deposit cannot be looked up')
    })
  }
}

// By any of its addresses, and whoever is paid at the same one.
function isSameSeller(a: Channel, b: Channel): boolean {
  if (a.sellerUrl === b.sellerUrl) return true
  const { receiver, receiverAuthorizer } = a.config
  return receiver === b.config.receiver && receiverAuthorizer === b.config.receiverAuthorizer
}

/**
 * Looks on the chain for a deposit whose outcome is unknown and books what is found. True when nothing is pending any
 * more. Throws `chain_…` or `store_unavailable`.
 */
export async function resolveDeposit(channel: Channel, parts: FundingParts): Promise<boolean> {
  const { book, escrow, digests, now } = parts
  await book.fresh(channel)
  const { deposit } = channel
  if (deposit === null) return true
  const { salt, validBefore } = deposit.authorization
  // In this order: unused in a later block than the one that ended it means never used.
  const head = await escrow.head()
  const nonce = digests.depositNonce(channel.id, salt)
  const isUsed = await escrow.authorizationUsed(channel.config.payer, nonce)
  const isOver = head.timestampSec > validBefore + expiryMarginSec
  const isExpired = isOver || now() / 1000 > validBefore + clockToleranceSec
  if (!isUsed && !isExpired) return false
  const { balance } = await escrow.channel(channel.id)
  const isIn = balance >= channel.ledger.balance + deposit.amount
  // Used without effect for the channel: this node is behind, or the payer cancelled it.
  if (isUsed && !isIn && !isExpired) return false
  if (isUsed) crashPoint('buyer.deposit-sent')
  await book.fresh(channel)
  if (channel.deposit?.authorization.salt !== salt) return true
  channel.deposit = null
  if (isUsed) channel.ledger.balance = balance
  await book.save(channel)
  // By the chain's time and by ours: whoever lies about one of them frees no room of the day before its time.
  if (!isUsed && isOver && now() / 1000 > validBefore) await book.forgetDeposit(channel, deposit)
  parts.log.info(
    { channel: channel.id, amount: deposit.amount.toString(), arrived: isUsed },
    isUsed ? 'deposit arrived' : 'deposit expired unused',
  )
  book.wake(channel)
  return true
}

/** Polls the chain until the deposit has an outcome or `over` aborts; then it looks once more. Never rejects. */
export async function watchDeposit(channel: Channel, parts: FundingParts, over: AbortSignal): Promise<void> {
  for (let waitMs = firstPollMs; ; waitMs = Math.min(waitMs * 2, longestPollMs)) {
    const isLast = over.aborted
    try {
      if (await resolveDeposit(channel, parts)) return
    } catch (thrown) {
      parts.log.warn({ channel: channel.id, err: asOpenSeedError(thrown) }, 'the deposit cannot be looked up')
    }
    if (isLast) return
    await sleep(waitMs, undefined, { signal: over }).catch(() => undefined)
  }
}

function walletEmpty(channel: Channel, wallet: Usdc, needed: Usdc): OpenSeedError {
  const address = checksummed(channel.config.payer)
  return new OpenSeedError('balance_insufficient', {
    message: `The wallet ${address} holds ${formatUsd(wallet)} in USDC; a deposit of ${formatUsd(needed)} is needed.`,
    hint: `Send USDC to ${address}.`,
    details: { address, wallet: wallet.toString(), needed: needed.toString() },
  })
}

const max = (a: Usdc, b: Usdc): Usdc => (a > b ? a : b)
const min = (a: Usdc, b: Usdc): Usdc => (a < b ? a : b)
