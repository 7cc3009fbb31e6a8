/** Seller meter: what each event of the engine's stream costs, what of it the client sees, and when it must stop. */
import { OpenSeedError } from '../base/errors.ts'
import type { Usdc } from '../wire/amount.ts'
import { errorEvent } from '../wire/openai-error.ts'
import { exactCost, type Prices, type Usage } from '../wire/price.ts'
import type { SseEvent } from '../wire/sse.ts'
import { parseUsage } from '../wire/usage.ts'
import { engineErrorIn, refusalError } from './engine-error.ts'
import { isRecord } from './engine/json.ts'
import { lengthChunk, usageChunk, type Json } from './meter-chunks.ts'
import {
  correctUsage,
  countNamedCalls,
  countPromptTokens,
  producedText,
  type Observed,
  type UsageBounds,
} from './meter-usage.ts'
import type { TokenCounter } from './tokens.ts'

export interface MeterTerms {
  offer: Prices
  /** What the buyer signed for this request. */
  ceiling: Usdc
  bounds: UsageBounds
  /** The client asked for the usage chunk. */
  wantsUsage: boolean
  /** The client's JSON; its prompt is counted only when the engine does not tell. */
  request: Json
  countTokens: TokenCounter
}

export interface MeterStep {
  /** What the client gets; null when there is nothing for it. */
  forward: Buffer | null
  /** The engine's reply is of no more use: close it. Then `done` or `failure` says how the stream ends. */
  stop: boolean
}

// A longer piece holds several tokens (whole tool calls, batched output), a shorter one is a token.
const longestTokenBytes = 24
// Hardly any text is thinner than this: our floor for engines that send much at once.
const mostBytesPerToken = 16

const nothing: MeterStep = { forward: null, stop: false }

export class StreamMeter {
  /** The answer is whole, or was ended at the ceiling: the receipt and `[DONE]` are due. */
  done = false
  /** The engine failed within its stream. The client was told; no `[DONE]` follows. */
  failure: OpenSeedError | null = null

  readonly #terms: MeterTerms
  readonly #outputLimit: number
  #sample: Json | null = null
  #reported: Usage | null = null
  #usageSent = false
  #pieces = 0
  #bytes = 0
  #toolCalls = 0
  #longTexts: string[] = []
  #longTokens = 0
  #longPieces = 0
  #promptTokens: number | null = null
  #ended = new Set<number>()
  /** Output tokens from which on the ceiling may be reached; at first supposing the longest prompt. */
  #stopAt: number

  constructor(terms: MeterTerms) {
    this.#terms = terms
    this.#outputLimit = terms.bounds.maxOutput * terms.bounds.n
    this.#stopAt = this.#findStop(terms.bounds.promptBound, 0)
  }

  push(event: SseEvent): MeterStep {
    if (this.done || this.failure !== null) return { forward: null, stop: true }
    const data = event.data
    if (data === null) return this.#takeWithoutData(event)
    if (data.startsWith('[DONE]')) return this.#finish()
    // An empty event is a keep-alive to us and a crash to clients that parse every event.
    if (data === '') return nothing
    const chunk = parseChunk(data)
    if (chunk === null)
      return this.#fail('engine_failed', 'The engine sent an event that is not a JSON object.')
    const refusal = engineErrorIn(chunk)
    return refusal === null ? this.#take(chunk, event.raw) : this.#failWith(refusalError(refusal))
  }

