/** Sellers whose receipts do not hold: the evidence is kept, nothing more is signed for them, and we part ways. */
import type { Clock } from '../base/clock.ts'
import { OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { DistrustRow } from '../store/receipt-operations.ts'
import type { Address } from '../wire/hex.ts'
import { encodeSignedReceipt, type SignedReceipt } from '../wire/receipt.ts'
import type { Channel } from './channel.ts'
import type { BuyerStore, ChannelBook } from './channel-book.ts'
import type { ReceiptDispute, ReceiptRefusal } from './judge-receipt.ts'

/** `over_count`: more than our own count of the reply allows. `cumulative_unexplained`: more than all its receipts. */
export type Accusation = ReceiptDispute | ReceiptRefusal | 'over_count' | 'cumulative_unexplained'

export interface DistrustParts {
  store: BuyerStore
  book: ChannelBook
  now: Clock
  log: Log
}

const dayMs = 86_400_000
const suspicionMs = dayMs
const lieMs = 30 * dayMs

/** What the seller's own signatures show to anybody. */
const provable: ReadonlySet<Accusation> = new Set<Accusation>([
  'over_ceiling',
  'other_offer',
  'over_price',
  'cached_implausible',
  'cumulative_implausible',
])

export class Distrust {
  readonly #parts: DistrustParts
  readonly #rows: Map<Address, DistrustRow>
  #onAccused: (channel: Channel) => void = () => undefined

  private constructor(parts: DistrustParts, rows: readonly DistrustRow[]) {
    this.#parts = parts
    this.#rows = new Map(rows.map((row) => [row.signer, row]))
  }

  static async load(parts: DistrustParts): Promise<Distrust> {
    return new Distrust(parts, await parts.store.read('listDistrusted'))
  }

  /** To be called with each channel whose money is to be taken back; those of an earlier run at once. */
  onAccused(call: (channel: Channel) => void): void {
    this.#onAccused = call
    for (const channel of this.#parts.book.all()) if (this.#rows.has(signerOf(channel))) call(channel)
  }

  /** Whether nothing is paid to this signer now. */
  includes(signer: Address): boolean {
    return (this.#rows.get(signer)?.untilMs ?? 0) > this.#parts.now()
  }

  /** Throws `charge_refused` when nothing is paid to this signer now. */
  check(sellerUrl: string, signer: Address): void {
    const row = this.#rows.get(signer)
    if (row !== undefined && row.untilMs > this.#parts.now()) throw refused(sellerUrl, row)
  }

  /** Once the time is over, an idle channel may be used again. */
  async forgive(channel: Channel): Promise<void> {
    const row = this.#rows.get(signerOf(channel))
    if (row === undefined || row.untilMs > this.#parts.now()) return
    if (channel.state !== 'distrusted' || channel.requests.size > 0) return
    channel.state = 'open'
    await this.#parts.book.save(channel)
  }

  /** Returns once the evidence is on disk and no channel to this signer is open. Throws `store_unavailable`. */
  async accuse(
    channel: Channel,
    signed: SignedReceipt,
    reason: Accusation,
    facts: Record<string, string | number | null> = {},
  ): Promise<void> {
    const { store, book, now, log } = this.#parts
    const { receipt } = signed
    const sinceMs = now()
    const isProvable = provable.has(reason)
    const signer = signerOf(channel)
    const row = { signer, reason, sinceMs, untilMs: sinceMs + (isProvable ? lieMs : suspicionMs) }
    if ((this.#rows.get(signer)?.untilMs ?? 0) < row.untilMs) this.#rows.set(signer, row)
    const named = { channel: channel.id, seller: channel.sellerUrl, requestId: receipt.requestId, reason }
    const { charged, inputTokens, outputTokens } = receipt
    log.error(
      { ...named, ...facts, charged: charged.toString(), inputTokens, outputTokens },
      'the seller charged what its offer does not explain; nothing more is paid to it',
    )
    await store.run('dispute', {
      dispute: {
        channelId: channel.id,
        requestId: receipt.requestId,
        sellerUrl: channel.sellerUrl,
        reason,
        provable: isProvable,
        receipt: JSON.stringify(encodeSignedReceipt(signed)),
        facts: JSON.stringify(facts),
        atMs: sinceMs,
      },
      distrust: row,
    })
    for (const other of book.all()) {
      if (signerOf(other) !== signer) continue
      await book.fresh(other)
      if (other.state === 'open') {
        other.state = 'distrusted'
        await book.save(other)
      }
      this.#onAccused(other)
    }
  }
}

const signerOf = ({ config }: Channel): Address => config.receiverAuthorizer

function refused(sellerUrl: string, { reason, untilMs }: DistrustRow): OpenSeedError {
  return new OpenSeedError('charge_refused', {
    message: `${sellerUrl} charged what its signed offer does not explain; nothing is paid to it until ${new Date(untilMs).toISOString()}.`,
    hint: 'openseed receipts sellers',
    details: { reason, untilMs },
  })
}
