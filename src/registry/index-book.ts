/** Registries by their own signed word: this one's record, and those of others that its clients may ask as well. */
import type { Clock } from '../base/clock.ts'
import type { RegistryIndexes } from '../net/registry-client.ts'
import { judgeMultiaddr, judgeUrl, type AddressVerdict } from '../wire/address-policy.ts'
import type { NodeKey } from '../wire/node-key.ts'
import type { PeerId } from '../wire/peer-id.ts'
import { encodeRecord, nextSeq, signRecord, type IndexRecord } from '../wire/record.ts'
import { mostAddrs } from '../wire/seller-record.ts'
import { mostTtlSec } from '../wire/validate-record.ts'

export interface IndexBookOptions {
  key: NodeKey
  build: string
  allowPrivate: boolean
  now: Clock
}

/** The most records of other registries that are passed on. */
export const mostOthers = 50
const renewMs = 15 * 60_000

export class IndexBook {
  readonly #options: IndexBookOptions
  readonly #told = new Map<string, RegistryIndexes>()
  #url: string | null = null
  #addrs: readonly string[] = []
  #own: { record: IndexRecord; atMs: number } | null = null
  #lastSeq: number | null = null

  constructor(options: IndexBookOptions) {
    this.#options = options
  }

  /** Where clients reach this registry; a URL that nobody could be sent to is not told. */
  setUrl(url: string): void {
    this.#url = this.#isAllowed(judgeUrl(url)) ? url.replace(/\/+$/, '') : null
    this.#own = null
  }

  /** Where this registry serves the DHT and relays, from now on. */
  setAddrs(addrs: readonly string[]): void {
    const usable = addrs.filter((addr) => this.#isAllowed(judgeMultiaddr(addr))).slice(0, mostAddrs)
    if (usable.join() === this.#addrs.join()) return
    this.#addrs = usable
    this.#own = null
  }

  /** This registry's record: signed anew every 15 minutes, and when its addresses change. */
  own(): IndexRecord {
    const { key, build, now } = this.#options
    const nowMs = now()
    if (this.#own !== null && nowMs - this.#own.atMs < renewMs && nowMs >= this.#own.atMs)
      return this.#own.record
    const seq = nextSeq(this.#lastSeq, nowMs)
    this.#lastSeq = seq
    const record = signRecord(key, {
      type: 'index',
      seq,
      expSec: Math.floor(seq / 1_000) + mostTtlSec.index,
      body: { url: this.#url, addrs: [...this.#addrs], build },
    })
    this.#own = { record, atMs: nowMs }
    return record
  }

  /** Remembers what a registry said last, by a name for it that it did not choose. */
  learn(from: string, indexes: RegistryIndexes): void {
    this.#told.set(from, indexes)
  }

  /**
   * Other registries, each once: first those that were asked themselves, then whom they know, one of each in turn, so
   * that none of them fills the list alone.
   */
  others(): IndexRecord[] {
    const answers = [...this.#told.values()]
    const found = new Map<PeerId, IndexRecord>()
    const add = (record: IndexRecord | undefined) => {
      if (record === undefined || !this.#mayPassOn(record) || found.has(record.peer)) return
      if (found.size < mostOthers) found.set(record.peer, record)
    }
    for (const { record } of answers) add(record)
    for (let at = 0; at < mostOthers; at += 1) for (const { others } of answers) add(others[at])
    return [...found.values()]
  }

  /** The answer to `GET /v1/index`. */
  text(): string {
    return `{"record":${encodeRecord(this.own())},"others":[${this.others().map(encodeRecord).join(',')}]}`
  }

  #mayPassOn({ peer, expSec, body }: IndexRecord): boolean {
    const { key, now } = this.#options
    const verdicts = [...(body.url === null ? [] : [judgeUrl(body.url)]), ...body.addrs.map(judgeMultiaddr)]
    return (
      peer !== key.peerId &&
      expSec * 1_000 > now() &&
      verdicts.length > 0 &&
      verdicts.every((verdict) => this.#isAllowed(verdict))
    )
  }

  #isAllowed(verdict: AddressVerdict): boolean {
    return verdict === 'public' || (verdict === 'private' && this.#options.allowPrivate)
  }
}
