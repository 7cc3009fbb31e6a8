/**
 * The seller's channels: ledgers in memory, decided on synchronously, and their rows on disk. A decision counts once
 * its row is committed; when a commit fails the channel is read back from disk before it is used again.
 */
import { Changes } from '../base/changes.ts'
import { setTimeout as wait } from 'node:timers/promises'
import type { Log } from '../base/log.ts'
import type { Clock } from '../base/clock.ts'
import { hasCode, OpenSeedError } from '../base/errors.ts'
import type { SellerChannelRow, SellerRequestRow } from '../store/rows.ts'
import type { Writer } from '../store/writer.ts'
import type { SellerOperations } from '../store/operations.ts'
import type { Usdc } from '../wire/amount.ts'
import type { ChannelConfig } from '../wire/channel.ts'
import type { Hex } from '../wire/hex.ts'
import { parseSignedReceipt, encodeSignedReceipt, type Receipt, type SignedReceipt } from '../wire/receipt.ts'
import {
  fromRow,
  newEntry,
  nothingDelivered,
  toRow,
  unknownRequest,
  type ChainFacts,
  type Delivered,
  type Entry,
} from './channel-entry.ts'
import { ClosingAllowance } from './closing-allowance.ts'
import { adoptChain, endRefund, finish, requestTtlSec, restart } from './ledger.ts'

export type SellerStore = Writer<SellerOperations>

export interface BookParts {
  store: SellerStore
  signReceipt: (receipt: Receipt) => SignedReceipt
  /** told of each channel as it was committed */
  onStored?: (row: SellerChannelRow) => void
  now: Clock
  log: Log
}

export interface FinishHooks {
  /** changes the ledger further, in the same row */
  beforeCommit?: () => void
  /** runs before anybody who waits for this final goes on */
  committed?: (receipt: SignedReceipt) => void
}

const rememberClosedSec = 10 * 60
const mostRetryMs = 10_000

export class ChannelBook {
  readonly #parts: BookParts
  readonly #entries = new Map<Hex, Entry>()
  readonly #changes = new Changes<Hex>()
  readonly #closing: ClosingAllowance
  #remembered = 0
  /** admitBy below this was signed before this run */
  #floorSec = 0

  constructor(parts: BookParts) {
    this.#parts = parts
    this.#closing = new ClosingAllowance(parts.now)
  }

  /** Every channel known. */
  entries(): Iterable<Entry> {
    return this.#entries.values()
  }

  find(id: Hex): Entry | undefined {
    return this.#entries.get(id)
  }

