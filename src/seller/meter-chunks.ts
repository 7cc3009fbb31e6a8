/** The few events that the seller writes into a stream itself. */
import type { Usage } from '../wire/price.ts'

export type Json = Record<string, unknown>

/** OpenAI's form of usage. */
export function encodeUsage({ inputTokens, cachedTokens, outputTokens }: Usage): Json {
  return {
    prompt_tokens: inputTokens,
    completion_tokens: outputTokens,
    total_tokens: inputTokens + outputTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  }
}

/** What all chunks of one answer share, taken from one of the engine's. */
function chunkHead(sample: Json | null): Json {
  const { id = 'chatcmpl-openseed', created = 0, model = '', system_fingerprint: fingerprint } = sample ?? {}
  const head = { id, object: 'chat.completion.chunk', created, model }
  return fingerprint === undefined ? head : { ...head, system_fingerprint: fingerprint }
}

/** The chunk that ends choices at the ceiling. */
export function lengthChunk(sample: Json | null, indexes: number[], wantsUsage: boolean): Buffer {
  const choices = indexes.map((index) => ({ index, delta: {}, finish_reason: 'length' }))
  return event({ ...chunkHead(sample), choices, ...(wantsUsage && { usage: null }) })
}

/** The chunk without choices that carries the figures. */
export function usageChunk(sample: Json | null, usage: Usage): Buffer {
  return event({ ...chunkHead(sample), choices: [], usage: encodeUsage(usage) })
}

function event(value: Json): Buffer {
  return Buffer.from(`data: ${JSON.stringify(value)}\n\n`)
}
