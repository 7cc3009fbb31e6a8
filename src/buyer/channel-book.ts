/**
 * The buyer's channels: decided on at once in memory, on disk before anything leaves this machine. After a write that
 * failed, a channel is read back from the store before it is used again.
 */
import { Changes } from '../base/changes.ts'
import { crashPoint } from '../base/crash.ts'
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { BuyerOperations } from '../store/operations.ts'
import type { BuyerRequestRow, OfferRow } from '../store/rows.ts'
import type { Writer } from '../store/writer.ts'
import type { Usdc } from '../wire/amount.ts'
import type { ChannelConfig } from '../wire/channel.ts'
import type { Hex } from '../wire/hex.ts'
import { encodeSignedOffer, parseSignedOffer, type SignedOffer } from '../wire/offer.ts'
import { encodeSignedReceipt, parseSignedReceipt, type SignedReceipt } from '../wire/receipt.ts'
import {
  fromRow,
  newState,
  refresh,
  toRow,
  type Channel,
  type ChannelNotes,
  type OpenRequest,
} from './channel.ts'
import { widestBounds } from './check.ts'
import { bookFinal, loseRequest, openRequest } from './ledger.ts'
import { depositTtlSec, type PendingDeposit } from './pending-deposit.ts'
import type { Spending } from './spending.ts'

export type BuyerStore = Writer<BuyerOperations>

export interface BookParts {
  store: BuyerStore
  spending: Spending
  now: Clock
  log: Log
}

const proofKey = (id: Hex) => `proof:${id}`
const lostKey = (id: Hex) => `lost:${id}`

export class ChannelBook {
  readonly #parts: BookParts
  readonly #channels = new Map<Hex, Channel>()
  readonly #writes = new Map<Hex, Set<Promise<unknown>>>()
  readonly #reloads = new Map<Hex, Promise<void>>()
  readonly #changes = new Changes<Hex>()
  readonly #storedOffers = new Set<Hex>()

  private constructor(parts: BookParts) {
    this.#parts = parts
  }