  /** Loads the store, takes over what the chain says, and closes what the previous run left open. */
  async load(
    readChain: (ids: Hex[]) => Promise<ChainFacts[]>,
    proveDelivered: (row: SellerRequestRow, cost: Usdc) => Promise<Delivered>,
  ): Promise<void> {
    this.#floorSec = this.#nowSec() + requestTtlSec + 1
    const rows = await this.#parts.store.read('loadChannels')
    const facts = await readChain(rows.map((row) => row.id))
    for (const [index, row] of rows.entries()) {
      const entry = fromRow(row)
      const chain = facts[index]
      if (chain === undefined) continue
      entry.withdrawInitiatedAtSec = chain.withdrawInitiatedAtSec
      entry.claimedOnChain = chain.totalClaimed
      const abandoned = restart(entry.ledger, chain, this.#nowSec())
      endKnownRefund(entry, chain)
      if (chain.totalClaimed < entry.ledger.charged) entry.unclaimedSinceMs ??= 0
      this.#entries.set(entry.id, entry)
      for (const { id, cost } of abandoned) {
        const request = entry.running.get(id)
        if (request !== undefined) await this.finish(entry, id, cost, await proveDelivered(request, cost))
      }
      await this.save(entry)
    }
  }

  /**
   * Takes a channel in that the chain knows and the store does not. Unless it was born just now it may have been served
   * by a store that is lost: then no request that was signed before this run is admitted.
   */
  async learn(id: Hex, config: ChannelConfig, chain: ChainFacts, isBorn = false): Promise<Entry> {
    const known = this.#entries.get(id)
    if (known !== undefined) return known
    const entry = newEntry(id, config, chain)
    adoptChain(entry.ledger, chain)
    if (!isBorn) entry.ledger.admitFloorSec = this.#floorSec
    this.#entries.set(id, entry)
    try {
      await this.save(entry)
    } catch (error) {
      this.#entries.delete(id)
      throw error
    }
    return entry
  }

  /** Takes over what the chain says now. A voucher's signature that the chain has overtaken is of no more use. */
  async adoptChain(entry: Entry, chain: ChainFacts): Promise<void> {
    if (chain.reading < entry.chainReading) return
    entry.chainReading = chain.reading
    const before = entry.ledger.signed
    adoptChain(entry.ledger, chain)
    if (entry.ledger.signed > before) entry.signature = null
    entry.withdrawInitiatedAtSec = chain.withdrawInitiatedAtSec
    endKnownRefund(entry, chain)
    // What a claim left was charged after it was made; what a reorg brought back is to be claimed anew.
    if (chain.totalClaimed >= entry.ledger.charged) entry.unclaimedSinceMs = null
    else if (chain.totalClaimed > entry.claimedOnChain) entry.unclaimedSinceMs = this.#parts.now()
    else entry.unclaimedSinceMs ??= this.#parts.now()
    entry.claimedOnChain = chain.totalClaimed
    await this.save(entry)
  }

  /** Stores a request whose admission the caller has just decided, in this same turn, and entered in the ledger. */
  async admit(entry: Entry, request: SellerRequestRow): Promise<void> {
    entry.running.set(request.id, request)
    await this.#commit(entry, this.#parts.store.run('admit', { channel: this.#nextRow(entry), request }))
  }

  /** Charges a running request; the receipt resolves once it is on disk. Throws `store_unavailable`. */
  async finish(
    entry: Entry,
    id: Hex,
    cost: Usdc,
    delivered: Delivered,
    hooks: FinishHooks = {},
  ): Promise<SignedReceipt> {
    await entry.reloading
    const request = entry.running.get(id)
    const charged = request === undefined ? null : finish(entry.ledger, id, cost)
    if (request === undefined || charged === null) {
      throw new OpenSeedError('internal_error', { message: `Request ${id} is not running.` })
    }
    entry.running.delete(id)
    hooks.beforeCommit?.()
    const receipt = this.#parts.signReceipt({
      channelId: entry.id,
      requestId: id,
      offerHash: request.offerHash,
      ...delivered,
      charged,
      cumulative: entry.ledger.charged,
      completedAtSec: this.#nowSec(),
    })
    if (charged > 0n) entry.unclaimedSinceMs ??= this.#parts.now()
    const closing = {
      channelId: entry.id,
      id,
      charged,
      cumulative: entry.ledger.charged,
      receipt: JSON.stringify(encodeSignedReceipt(receipt)),
      closedAtMs: this.#parts.now(),
      streamed: request.streamed,
    }
    const write = this.#parts.store
      .run('finish', { channel: this.#nextRow(entry), request: closing })
      .then(() => hooks.committed?.(receipt))
    this.#remember(entry, id, request, receipt, write)
    await this.#commit(entry, write)
    return receipt
  }

  /** Finishes a request whose commit failed once the store works again: until then its ceiling stays held. */
  async finishLater(entry: Entry, id: Hex, cost: Usdc, delivered: Delivered): Promise<void> {
    for (let pauseMs = 100; ; pauseMs = Math.min(pauseMs * 2, mostRetryMs)) {
      await wait(pauseMs, undefined, { ref: false })
      await entry.reloading?.catch(() => undefined)
      // A commit that was reported as failed can have reached the disk all the same.
      if (!entry.running.has(id)) return
      try {
        await this.finish(entry, id, cost, delivered)
        return
      } catch (error) {
        if (hasCode(error, 'shutting_down')) return
        this.#parts.log.warn({ error, request: id }, 'a finished request is still not stored')
      }
    }
  }

  /**
   * The final of an id that is not running: the stored one, or, for an id never seen, a receipt of 0 that closes it
   * for ever. Null when it is running after all. Throws `rate_limit_exceeded` for too many that were never seen.
   */
  async settleUnknown(entry: Entry, id: Hex): Promise<SignedReceipt | null> {
    const stored = entry.closed.has(id)
      ? null
      : await this.#parts.store.read('findRequest', { channelId: entry.id, id })
    await entry.reloading
    const known = entry.closed.get(id)
    if (known !== undefined) {
      await known.stored
      return known.receipt
    }
    if (entry.running.has(id)) return null
    if (stored?.receipt != null) return parseSignedReceipt(JSON.parse(stored.receipt))
    const waitMs = this.#closing.take(entry.id)
    if (waitMs !== null) throw tooManyUnknown(waitMs)
    const request = unknownRequest(entry, id, this.#parts.now())
    const receipt = this.#parts.signReceipt({
      channelId: entry.id,
      requestId: id,
      offerHash: nothingDelivered.responseHash,
      ...nothingDelivered,
      charged: 0n,
      cumulative: entry.ledger.charged,
      completedAtSec: this.#nowSec(),
    })
    const requests = [{ ...request, receipt: JSON.stringify(encodeSignedReceipt(receipt)) }]
    const write = this.#parts.store.run('closeUnknown', { channel: this.#nextRow(entry), requests })
    this.#remember(entry, id, request, receipt, write)
    try {
      await this.#commit(entry, write)
    } catch (error) {
      // Closed for ever it is only on disk.
      entry.closed.delete(id)
      throw error
    }
    return receipt
  }

