/** What a buyer can see of a reply's output: the free half of checking what it is charged for. */
import type { Usage } from '../wire/price.ts'
import { parseUsage } from '../wire/usage.ts'

export interface ObservedOutput {
  /** UTF-8 bytes of text, reasoning, refusals, and names and arguments of tool calls. */
  outputBytes: number
  /** Pieces that carried some of these bytes: deltas of a stream, fields of a whole message. */
  contentChunks: number
  toolCalls: number
  /** What the reply itself says it used, where nothing was written after it. */
  usage: Usage | null
  /** The written text, each field of each choice for itself; null where nobody counts its tokens, or it is too long. */
  texts: Map<string, string[]> | null
}

// More is not kept for counting: it would have to be held in memory for as long as the reply runs.
const mostTextChars = 1024 * 1024

export const nothingObserved = (keepTexts = false): ObservedOutput => ({
  outputBytes: 0,
  contentChunks: 0,
  toolCalls: 0,
  usage: null,
  texts: keepTexts ? new Map() : null,
})

/** Adds one stream event (`delta`) or one whole reply (`message`). Whatever has another shape adds nothing. */
export function observe(json: unknown, total: ObservedOutput): void {
  const choices = listOf(json, 'choices')
  for (const [at, choice] of choices.entries()) {
    const piece = field(choice, 'delta') ?? field(choice, 'message')
    const index = field(choice, 'index')
    const name = (part: string) => `${typeof index === 'number' ? index : at} ${part}`
    for (const part of ['content', 'reasoning_content', 'reasoning', 'refusal']) {
      observeText(field(piece, part), name(part), total)
    }
    for (const [place, call] of listOf(piece, 'tool_calls').entries()) {
      const number = field(call, 'index')
      observeCall(field(call, 'function'), name(`call ${typeof number === 'number' ? number : place}`), total)
    }
    const legacyCall = field(piece, 'function_call')
    if (legacyCall !== undefined) observeCall(legacyCall, name('call'), total)
  }
  // A running figure beside a piece of text is nobody's final word.
  const isLast = choices.length === 0 || choices.some((choice) => field(choice, 'message') !== undefined)
  if (isLast) total.usage = parseUsage(field(json, 'usage')) ?? total.usage
}

function observeCall(call: unknown, name: string, total: ObservedOutput): void {
  const called = field(call, 'name')
  // Only the first fragment of a streamed call names its function.
  if (typeof called === 'string' && called !== '') total.toolCalls += 1
  observeText(called, `${name} name`, total)
  observeText(field(call, 'arguments'), name, total)
}

function observeText(text: unknown, name: string, total: ObservedOutput): void {
  if (typeof text !== 'string' || text === '') return
  total.outputBytes += Buffer.byteLength(text)
  total.contentChunks += 1
  total.usage = null
  if (total.outputBytes > mostTextChars) total.texts = null
  if (total.texts === null) return
  const pieces = total.texts.get(name)
  if (pieces === undefined) total.texts.set(name, [text])
  else pieces.push(text)
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined
}

function listOf(value: unknown, name: string): readonly unknown[] {
  const list = field(value, name)
  return Array.isArray(list) ? list : []
}
