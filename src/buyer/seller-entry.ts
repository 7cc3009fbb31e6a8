/** One seller as the market knows it: its terms, fetched, verified and kept up to date. */
import type { Clock } from '../base/clock.ts'
import { asOpenSeedError, OpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import { readBody } from '../net/read-body.ts'
import type { SellerClient } from '../net/seller-client.ts'
import { parseJsonBody } from '../wire/chat.ts'
import { encodeSellerTerms, parseSellerTerms, type SellerTerms } from '../wire/terms.ts'
import type { Candidate } from './route.ts'
import {
  changedIdentity,
  isAnnounced,
  judgeTerms,
  type SellerIdentity,
  type TermsRules,
} from './terms-check.ts'

interface SellerEntryParts extends TermsRules {
  client: SellerClient
  saveTerms: (url: string, terms: string, atMs: number) => Promise<unknown>
  /** Whom registries announce at this address; null when the user named it, and it is whoever answers. */
  identities: () => readonly SellerIdentity[] | null
  now: Clock
  log: Log
}

/** A seller that speaks x402 alone. `models` null: it does not say. */
export interface StockFacts {
  models: readonly string[] | null
}

// How servers say that they have no such route, or want to be paid for it.
const notOurs = new Set([402, 404, 405])
const staleAfterMs = 60_000
const renewBeforeExpiryMs = 60_000
const answerWithinMs = 2000
const maxTermsBytes = 1024 * 1024

export class SellerEntry {
  readonly url: string
  readonly #parts: SellerEntryParts
  readonly #stop = new AbortController()
  #terms: SellerTerms | null = null
  #fetchedAtMs = -Infinity
  /** The first terms that the seller itself gave us in this session. */
  #pinned: SellerTerms | null = null
  /** Why nothing is paid to it. */
  #refused: string | null = null
  #failure: OpenSeedError | null = null
  #refreshing: Promise<void> | null = null
  #stock: StockFacts | null = null

  constructor(parts: SellerEntryParts) {
    this.url = parts.client.url
    this.#parts = parts
  }

  get client(): SellerClient {
    return this.#parts.client
  }

  /** What is known of it when it speaks x402 and nothing of ours; null for all others. */
  get stock(): StockFacts | null {
    return this.#stock
  }

  get refused(): string | null {
    return this.#refused
  }

  /** Why the last refresh brought nothing; null after one that did. */
  get failure(): OpenSeedError | null {
    return this.#failure
  }

  /** The seller's terms, unless it is refused. Its offers may have expired. */
  get terms(): SellerTerms | null {
    return this.#refused === null ? this.#terms : null
  }

  /** Offers that can be paid now. */
  candidates(): Candidate[] {
    const { terms } = this
    const identities = this.#parts.identities()
    if (terms === null || (identities !== null && !isAnnounced(terms, identities))) return []
    const nowSec = this.#parts.now() / 1000
    return terms.offers
      .filter(({ offer }) => offer.validUntilSec > nowSec)
      .map((signedOffer) => ({ sellerUrl: this.url, terms, signedOffer }))
  }

  /** True when the terms are unknown, old, or hold an offer that runs out soon. */
  needsRefresh(): boolean {
    const nowMs = this.#parts.now()
    if (this.#stock !== null) return nowMs - this.#fetchedAtMs > staleAfterMs
    if (this.#terms === null || nowMs - this.#fetchedAtMs > staleAfterMs) return true
    return this.#terms.offers.some(({ offer }) => offer.validUntilSec * 1000 - nowMs < renewBeforeExpiryMs)
  }

  /** Terms of an earlier session, so that the first request need not wait. What is unusable is forgotten. */
  remember(text: string, atMs: number): void {
    const { log } = this.#parts
    try {
      const verdict = this.#judge(parseSellerTerms(JSON.parse(text)))
      if (verdict.kind === 'refuse')
        return log.debug({ seller: this.url, reason: verdict.reason }, 'old terms dropped')
      this.#terms = verdict.terms
      this.#fetchedAtMs = atMs
    } catch (err) {
      log.warn({ seller: this.url, err }, 'stored terms are unreadable')
    }
  }

  /** Asks the seller for its terms; one question at a time. Never rejects. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#fetch()
      .then((terms) => (terms === null ? undefined : this.#adopt(terms)))
      .catch((thrown: unknown) => {
        this.#failure = asOpenSeedError(thrown)
        this.#parts.log.debug({ seller: this.url, err: this.#failure }, 'no terms from the seller')
      })
      .finally(() => (this.#refreshing = null))
    return this.#refreshing
  }

  /** What is expected of it changed: its terms are asked for again. */
  recheck(): void {
    this.#fetchedAtMs = -Infinity
  }

  /** Asks no more; the connections stay. */
  async stop(): Promise<void> {
    this.#stop.abort(new OpenSeedError('shutting_down', { message: 'openseed is shutting down.' }))
    await this.#refreshing
  }

  async close(): Promise<void> {
    await this.stop()
    await this.client.close()
  }

  /** null from a seller that is not of ours. */
  async #fetch(): Promise<SellerTerms | null> {
    const { status, bytes } = await this.#get('/openseed/v1/offer')
    if (status === 200) return parseSellerTerms(parseJsonBody(bytes))
    // Whom the user named may be any x402 server; but one of ours never turns into one.
    const isOurs = this.#terms !== null || this.#pinned !== null || this.#parts.identities() !== null
    if (!isOurs && notOurs.has(status)) return this.#meetStock()
    throw new OpenSeedError('seller_failed', {
      message: `${this.url} answered ${status} when asked for its offers.`,
      hint: 'Is an openseed seller listening there?',
    })
  }

  /** Which models it has, where it tells for nothing. */
  async #meetStock(): Promise<null> {
    const { status, bytes } = await this.#get('/v1/models')
    this.#stock = { models: status === 200 ? modelIds(bytes) : null }
    this.#failure = null
    this.#fetchedAtMs = this.#parts.now()
    return null
  }

  async #get(path: string): Promise<{ status: number; bytes: Buffer }> {
    const { status, body } = await this.client.request({
      method: 'GET',
      path,
      headers: { accept: 'application/json' },
      signal: this.#stop.signal,
      firstByteTimeoutMs: answerWithinMs,
      idleTimeoutMs: answerWithinMs,
    })
    return { status, bytes: await readBody(body, maxTermsBytes, answerWithinMs) }
  }

  async #adopt(fetched: SellerTerms): Promise<void> {
    const { log, now, saveTerms } = this.#parts
    this.#failure = null
    this.#stock = null
    const verdict = this.#judge(fetched)
    if (verdict.kind === 'refuse') return this.#refuse(verdict.reason)
    // Whoever changes where money goes while we pay may not be whom we started with.
    const changed = this.#pinned && changedIdentity(this.#pinned, fetched)
    if (changed) return this.#refuse(`its ${changed} changed while in use`)
    if (this.#refused !== null) log.info({ seller: this.url }, 'the seller is as it was; it is used again')
    if (verdict.dropped > 0)
      log.warn({ seller: this.url, dropped: verdict.dropped }, 'offers without a valid signature')
    if (this.#pinned === null && this.#terms !== null && changedIdentity(this.#terms, fetched)) {
      log.warn({ seller: this.url, payTo: fetched.payTo }, 'the seller is paid elsewhere than last time')
    }
    this.#pinned ??= fetched
    this.#refused = null
    this.#terms = verdict.terms
    this.#fetchedAtMs = now()
    const text = JSON.stringify(encodeSellerTerms(verdict.terms))
    await saveTerms(this.url, text, this.#fetchedAtMs).catch((err: unknown) => {
      log.warn({ seller: this.url, err }, 'terms could not be stored')
    })
  }

  #judge(terms: SellerTerms): ReturnType<typeof judgeTerms> {
    const identities = this.#parts.identities()
    if (identities !== null && !isAnnounced(terms, identities))
      return { kind: 'refuse', reason: 'its payTo or receiverAuthorizer is not the announced one' }
    return judgeTerms(terms, this.#parts)
  }

  #refuse(reason: string): void {
    if (this.#refused !== reason) this.#parts.log.error({ seller: this.url, reason }, 'the seller is refused')
    this.#refused = reason
    this.#fetchedAtMs = this.#parts.now()
  }
}

/** Ids of an OpenAI model list; null for anything else. */
function modelIds(bytes: Buffer): string[] | null {
  try {
    const { data } = JSON.parse(bytes.toString()) as { data?: unknown }
    if (!Array.isArray(data)) return null
    return data.flatMap((model: unknown) => {
      const id = typeof model === 'object' && model !== null && 'id' in model ? model.id : null
      return typeof id === 'string' ? [id] : []
    })
  } catch {
    return null
  }
}