  /** Brings a request that finished in an earlier run back to mind, so that its repetition is recognised. */
  async recall(entry: Entry, id: Hex): Promise<void> {
    if (entry.running.has(id) || entry.closed.has(id)) return
    const stored = await this.#parts.store.read('findRequest', { channelId: entry.id, id })
    if (stored === null || stored.receipt === null || entry.running.has(id)) return
    this.#remember(entry, id, stored, parseSignedReceipt(JSON.parse(stored.receipt)), Promise.resolve())
  }

  /** Journals what a running request has produced. A lost journal entry costs the seller, so it is not waited for. */
  journal(entry: Entry, id: Hex, cost: Usdc): void {
    const row = entry.ledger.open.get(id)
    if (row === undefined || cost <= row.meter || cost > row.ceiling) return
    row.meter = cost
    this.#parts.store.run('meter', { channelId: entry.id, id, meter: cost }).catch((error: unknown) => {
      this.#parts.log.warn({ error }, 'a meter reading was not stored')
    })
  }

  /** Stores a channel after its ledger changed otherwise. */
  save(entry: Entry): Promise<void> {
    return this.#commit(entry, this.#parts.store.run('saveChannel', { channel: this.#nextRow(entry) }))
  }

  /** Resolves when something of the channel ended, or when the signal aborts. */
  changed(entry: Entry, signal: AbortSignal): Promise<void> {
    return this.#changes.next(entry.id, signal)
  }

  async #commit(entry: Entry, write: Promise<unknown>): Promise<void> {
    // As it is in the write: what is decided meanwhile is not stored yet.
    const row = this.#parts.onStored && toRow(entry)
    try {
      await write
      if (row !== undefined) this.#parts.onStored?.(row)
    } catch (error) {
      this.#parts.log.error({ error, channel: entry.id }, 'a commit failed; the channel is read back')
      entry.reloading ??= this.#reload(entry)
      await entry.reloading
      throw error
    } finally {
      this.#changes.wake(entry.id)
    }
  }

  async #reload(entry: Entry): Promise<void> {
    try {
      const row = await this.#parts.store.read('loadChannel', { channelId: entry.id })
      if (row === null) {
        this.#entries.delete(entry.id)
        return
      }
      const stored = fromRow(row)
      stored.ledger.admitFloorSec = entry.ledger.admitFloorSec
      Object.assign(entry, {
        ledger: stored.ledger,
        signature: stored.signature,
        rev: stored.rev,
        refundNonce: stored.refundNonce,
      })
      entry.running.clear()
      for (const [id, request] of stored.running) {
        entry.running.set(id, request)
        entry.closed.delete(id)
      }
    } finally {
      entry.reloading = null
    }
  }

  #remember(
    entry: Entry,
    id: Hex,
    request: SellerRequestRow,
    receipt: SignedReceipt,
    stored: Promise<unknown>,
  ): void {
    const forgetAtSec = Math.max(request.admitBySec, this.#nowSec()) + rememberClosedSec
    const { bodyHash, streamed } = request
    entry.closed.set(id, { bodyHash, streamed, receipt, forgetAtSec, stored })
    if ((this.#remembered = (this.#remembered + 1) % 1024) === 0) this.#forget()
  }

  #forget(): void {
    const nowSec = this.#nowSec()
    for (const entry of this.#entries.values()) {
      // Insertion order is nearly the order of forgetting: the first one to keep ends the sweep.
      for (const [id, closed] of entry.closed) {
        if (closed.forgetAtSec > nowSec) break
        entry.closed.delete(id)
      }
    }
  }

  #nextRow(entry: Entry): SellerChannelRow {
    entry.rev += 1
    return toRow(entry)
  }

  #nowSec(): number {
    return Math.floor(this.#parts.now() / 1000)
  }
}

/**
 * A refund whose outcome was not known is over once the chain's nonce has moved: it must not be sent again. While one
 * is being executed the nonce stays what it was reserved under: it alone tells later whether that one was mined.
 */
function endKnownRefund(entry: Entry, chain: ChainFacts): void {
  if (entry.refundRunning) return
  if (chain.refundNonce > entry.refundNonce) endRefund(entry.ledger, chain.balance)
  entry.refundNonce = chain.refundNonce
}

const tooManyUnknown = (waitMs: number) =>
  new OpenSeedError('rate_limit_exceeded', {
    message: 'Too many requests were asked about that this seller never saw.',
    hint: 'Nothing is lost: those that are answered are closed; ask about the others later.',
    details: { retryAfterSec: Math.ceil(waitMs / 1000) },
  })
