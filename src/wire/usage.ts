import type { Usage } from './price.ts'

/** Reads OpenAI-style `usage`. Null when absent or impossible (negative, not whole, more cached than sent). */
export function parseUsage(input: unknown): Usage | null {
  if (!isRecord(input)) return null
  const details = input['prompt_tokens_details']
  const inputTokens = count(input['prompt_tokens'])
  const outputTokens = count(input['completion_tokens'])
  const cachedTokens = count((isRecord(details) ? details['cached_tokens'] : undefined) ?? 0)
  if (inputTokens === null || outputTokens === null || cachedTokens === null) return null
  return cachedTokens <= inputTokens ? { inputTokens, cachedTokens, outputTokens } : null
}

function isRecord(input: unknown): input is Record<string, unknown> {
  return typeof input === 'object' && input !== null && !Array.isArray(input)
}

function count(input: unknown): number | null {
  return Number.isSafeInteger(input) && (input as number) >= 0 ? (input as number) : null
}
