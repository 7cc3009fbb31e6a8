/**
 * Exact payments from the first look at an authorization to its money: reserved in memory in one turn, on disk before
 * the engine is called, and on its way to the chain only once there is something to deliver for it.
 */
import type { Clock } from '../base/clock.ts'
import { crashPoint } from '../base/crash.ts'
import { asOpenSeedError, OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { SellerExactKey, SellerExactRow } from '../store/seller-exact-operations.ts'
import type { Usdc } from '../wire/amount.ts'
import {
  encodeExactPayload,
  exactErrors,
  parseExactPayload,
  type ExactError,
  type ExactPayload,
} from '../wire/exact.ts'
import type { Address, Hex } from '../wire/hex.ts'
import { encodeSignedReceipt, type Receipt, type SignedReceipt } from '../wire/receipt.ts'
import type { SellerStore } from './channel-book.ts'
import type { Delivered } from './channel-entry.ts'

/** How a settlement ended. `pending`: not known yet; nothing is sent again but the same transaction. */
export type ExactOutcome =
  | { kind: 'settled'; txHash: Hex }
  | { kind: 'refused'; reason: ExactError }
  | { kind: 'pending'; txHash: Hex | null }

/** What the desk asks of the chain. */
export interface ExactChain {
  /** null when the transfer would succeed now */
  judge: (payload: ExactPayload, isSigned: boolean) => Promise<ExactError | null>
  /** Sends and waits; the same authorization is one transaction. Throws when the outcome is not known. */
  submit: (payload: ExactPayload) => Promise<Exclude<ExactOutcome, { kind: 'pending' }>>
  /**
   * true when no transaction of it was signed, from now on none will be, and nobody else's has paid. Throws
   * `chain_unavailable` while that is not known.
   */
  giveUp: (payload: ExactPayload) => Promise<boolean>
}

export interface ExactParts {
  store: SellerStore
  chain: ExactChain
  /** why no new work may be taken now, or null */
  refuseWork: () => OpenSeedError | null
  signReceipt: (receipt: Receipt) => SignedReceipt
  now: Clock
  log: Log
}

/** A request that one authorization pays for. */
export interface ExactOrder {
  payload: ExactPayload
  isSigned: boolean
  amount: Usdc
  paymentId: string | null
  bodyHash: Hex
  offerHash: Hex
  streamed: boolean
}

export type ExactAdmission =
  | { kind: 'reserved' }
  | { kind: 'refuse'; reason: ExactError }
  /** the money was taken and no answer is known to have left: it is served now, and nothing more is taken */
  | { kind: 'owed'; row: SellerExactRow; txHash: Hex }
  /** it was used here before, for these same bytes */
  | { kind: 'known'; row: SellerExactRow }

const mostJudged = 32
const mostListed = 1000

export class ExactDesk {
  readonly #parts: ExactParts
  readonly #held = new Set<string>()
  /** of replies whose money is still on its way */
  readonly #receipts = new Map<string, SignedReceipt>()
  #judging = 0

  constructor(parts: ExactParts) {
    this.#parts = parts
  }

  /**
   * Takes an authorization for one request, in the caller's turn: of copies that arrive together only the first goes
   * on. The returned function gives it free again. Throws `request_in_progress`.
   */
  hold({ authorization }: ExactPayload): () => void {
    const key = nameOf(keyOf(authorization))
    if (this.#held.has(key))
      throw new OpenSeedError('request_in_progress', { message: 'A request with this payment is running.' })
    this.#held.add(key)
    return () => void this.#held.delete(key)
  }

  /**
   * Judges a held authorization on the chain. Throws `rate_limit_exceeded`, `request_conflict`, `chain_…`; what
   * `refuseWork` says for an authorization that is new.
   */
  async judge(order: ExactOrder): Promise<ExactAdmission> {
    const { store, chain, refuseWork } = this.#parts
    // Anyone can sign for an empty wallet, and each look costs a call to the RPC.
    if (this.#judging >= mostJudged)
      throw new OpenSeedError('rate_limit_exceeded', { message: 'Too many payments are being checked.' })
    this.#judging += 1
    try {
      const row = await store.read('exactFind', keyOf(order.payload.authorization))
      if (row !== null && row.state !== 'released') {
        if (row.txHash !== null && isOwed(row, order)) return { kind: 'owed', row, txHash: row.txHash }
        const isSame = row.bodyHash === order.bodyHash
        return isSame ? { kind: 'known', row } : { kind: 'refuse', reason: exactErrors.nonceAlreadyUsed }
      }
      const refusal = refuseWork()
      if (refusal !== null) throw refusal
      const reason = await chain.judge(order.payload, order.isSigned)
      return reason === null ? { kind: 'reserved' } : { kind: 'refuse', reason }
    } finally {
      this.#judging -= 1
    }
  }

  /** Whether this very payment was taken for this body without an answer that is known to have left. */
  async isOwed(asked: Pick<ExactOrder, 'payload' | 'bodyHash'>): Promise<boolean> {
    const row = await this.#parts.store.read('exactFind', keyOf(asked.payload.authorization))
    return row !== null && isOwed(row, asked)
  }

  /** Reserves it on disk; only then the engine may hear of the request. Throws `request_conflict`, `store_…`. */
  async reserve(order: ExactOrder): Promise<void> {
    const { payload, paymentId, amount, bodyHash, offerHash, streamed } = order
    const outcome = await this.#parts.store.run('exactReserve', {
      ...keyOf(payload.authorization),
      paymentId,
      amount,
      bodyHash,
      offerHash,
      streamed,
      payment: textOf(payload),
      openedAtMs: this.#parts.now(),
      state: 'open',
      txHash: null,
      receipt: null,
      outcome: null,
      closedAtMs: null,
    })
    crashPoint('seller.exact-reserved')
    if (outcome === 'reserved') return
    throw new OpenSeedError('request_conflict', {
      message:
        outcome === 'used'
          ? 'This authorization was used for another request.'
          : 'This payment id was used with another authorization.',
    })
  }

  /** Nothing was delivered and nothing asked of the chain: the same authorization may come again. */
  async release({ payload }: ExactOrder, outcome: string): Promise<void> {
    const { store, now, log } = this.#parts
    const move = { ...keyOf(payload.authorization), state: 'released', outcome, closedAtMs: now() } as const
    // Left open it is abandoned by the next start: nothing is taken for it either way.
    await store.run('exactMove', move).catch((error: unknown) => {
      log.error({ error, nonce: move.nonce }, 'a payment that is not needed could not be released')
    })
  }

  /**
   * Takes the money. Until this returns `settled` nothing of the answer may leave. `receipt` where the answer is whole
   * already. Throws `store_unavailable`.
   */
  async settle({ payload }: ExactOrder, receipt: SignedReceipt | null): Promise<ExactOutcome> {
    const key = keyOf(payload.authorization)
    await this.#parts.store.run('exactMove', { ...key, state: 'settling' })
    crashPoint('seller.exact-settling')
    if (receipt !== null) this.#receipts.set(nameOf(key), receipt)
    return this.#finish(key, payload)
  }

  /** What is delivered, signed; the charge is the whole amount, whatever was used of it. */
  sign({ payload, amount, offerHash }: ExactOrder, delivered: Delivered): SignedReceipt {
    const { signReceipt, now } = this.#parts
    const { from, nonce } = payload.authorization
    return signReceipt({
      channelId: payerWord(from),
      requestId: nonce,
      offerHash,
      ...delivered,
      charged: amount,
      cumulative: amount,
      completedAtSec: Math.floor(now() / 1000),
    })
  }

  /** The answer has left. Throws `store_unavailable`; then the row says that it is paid and no more. */
  async served({ payload }: ExactOrder, receipt: SignedReceipt, outcome: string): Promise<void> {
    await this.#parts.store.run('exactMove', {
      ...keyOf(payload.authorization),
      state: 'served',
      receipt: JSON.stringify(encodeSignedReceipt(receipt)),
      outcome,
      closedAtMs: this.#parts.now(),
    })
  }

  /** An answer that was paid and kept has left at last. */
  async servedAgain(key: SellerExactKey): Promise<void> {
    await this.#parts.store.run('exactMove', {
      ...key,
      state: 'served',
      outcome: 'repeated',
      closedAtMs: this.#parts.now(),
    })
  }

  /** Closes what an earlier run left, before anything new is taken. What it never sent is not taken any more. */
  async abandonEarlier(): Promise<void> {
    const { store, chain, now, log } = this.#parts
    const count = await store.run('exactAbandon', { closedAtMs: now() })
    if (count > 0) log.warn({ count }, 'requests paid by exact were interrupted; nothing was taken for them')
    for (const row of await this.#list('settling')) {
      if (await chain.giveUp(payloadOf(row)).catch(() => false))
        await store.run('exactMove', {
          ...keyOf(row),
          state: 'failed',
          outcome: 'crashed',
          closedAtMs: now(),
        })
    }
    for (const { payer, nonce, amount, txHash, receipt } of await this.#list('settled')) {
      if (receipt !== null) continue
      log.warn(
        { payer, nonce, amount, txHash },
        'this payment was taken, and its request perhaps not served; sent again, it is',
      )
    }
  }

  /** Looks again at settlements without an outcome. Never rejects. */
  async reconcile(): Promise<void> {
    try {
      for (const row of await this.#list('settling')) {
        if (this.#held.has(nameOf(row))) continue
        await this.#finish(keyOf(row), payloadOf(row))
      }
    } catch (error) {
      this.#parts.log.warn({ error }, 'exact payments are still waiting for their outcome')
    }
  }

  #list(state: 'settling' | 'settled'): Promise<SellerExactRow[]> {
    return this.#parts.store.read('exactInState', { state, limit: mostListed })
  }

  async #finish(key: SellerExactKey, payload: ExactPayload): Promise<ExactOutcome> {
    const { store, now, log } = this.#parts
    const outcome = await this.#submit(payload)
    if (outcome.kind === 'pending') {
      log.warn({ ...key, txHash: outcome.txHash }, 'the outcome of an exact payment is not known yet')
      return outcome
    }
    const receipt = this.#receipts.get(nameOf(key))
    this.#receipts.delete(nameOf(key))
    await store.run(
      'exactMove',
      outcome.kind === 'settled'
        ? {
            ...key,
            state: 'settled',
            txHash: outcome.txHash,
            ...(receipt !== undefined && { receipt: JSON.stringify(encodeSignedReceipt(receipt)) }),
          }
        : { ...key, state: 'failed', outcome: outcome.reason, closedAtMs: now() },
    )
    crashPoint('seller.exact-settled')
    return outcome
  }

  /** Sends it, and when no outcome comes asks for the same once more. */
  async #submit(payload: ExactPayload): Promise<ExactOutcome> {
    const { chain, log } = this.#parts
    let txHash: Hex | null = null
    for (let attempt = 0; attempt < 2; attempt++) {
      try {
        return await chain.submit(payload)
      } catch (thrown) {
        const error = asOpenSeedError(thrown)
        log.warn({ error, nonce: payload.authorization.nonce }, 'an exact payment could not be settled')
        const hash = error.details?.['hash']
        if (typeof hash === 'string') txHash = hash as Hex
      }
    }
    const isOver = await chain.giveUp(payload).catch(() => false)
    return isOver ? { kind: 'refused', reason: exactErrors.simulationFailed } : { kind: 'pending', txHash }
  }
}

function isOwed(
  row: SellerExactRow,
  { payload, bodyHash }: Pick<ExactOrder, 'payload' | 'bodyHash'>,
): boolean {
  return row.state === 'settled' && row.bodyHash === bodyHash && row.payment === textOf(payload)
}

/** What stands for a channel in the receipt of an exact payment: the payer's address as a word. */
export const payerWord = (payer: Address): Hex => `0x${payer.slice(2).padStart(64, '0')}`

const keyOf = (at: { from: Address; nonce: Hex } | SellerExactKey): SellerExactKey => ({
  payer: 'from' in at ? at.from : at.payer,
  nonce: at.nonce,
})
const textOf = (payload: ExactPayload): string => JSON.stringify(encodeExactPayload(payload))
const payloadOf = ({ payment }: SellerExactRow): ExactPayload => parseExactPayload(JSON.parse(payment))
const nameOf = ({ payer, nonce }: SellerExactKey): string => `${payer}:${nonce}`
