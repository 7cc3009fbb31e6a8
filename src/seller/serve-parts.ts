/** What both halves of the pipeline, plain and streamed, work with. */
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { Usage } from '../wire/price.ts'
import type { Backend } from './backend.ts'
import type { Delivered } from './channel-entry.ts'
import type { GateAnswer, GateParts } from './gate.ts'
import type { ReplyCache } from './reply-cache.ts'
import type { TokenCounter } from './tokens.ts'

export interface ServeParts extends GateParts {
  backends: readonly Backend[]
  replies: ReplyCache
  countTokens: () => Promise<TokenCounter>
  log: Log
  now: Clock
}

/** An answer of the gate that goes on to the engine. */
export type Serving = Exclude<GateAnswer, { kind: 'pay' } | { kind: 'repeated' }>

/** What a reply proves in its receipt. */
export const delivered = (responseHash: Delivered['responseHash'], usage: Usage): Delivered => ({
  responseHash,
  inputTokens: usage.inputTokens,
  cachedTokens: usage.cachedTokens,
  outputTokens: usage.outputTokens,
})
