/**
 * Transfers signed for single requests. Each is stored before it is sent and counts in full until it is final: paid
 * when the seller delivered, else as the chain says, used or not, once it can be used no more.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Clock } from '../base/clock.ts'
import { crashPoint } from '../base/crash.ts'
import type { Log } from '../base/log.ts'
import type { Escrow } from '../chain/escrow.ts'
import type { BuyerExactRow } from '../store/buyer-exact-operations.ts'
import type { Usdc } from '../wire/amount.ts'
import type { Address, Hex } from '../wire/hex.ts'
import { overPerDay, outcomesUnknown, type BuyerCaps } from './caps.ts'
import type { BuyerStore } from './channel-book.ts'
import type { Spending } from './spending.ts'

export interface ExactBookParts {
  store: BuyerStore
  spending: Spending
  escrow: Escrow
  payer: Address
  caps: BuyerCaps
  /** A seller took money for a request that it refused or failed. */
  onTaken: (sellerUrl: string) => void
  now: Clock
  log: Log
}

interface OpenPayment {
  row: BuyerExactRow
  /** false once its reply ended without a settlement */
  running: boolean
  /** The seller itself said that it delivers nothing for it. */
  refused: boolean
}

/** `charged`: used, although no settlement came with the reply. `taken`: used, although it was refused. */
type Outcome = 'paid' | 'charged' | 'taken' | 'expired' | 'not_sent'

// Nodes behind one RPC address do not all have the newest block.
const expiryMarginSec = 30
const rememberTakersMs = 7 * 86_400_000

export class ExactBook {
  readonly #parts: ExactBookParts
  readonly #open = new Map<Hex, OpenPayment>()

  private constructor(parts: ExactBookParts) {
    this.#parts = parts
  }

  /** What an earlier run left open has no outcome until the chain tells. */
  static async load(parts: ExactBookParts): Promise<ExactBook> {
    const book = new ExactBook(parts)
    for (const row of await parts.store.read('exactUnresolved'))
      book.#open.set(row.nonce, { row, running: false, refused: false })
    return book
  }

  /** Throws `budget_exceeded` or `money_outcome_unknown` where a cap forbids to sign so much for this seller now. */
  check(sellerUrl: string, amount: Usdc): void {
    const { caps, spending, now } = this.#parts
    const spent = spending.spent(now())
    if (spent + amount > caps.maxPerDay) throw overPerDay(spent, amount, caps.maxPerDay)
    const lost = [...this.#open.values()].filter(
      ({ row, running }) => !running && row.sellerUrl === sellerUrl,
    )
    const unresolved = lost.reduce((sum, { row }) => sum + row.amount, 0n)
    if (unresolved + amount <= caps.maxUnresolved) return
    const until = Math.max(0, ...lost.map(({ row }) => row.validBeforeSec)) + expiryMarginSec
    throw outcomesUnknown(sellerUrl, until - now() / 1000, 'it holds signed transfers without an outcome')
  }

  /** Sellers that took money lately for requests that they refused. */
  takers(): Promise<string[]> {
    return this.#parts.store.read('exactTakers', { sinceMs: this.#parts.now() - rememberTakersMs })
  }

  /** Stores an authorization; it may be sent when this resolves. Called in the turn of `check`. */
  async open(
    row: Omit<BuyerExactRow, 'state' | 'charged' | 'outcome' | 'txHash' | 'closedAtMs'>,
  ): Promise<void> {
    const { store, spending, now } = this.#parts
    const stored: BuyerExactRow = {
      ...row,
      state: 'open',
      charged: 0n,
      outcome: null,
      txHash: null,
      closedAtMs: null,
    }
    this.#open.set(row.nonce, { row: stored, running: true, refused: false })
    spending.hold(row.amount)
    try {
      await store.run('exactOpen', stored)
    } catch (error) {
      this.#open.delete(row.nonce)
      spending.settle(row.amount, 0n, now())
      throw error
    }
    crashPoint('buyer.exact-opened')
  }

  /** The seller delivered: it is paid, whether or not it takes the money. */
  paid(nonce: Hex, txHash: string | null): Promise<void> {
    return this.#close(nonce, 'paid', txHash)
  }

  /** No byte of it left this machine. */
  unsent(nonce: Hex): Promise<void> {
    return this.#close(nonce, 'not_sent', null)
  }

  /** The reply ended without a settlement, or the seller refused: the chain will tell. */
  lost(nonce: Hex, { refused }: { refused: boolean }): void {
    const payment = this.#open.get(nonce)
    if (payment === undefined) return
    payment.running = false
    payment.refused = refused
  }

  /** Asks the chain about all that is lost. Throws `chain_…`. */
  async resolve(): Promise<void> {
    const { escrow, payer, onTaken, log } = this.#parts
    const lost = [...this.#open.values()].filter(({ running }) => !running)
    if (lost.length === 0) return
    // In this order: unused in a later block than the one that ended it means never used.
    const { timestampSec } = await escrow.head()
    for (const { row, refused } of lost) {
      if (await escrow.authorizationUsed(payer, row.nonce)) {
        await this.#close(row.nonce, refused ? 'taken' : 'charged', null)
        if (!refused) continue
        log.error(
          { seller: row.sellerUrl, amount: row.amount.toString() },
          'a seller took money for a request that it refused; nothing more is paid to it',
        )
        onTaken(row.sellerUrl)
      } else if (timestampSec > row.validBeforeSec + expiryMarginSec) {
        await this.#close(row.nonce, 'expired', null)
      }
    }
  }

  /** Resolves what is lost, every so often until the signal aborts. Never rejects. */
  async watch(everyMs: number, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.resolve().catch((err: unknown) => {
        this.#parts.log.debug({ err }, 'transfers without an outcome cannot be looked up')
      })
      await sleep(everyMs, undefined, { signal, ref: false }).catch(() => undefined)
    }
  }

  async #close(nonce: Hex, outcome: Outcome, txHash: string | null): Promise<void> {
    const { store, spending, now } = this.#parts
    const payment = this.#open.get(nonce)
    if (payment === undefined) return
    const { amount } = payment.row
    const charged = outcome === 'expired' || outcome === 'not_sent' ? 0n : amount
    const closedAtMs = now()
    payment.running = false
    await store.run('exactFinal', { nonce, charged, outcome, txHash, closedAtMs })
    this.#open.delete(nonce)
    spending.settle(amount, charged, closedAtMs)
  }
}
