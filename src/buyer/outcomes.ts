/**
 * Learns what requests cost: from their own receipts, and for those that were lost by asking the seller until it
 * knows. A receipt that does not explain its charge ends the relationship.
 */
import { crashPoint } from '../base/crash.ts'
import { asOpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { SellerClient } from '../net/seller-client.ts'
import type { Usdc } from '../wire/amount.ts'
import type { Final } from '../wire/extension.ts'
import type { Hex } from '../wire/hex.ts'
import type { SignedReceipt } from '../wire/receipt.ts'
import type { StatusReply } from '../wire/status.ts'
import { isLane, type Channel } from './channel.ts'
import type { ChannelBook } from './channel-book.ts'
import type { ObservedReply } from './check.ts'
import type { Accusation, Distrust } from './distrust.ts'
import { judgeReceipt, type ReceiptRefusal } from './judge-receipt.ts'
import { askStatus, type StatusParts } from './status-client.ts'

export interface OutcomeParts extends StatusParts {
  book: ChannelBook
  distrust: Distrust
  clientFor: (sellerUrl: string) => SellerClient
  log: Log
}

export interface Booked {
  charged: Usdc
  receipt: SignedReceipt
}

export type Booking = ({ kind: 'booked' } & Booked) | { kind: 'refused'; reason: Accusation }

interface Search {
  /** Asks at once instead of after the pause. */
  hurry: () => void
  done: Promise<void>
}

const firstPauseMs = 100
const longestPauseMs = 30_000

export class Outcomes {
  readonly #parts: OutcomeParts
  readonly #stop = new AbortController()
  readonly #searches = new Map<Hex, Search>()
  readonly #waiting = new Map<Hex, (booked: Booked | null) => void>()
  /** Receipts that were refused once: asking again brings the same. */
  readonly #hopeless = new Set<Hex>()

  constructor(parts: OutcomeParts) {
    this.#parts = parts
  }

  /** Books the receipt of a request, or refuses it and the seller with it. Throws `store_unavailable`. */
  async book(
    channel: Channel,
    requestId: Hex,
    signed: SignedReceipt,
    observed: ObservedReply | null,
    outcome: string,
  ): Promise<Booking> {
    const { book, distrust } = this.#parts
    const verdict = judgeReceipt(channel, requestId, signed, observed, this.#parts)
    if (verdict.kind === 'refuse') return this.#refuse(channel, requestId, signed, verdict.reason, outcome)
    const isDisputed = verdict.kind === 'dispute'
    if (isDisputed) await distrust.accuse(channel, signed, verdict.reason)
    crashPoint('buyer.final')
    const { agreed } = channel
    const charged =
      (await book.settle(channel, signed, isDisputed ? 'disputed' : outcome)) ?? signed.receipt.charged
    crashPoint('buyer.booked')
    if (isDisputed) {
      this.#waiting.get(requestId)?.(null)
      return { kind: 'refused', reason: verdict.reason }
    }
    const booked = { charged, receipt: signed }
    this.#waiting.get(requestId)?.(booked)
    // Both sides agreed before, and nothing is missing here: what the sum contains beyond the receipts was never said.
    if (agreed && outcome === 'answered' && charged > signed.receipt.charged) {
      if (await this.#isForgetful(channel, signed)) await this.#noteLoss(channel)
      else await distrust.accuse(channel, signed, 'cumulative_unexplained', { booked: charged.toString() })
    }
    return { kind: 'booked', ...booked }
  }

  /** Nothing is booked: the request stays open at its ceiling until the seller says what can be believed. */
  async #refuse(
    channel: Channel,
    requestId: Hex,
    signed: SignedReceipt,
    reason: ReceiptRefusal,
    outcome: string,
  ): Promise<Booking> {
    const { book, distrust } = this.#parts
    book.lose(channel, requestId)
    if (reason === 'cumulative_unsigned' && (await this.#isForgetful(channel, signed))) {
      await this.#noteLoss(channel)
      return { kind: 'refused', reason }
    }
    // What came with the answer may have been changed on its way; what the seller says when asked is its last word.
    const isLastWord = outcome !== 'answered' || reason === 'cumulative_unsigned'
    if (isLastWord) this.#hopeless.add(requestId)
    await distrust.accuse(channel, signed, reason)
    if (!isLastWord) this.resolve(channel)
    return { kind: 'refused', reason }
  }

  /** Books the finals that came with another reply. Those of ids that are not open here change nothing. */
  async bookFinals(channel: Channel, finals: readonly Final[]): Promise<void> {
    for (const final of finals) {
      if (final.state === 'open' || this.#hopeless.has(final.id)) continue
      if (channel.requests.get(final.id)?.running === false)
        await this.book(channel, final.id, final.receipt, null, 'learned')
    }
  }

  /** The request ended without a final: asks for it in the background until it is known. */
  lost(channel: Channel, requestId: Hex): void {
    this.#parts.book.lose(channel, requestId)
    this.resolve(channel)
  }

  /** Starts to ask about all that is lost on a channel, or hurries the search that runs. */
  resolve(channel: Channel): void {
    // There is nobody to ask: its next request brings the answer.
    if (isLane(channel)) return
    const running = this.#searches.get(channel.id)
    if (running !== undefined) return running.hurry()
    if (this.#stop.signal.aborted || this.#lostIds(channel).length === 0) return
    const pace = { pause: new AbortController(), round: 0 }
    const hurry = () => {
      pace.round = 0
      pace.pause.abort()
    }
    const done = this.#search(channel, pace).finally(() => this.#searches.delete(channel.id))
    this.#searches.set(channel.id, { hurry, done })
  }

  /** What a lost request cost, if it is learned within this time. */
  async learn(
    channel: Channel,
    requestId: Hex,
    withinMs: number,
    signal?: AbortSignal,
  ): Promise<Booked | null> {
    const { promise, resolve } = Promise.withResolvers<Booked | null>()
    this.#waiting.set(requestId, resolve)
    const give = () => resolve(null)
    const timer = setTimeout(give, withinMs)
    signal?.addEventListener('abort', give, { once: true })
    if (signal?.aborted) give()
    this.lost(channel, requestId)
    try {
      return await promise
    } finally {
      clearTimeout(timer)
      signal?.removeEventListener('abort', give)
      this.#waiting.delete(requestId)
    }
  }

  /** One question about everything lost, its finals booked. Throws what the connection throws. */
  async ask(channel: Channel, signal: AbortSignal): Promise<StatusReply> {
    const { clientFor, book } = this.#parts
    await book.fresh(channel)
    const client = clientFor(channel.sellerUrl)
    const reply = await askStatus(client, channel, this.#lostIds(channel), this.#parts, signal)
    await this.bookFinals(channel, reply.finals)
    return reply
  }

  /** The store knows less than was signed; see `resync.ts`. */
  async #noteLoss(channel: Channel): Promise<void> {
    const { book, log, now } = this.#parts
    log.warn({ channel: channel.id }, 'more was signed than this store knows')
    await book.fresh(channel)
    await book.markLost(channel, Math.floor(now() / 1000))
    this.resolve(channel)
  }

  /** Whether the seller can show a voucher of ours that this store does not know, over all that was charged. */
  async #isForgetful(channel: Channel, { receipt }: SignedReceipt): Promise<boolean> {
    const { clientFor, digests, curve } = this.#parts
    const asked = askStatus(clientFor(channel.sellerUrl), channel, [], this.#parts, this.#stop.signal)
    const reply = await asked.catch(() => null)
    if (reply === null || reply.signature === undefined || reply.signed < receipt.cumulative) return false
    if (reply.signed <= channel.ledger.signed) return false
    const signer = curve.recover(digests.voucher(channel.id, reply.signed), reply.signature)
    return signer === channel.config.payerAuthorizer
  }

  async close(): Promise<void> {
    this.#stop.abort()
    const searches = [...this.#searches.values()]
    for (const { hurry } of searches) hurry()
    await Promise.all(searches.map(({ done }) => done))
  }

  async #search(channel: Channel, pace: { pause: AbortController; round: number }): Promise<void> {
    const { signal } = this.#stop
    for (;;) {
      if (signal.aborted) return
      // Made before the question, so that a loss during it is asked about at once.
      pace.pause = new AbortController()
      const before = this.#lostIds(channel).length
      if (before === 0) return
      await this.ask(channel, signal).catch((thrown: unknown) => {
        const err = asOpenSeedError(thrown)
        this.#parts.log.debug({ seller: channel.sellerUrl, err }, 'outcomes are still unknown')
        // A seller that does not know the channel will not tell sooner to who waits.
        if (err.code === 'channel_not_found')
          for (const id of this.#lostIds(channel)) this.#waiting.get(id)?.(null)
      })
      const left = this.#lostIds(channel).length
      if (left === 0) return
      if (left < before) pace.round = 0
      await pause(Math.min(firstPauseMs * 2 ** pace.round++, longestPauseMs), pace.pause.signal)
    }
  }

  #lostIds(channel: Channel): Hex[] {
    const lost = [...channel.requests].filter(([id, { running }]) => !running && !this.#hopeless.has(id))
    return lost.map(([id]) => id)
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
    if (signal.aborted) done()
  })
}
