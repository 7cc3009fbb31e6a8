/** Metering of a plain (not streamed) answer. */
import { OpenSeedError } from '../base/errors.ts'
import type { Usage } from '../wire/price.ts'
import { parseUsage } from '../wire/usage.ts'
import { engineErrorIn, refusalError } from './engine-error.ts'
import {
  correctUsage,
  countNamedCalls,
  countPromptTokens,
  producedText,
  type UsageBounds,
} from './meter-usage.ts'
import { isRecord } from './engine/json.ts'
import { encodeUsage } from './meter-chunks.ts'
import type { TokenCounter } from './tokens.ts'

export type PlainMetering =
  /** `body` is the engine's, byte for byte, unless its usage had to be put right. */
  { kind: 'metered'; usage: Usage; body: Buffer } | { kind: 'failed'; error: OpenSeedError }

/** Meters the engine's whole answer. A good status with an error inside, or no JSON, is a failure without charge. */
export function meterReply(
  bytes: Buffer,
  terms: { bounds: UsageBounds; request: Record<string, unknown>; countTokens: TokenCounter },
): PlainMetering {
  let json: unknown
  try {
    json = JSON.parse(bytes.toString())
  } catch (cause) {
    return failed('The engine answered with text that is not JSON.', cause)
  }
  const refusal = engineErrorIn(json)
  if (refusal !== null) return { kind: 'failed', error: refusalError(refusal) }
  if (!isRecord(json) || !Array.isArray(json['choices']))
    return failed('The engine answered without choices.')

  const messages = json['choices'].map((choice: unknown) => (isRecord(choice) ? choice['message'] : null))
  const texts = messages.map(producedText)
  const reported = parseUsage(json['usage'])
  const observed = {
    pieces: texts.filter((text) => text !== '').length,
    bytes: Buffer.byteLength(texts.join('')),
    toolCalls: messages.reduce<number>((sum, message) => sum + countNamedCalls(message), 0),
    countOutput: () => texts.reduce((sum, text) => sum + terms.countTokens(text), 0),
    countPrompt: () => countPromptTokens(terms.request, terms.countTokens),
  }
  if (reported === null && observed.pieces === 0) {
    return { kind: 'metered', usage: { inputTokens: 0, cachedTokens: 0, outputTokens: 0 }, body: bytes }
  }
  const usage = correctUsage(reported, observed, terms.bounds)
  const isRight = reported?.inputTokens === usage.inputTokens && reported.outputTokens === usage.outputTokens
  const body = isRight ? bytes : Buffer.from(JSON.stringify({ ...json, usage: encodeUsage(usage) }))
  return { kind: 'metered', usage, body }
}

function failed(message: string, cause?: unknown): PlainMetering {
  return { kind: 'failed', error: new OpenSeedError('engine_failed', { message, cause }) }
}
