/** After a reply: counts its tokens again, keeps how far the seller's figures are from ours, and tests its charge. */
import type { Clock } from '../base/clock.ts'
import { asOpenSeedError } from '../base/errors.ts'
import type { Log } from '../base/log.ts'
import type { DriftRow } from '../store/receipt-operations.ts'
import type { Usdc } from '../wire/amount.ts'
import type { SignedReceipt } from '../wire/receipt.ts'
import type { Channel, OpenRequest } from './channel.ts'
import type { Distrust } from './distrust.ts'
import type { ObservedOutput } from './observed.ts'
import { acceptableCharge, isCountable, promptText } from './recount-rule.ts'

export interface RecountParts {
  /** Tokens of each text; null when they are not counted this time. */
  count: (texts: readonly string[]) => Promise<number[] | null>
  distrust: Distrust
  addDrift: (drift: DriftRow) => Promise<unknown>
  now: Clock
  log: Log
}

/** A whole reply whose receipt was booked. */
export interface BookedReply {
  channel: Channel
  model: string
  /** The request as it was sent. */
  json: Record<string, unknown>
  ceiling: Usdc
  terms: NonNullable<OpenRequest['terms']>
  signed: SignedReceipt
  output: ObservedOutput
}

export class Recount {
  readonly #parts: RecountParts
  readonly #running = new Set<Promise<void>>()

  constructor(parts: RecountParts) {
    this.#parts = parts
  }

  /** Whether replies of this model are counted, so that their text must be kept until then. */
  wants(model: string): boolean {
    return isCountable(model)
  }

  /** Nobody waits for it. */
  submit(reply: BookedReply): void {
    if (reply.output.texts === null || reply.signed.receipt.charged === 0n) return
    const work = this.#check(reply).catch((thrown: unknown) => {
      const { channel } = reply
      this.#parts.log.warn({ channel: channel.id, err: asOpenSeedError(thrown) }, 'a reply was not counted')
    })
    this.#running.add(work)
    void work.finally(() => this.#running.delete(work))
  }

  /** Resolves when what was submitted is counted. */
  async idle(): Promise<void> {
    await Promise.all(this.#running)
  }

  async #check({ channel, model, json, ceiling, terms, signed, output }: BookedReply): Promise<void> {
    const { count, distrust, addDrift, now } = this.#parts
    const { receipt } = signed
    const prompt = promptText(json)
    const texts = [...(output.texts?.values() ?? [])].map((pieces) => pieces.join(''))
    const counts = await count(prompt === null ? texts : [...texts, prompt.text])
    if (counts === null) return
    const countedInput = prompt === null ? null : (counts.pop() ?? null)
    const countedOutput = counts.reduce((sum, tokens) => sum + tokens, 0)
    const acceptable = acceptableCharge({
      ...terms,
      receipt,
      ceiling,
      toolCalls: output.toolCalls,
      countedOutput,
      countedInput,
      promptAllowance: prompt?.allowance ?? 0,
    })
    const drift = addDrift({
      signer: channel.config.receiverAuthorizer,
      model,
      replies: 1,
      reportedOutput: receipt.outputTokens,
      countedOutput,
      reportedInput: countedInput === null ? 0 : receipt.inputTokens,
      countedInput: countedInput ?? 0,
      atMs: now(),
    })
    const isOver = receipt.charged > acceptable
    const facts = { acceptable: acceptable.toString(), countedOutput, countedInput }
    await Promise.all([drift, isOver ? distrust.accuse(channel, signed, 'over_count', facts) : null])
  }
}