  /** Everything the store knows. What was open when the last process ended is lost until its final is learned. */
  static async load(parts: BookParts): Promise<ChannelBook> {
    const book = new ChannelBook(parts)
    const rows = await parts.store.read('loadChannels')
    const notes = await Promise.all(rows.map((row) => book.#readNotes(row.id)))
    rows.forEach((row, at) => book.#channels.set(row.id, fromRow(row, notes[at]!)))
    await book.#recallOffers()
    return book
  }

  all(): Channel[] {
    return [...this.#channels.values()]
  }

  find(id: Hex): Channel | undefined {
    return this.#channels.get(id)
  }

  /** Takes a new channel in, in memory alone: its first row is written with what happens to it first. */
  add(facts: { id: Hex; config: ChannelConfig; index: number; sellerUrl: string }): Channel {
    const channel: Channel = {
      ...facts,
      ledger: { balance: 0n, charged: 0n, signed: 0n, proven: 0n, open: new Map() },
      signature: null,
      deposit: null,
      refunding: 0n,
      state: 'open',
      lostAtSec: null,
      proof: null,
      rev: 0,
      ...newState(),
    }
    this.#channels.set(facts.id, channel)
    return channel
  }

  /** To be awaited before each decision; returns at once unless a write failed. */
  async fresh(channel: Channel): Promise<void> {
    while (channel.stale) {
      const running = this.#reloads.get(channel.id) ?? this.#reload(channel)
      this.#reloads.set(channel.id, running)
      await running.finally(() => this.#reloads.delete(channel.id))
    }
  }

  /**
   * Opens a request under a voucher that was decided on in this same turn. Resolves once both are on disk: only then
   * may they be sent.
   */
  async open(
    channel: Channel,
    request: BuyerRequestRow,
    voucher: { amount: Usdc; signature: Hex },
    terms: OpenRequest['terms'],
  ): Promise<void> {
    const { id, ceiling, admitBySec } = request
    openRequest(channel.ledger, id, { ceiling, admitBySec, voucher: voucher.amount })
    if (voucher.amount === channel.ledger.signed) channel.signature = voucher.signature
    channel.requests.set(id, { row: request, terms, running: true })
    this.#parts.spending.hold(ceiling)
    const offer = terms === null ? undefined : this.#unstored(terms.signedOffer)
    try {
      await this.#write(channel, (row) =>
        this.#parts.store.run('open', { channel: row, request, ...(offer !== undefined && { offer }) }),
      )
    } catch (error) {
      this.lose(channel, id)
      throw error
    }
    if (offer !== undefined) this.#storedOffers.add(offer.hash)
    crashPoint('buyer.opened')
  }

  /** The reply ended without a final. */
  lose(channel: Channel, id: Hex): void {
    const request = channel.requests.get(id)
    if (request !== undefined) request.running = false
    loseRequest(channel.ledger, id)
    this.wake(channel)
  }

  /**
   * Books what a request cost, as a receipt that was checked says it, at its ceiling at most. Null when the id has no
   * open row; the cost once it is on disk.
   */
  async settle(
    channel: Channel,
    { receipt, signature }: SignedReceipt,
    outcome: string,
  ): Promise<Usdc | null> {
    await this.fresh(channel)
    const { ledger } = channel
    const ceiling = ledger.open.get(receipt.requestId)?.ceiling ?? 0n
    const charged = receipt.charged < ceiling ? receipt.charged : ceiling
    const cost = bookFinal(ledger, receipt.requestId, charged, receipt.cumulative)
    if (cost === null) return null
    if (ledger.open.size === 0 && receipt.cumulative === ledger.charged) channel.agreed = true
    const isNewest = (channel.proof?.receipt.cumulative ?? -1n) < receipt.cumulative
    if (isNewest) channel.proof = { receipt, signature }
    const json = JSON.stringify(encodeSignedReceipt({ receipt, signature }))
    await this.#close(channel, receipt.requestId, { cost, receipt: json, outcome }, isNewest ? json : null)
    return cost
  }

  /** Closes a request of which no byte left this machine. */
  async cancel(channel: Channel, id: Hex): Promise<void> {
    await this.fresh(channel)
    const cost = bookFinal(channel.ledger, id, 0n, 0n)
    if (cost !== null) await this.#close(channel, id, { cost, receipt: null, outcome: 'not_sent' }, null)
  }

  /** Closes a request whose cost a stock seller stated, or whose voucher it refused. */
  async conclude(channel: Channel, id: Hex, charged: Usdc, outcome: string): Promise<void> {
    await this.fresh(channel)
    const cost = bookFinal(channel.ledger, id, charged, 0n)
    if (cost !== null) await this.#close(channel, id, { cost, receipt: null, outcome }, null)
  }

  /** Stores a channel whose ledger or state the caller has just changed, in this same turn. */
  save(channel: Channel): Promise<void> {
    return this.#write(channel, (row) => this.#parts.store.run('saveChannel', { channel: row }))
  }

  /** Lists a deposit; called in the turn that opens its request, it shares the commit. Never rejects: the row counts. */
  async recordDeposit({ id, sellerUrl }: Channel, { amount, authorization }: PendingDeposit): Promise<void> {
    const { store, spending, now, log } = this.#parts
    const atMs = now()
    spending.deposited(amount, atMs)
    const { salt } = authorization
    const listed = store.run('recordDeposit', { channelId: id, salt, sellerUrl, amount, txHash: null, atMs })
    await listed.catch((err: unknown) => log.warn({ channel: id, err }, 'a deposit was not listed'))
  }

  /** Takes a deposit that was never used off the list: it moved nothing. Never rejects: its row counts for a day. */
  async forgetDeposit({ id }: Channel, { amount, authorization }: PendingDeposit): Promise<void> {
    const { store, spending, log } = this.#parts
    const { salt, validBefore } = authorization
    spending.deposited(-amount, (validBefore - depositTtlSec) * 1000)
    const dropped = store.run('dropDeposit', { channelId: id, salt })
    await dropped.catch((err: unknown) =>
      log.warn({ channel: id, err }, 'a deposit was not taken off the list'),
    )
  }

  /** Marks that more was signed than is stored here, durably and before anything else is stored. */
  async markLost(channel: Channel, atSec: number | null): Promise<void> {
    channel.lostAtSec = atSec
    const mark = this.#parts.store.run('setMeta', { key: lostKey(channel.id), value: String(atSec ?? '') })
    await Promise.all([mark, this.save(channel)])
  }

  /** Stores the open rows of an adopted snapshot, whose ids this buyer had forgotten. */
  async adoptRows(channel: Channel, rows: readonly BuyerRequestRow[]): Promise<void> {
    for (const row of rows) channel.requests.set(row.id, { row, terms: null, running: false })
    const opens = rows.map((request) => {
      this.#parts.spending.hold(request.ceiling)
      return this.#write(channel, (row) => this.#parts.store.run('open', { channel: row, request }))
    })
    await Promise.all([...opens, this.save(channel)])
    // Only now: as long as anything is missing, the channel counts as lost.
    await this.#parts.store.run('setMeta', { key: lostKey(channel.id), value: '' })
    channel.lostAtSec = null
  }

  /** Whether the store has a row of this id, finished or not. */
  async knows(channel: Channel, id: Hex): Promise<boolean> {
    return (await this.#parts.store.read('findRequest', { channelId: channel.id, id })) !== null
  }

  /** Resolves when something of the channel ended or changed, or the signal aborts. */
  changed(channel: Channel, signal: AbortSignal): Promise<void> {
    return this.#changes.next(channel.id, signal)
  }

  /** Wakes who waits for a change. */
  wake(channel: Channel): void {
    this.#changes.wake(channel.id)
  }

  /** The row of an offer that is not known to be stored. */
  #unstored(signed: SignedOffer): OfferRow | undefined {
    if (this.#storedOffers.has(signed.hash)) return undefined
    return { hash: signed.hash, json: JSON.stringify(encodeSignedOffer(signed)), atMs: this.#parts.now() }
  }

  /** What is still open is held to the offer that it was asked under. What was seen of its reply is gone. */
  async #recallOffers(): Promise<void> {
    const open = this.all().flatMap(({ requests }) => [...requests.values()])
    const hashes = [...new Set(open.map(({ row }) => row.offerHash))]
    if (hashes.length === 0) return
    const rows = await this.#parts.store.read('findOffers', { hashes })
    const offers = new Map(rows.map(({ hash, json }) => [hash, parseSignedOffer(JSON.parse(json))]))
    for (const request of open) {
      const signedOffer = offers.get(request.row.offerHash)
      if (signedOffer !== undefined) request.terms = { signedOffer, bounds: widestBounds(signedOffer) }
    }
  }

  async #close(
    channel: Channel,
    id: Hex,
    end: { cost: Usdc; receipt: string | null; outcome: string },
    proof: string | null,
  ): Promise<void> {
    const { store, spending, now } = this.#parts
    const request = channel.requests.get(id)
    const closedAtMs = now()
    const settled = {
      channelId: channel.id,
      id,
      charged: end.cost,
      receipt: end.receipt,
      outcome: end.outcome,
      closedAtMs,
    }
    try {
      const write = this.#write(channel, (row) =>
        store.run('settleRequest', { channel: row, request: settled }),
      )
      // In the same turn, hence in the same commit.
      const note = proof === null ? null : store.run('setMeta', { key: proofKey(channel.id), value: proof })
      await Promise.all([write, note])
    } catch (error) {
      // The row is open on disk: it is as if the final had not come.
      if (request !== undefined) request.running = false
      throw error
    }
    channel.requests.delete(id)
    if (request !== undefined) spending.settle(request.row.ceiling, end.cost, closedAtMs)
    this.wake(channel)
  }

  async #write(channel: Channel, write: (row: ReturnType<typeof toRow>) => Promise<unknown>): Promise<void> {
    channel.rev += 1
    const work = write(toRow(channel))
    const writes = this.#writes.get(channel.id) ?? new Set()
    this.#writes.set(channel.id, writes.add(work))
    try {
      await work
    } catch (thrown) {
      channel.stale = true
      this.#parts.log.error({ channel: channel.id, err: thrown }, 'a change of a channel was not stored')
      throw thrown
    } finally {
      writes.delete(work)
    }
  }

  async #reload(channel: Channel): Promise<void> {
    // Each of them builds on the one that failed, so none of them can succeed any more.
    await Promise.allSettled(this.#writes.get(channel.id) ?? new Set<Promise<unknown>>())
    const [row, notes] = await Promise.all([
      this.#parts.store.read('loadChannel', { channelId: channel.id }),
      this.#readNotes(channel.id),
    ])
    if (row === null) {
      this.#channels.delete(channel.id)
      for (const { row } of channel.requests.values())
        this.#parts.spending.settle(row.ceiling, 0n, this.#parts.now())
      channel.requests.clear()
      throw new OpenSeedError('store_unavailable', {
        message: `Channel ${channel.id} could not be stored; nothing was sent.`,
      })
    }
    const gone = refresh(channel, row, notes)
    await Promise.all(gone.map((request) => this.#release(channel, request.row)))
    this.wake(channel)
  }

  /** A row that is not open on disk: it was never stored, or its end was stored although the write seemed to fail. */
  async #release({ id: channelId }: Channel, { id, ceiling }: BuyerRequestRow): Promise<void> {
    const { store, spending, now } = this.#parts
    const ended = await store.read('findRequest', { channelId, id })
    spending.settle(ceiling, ended?.charged ?? 0n, ended?.closedAtMs ?? now())
  }

  async #readNotes(id: Hex): Promise<ChannelNotes> {
    const [lost, proof] = await Promise.all([
      this.#parts.store.read('getMeta', { key: lostKey(id) }),
      this.#parts.store.read('getMeta', { key: proofKey(id) }),
    ])
    return {
      lostAtSec: lost === null || lost === '' ? null : Number(lost),
      proof: proof === null ? null : parseSignedReceipt(JSON.parse(proof)),
    }
  }
}