  /** The engine's stream ended. Whole even without `[DONE]` when every choice said why it ended. */
  end(): MeterStep {
    if (this.done || this.failure !== null) return nothing
    if (this.#ended.size >= this.#terms.bounds.n) return this.#finish()
    return this.#fail('engine_stream_broken', 'The engine stopped in the middle of its answer.')
  }

  /** The figures so far: final once `done`, else what was produced until now. Nothing produced is nothing used. */
  usage(): Usage {
    if (this.#pieces === 0 && (!this.done || this.#reported === null)) {
      return { inputTokens: 0, cachedTokens: 0, outputTokens: 0 }
    }
    return this.#correct()
  }

  /** A floor of `usage()` that no counting is needed for: what a journal may state while the stream runs. */
  leastUsage(): Usage {
    if (this.#pieces === 0) return { inputTokens: 0, cachedTokens: 0, outputTokens: 0 }
    return this.#correct({ countOutput: () => this.#pieces, countPrompt: () => this.#promptTokens ?? 0 })
  }

  /** A comment, a lone `event:` or `retry:` line; or no event at all, from an engine that answers plain JSON. */
  #takeWithoutData({ raw, comment }: SseEvent): MeterStep {
    if (comment !== null || !raw.toString('latin1', 0, 16).trimStart().startsWith('{')) {
      return { forward: raw, stop: false }
    }
    const refusal = engineErrorIn(parseChunk(raw.toString()))
    if (refusal !== null) return this.#failWith(refusalError(refusal))
    return this.#fail('engine_failed', 'The engine answered without a stream.')
  }

  #take(chunk: Json, raw: Buffer): MeterStep {
    if (this.#sample === null && chunk['id'] !== undefined) this.#sample = chunk
    const choices = Array.isArray(chunk['choices']) ? chunk['choices'] : []
    for (const choice of choices) if (isRecord(choice)) this.#count(choice)
    const usage = chunk['usage'] ?? null
    if (usage !== null) {
      this.#reported = parseUsage(usage) ?? this.#reported
      if (choices.length === 0) return this.#takeUsage(usage, raw)
    }
    return this.#isSpent() ? this.#cut(raw) : { forward: raw, stop: false }
  }

  #takeUsage(usage: unknown, raw: Buffer): MeterStep {
    if (!this.#terms.wantsUsage) return nothing
    this.#usageSent = true
    const right = this.#correct()
    const said = parseUsage(usage)
    const isRight = said?.inputTokens === right.inputTokens && said.outputTokens === right.outputTokens
    return { forward: isRight ? raw : usageChunk(this.#sample, right), stop: false }
  }

  #count(choice: Json): void {
    if ((choice['finish_reason'] ?? null) !== null) {
      this.#ended.add(typeof choice['index'] === 'number' ? choice['index'] : 0)
    }
    const text = producedText(choice['delta'])
    if (text === '') return
    const bytes = Buffer.byteLength(text)
    this.#toolCalls += countNamedCalls(choice['delta'])
    this.#pieces++
    this.#bytes += bytes
    if (bytes <= longestTokenBytes) return
    this.#longPieces++
    this.#longTexts.push(text)
  }

  #isSpent(): boolean {
    // A stream that ends by itself is let end: its usage comes after.
    if (this.#ended.size >= this.#terms.bounds.n) return false
    const output = this.#leastOutput()
    if (output > this.#outputLimit) return true
    // At its limit the engine ends by itself, and what it says then is the better count.
    if (output === this.#outputLimit || output < this.#stopAt) return false
    // Worth counting the prompt now: with the longest possible one this would be the end.
    const { inputTokens, cachedTokens } = this.#correct()
    this.#stopAt = this.#findStop(inputTokens, cachedTokens)
    return output >= this.#stopAt
  }

  // A floor, not an estimate: an answer within its limit is never cut short by our counting.
  #leastOutput(): number {
    const floor = Math.max(this.#pieces, Math.floor(this.#bytes / mostBytesPerToken))
    const said = this.#reported?.outputTokens ?? 0
    return said <= this.#bytes ? Math.max(floor, said) : floor
  }

  #cut(raw: Buffer): MeterStep {
    this.done = true
    const { bounds, wantsUsage } = this.#terms
    const open = Array.from({ length: bounds.n }, (_, index) => index).filter(
      (index) => !this.#ended.has(index),
    )
    // Beyond the output limit is not sold; at the ceiling the last token still is.
    const last = this.#leastOutput() > this.#outputLimit ? [] : [raw]
    const end = lengthChunk(this.#sample, open, wantsUsage)
    return { forward: Buffer.concat([...last, end, ...this.#owedUsage()]), stop: true }
  }

  #finish(): MeterStep {
    this.done = true
    const [owed = null] = this.#owedUsage()
    return { forward: owed, stop: false }
  }

  #owedUsage(): Buffer[] {
    if (!this.#terms.wantsUsage || this.#usageSent) return []
    return [usageChunk(this.#sample, this.#correct())]
  }

  #fail(code: 'engine_failed' | 'engine_stream_broken', message: string): MeterStep {
    return this.#failWith(new OpenSeedError(code, { message }))
  }

  #failWith(error: OpenSeedError): MeterStep {
    this.failure = error
    return { forward: Buffer.from(errorEvent(error)), stop: true }
  }

  #correct(counts?: Pick<Observed, 'countOutput' | 'countPrompt'>): Usage {
    const seen = {
      pieces: this.#pieces,
      bytes: this.#bytes,
      toolCalls: this.#toolCalls,
      countOutput: () => this.#countOutput(),
      countPrompt: () => this.#countPrompt(),
    }
    return correctUsage(this.#reported, { ...seen, ...counts }, this.#terms.bounds)
  }

  #countOutput(): number {
    for (const text of this.#longTexts) this.#longTokens += Math.max(1, this.#terms.countTokens(text))
    this.#longTexts = []
    return this.#pieces - this.#longPieces + this.#longTokens
  }

  #countPrompt(): number {
    this.#promptTokens ??= countPromptTokens(this.#terms.request, this.#terms.countTokens)
    return this.#promptTokens
  }

  /** The least output whose exact cost after this prompt is the ceiling. Free output never costs that. */
  #findStop(inputTokens: number, cachedTokens: number): number {
    const { offer, ceiling } = this.#terms
    if (offer.priceOut === 0n) return Infinity
    // Exact, not rounded up as the charge is: rounding would end cheap answers tokens before what was signed.
    const budget = (ceiling - offer.fixedPrice) * 1_000_000n
    const left = budget - exactCost({ inputTokens, cachedTokens, outputTokens: 0 }, offer)
    return left <= 0n ? 0 : Number((left + offer.priceOut - 1n) / offer.priceOut)
  }
}

function parseChunk(data: string): Json | null {
  try {
    const value: unknown = JSON.parse(data)
    return isRecord(value) ? value : null
  } catch {
    return null
  }
}
