/** What is charged when the engine's figures are there, absent or impossible. Pure. */
import type { Ceiling } from '../wire/ceiling.ts'
import type { Usage } from '../wire/price.ts'
import { isRecord } from './engine/json.ts'
import type { TokenCounter } from './tokens.ts'

export type UsageBounds = Pick<Ceiling, 'maxOutput' | 'n' | 'promptBound'>

/** What we saw of an answer ourselves. */
export interface Observed {
  /** Pieces with text; each is at least one token. */
  pieces: number
  /** UTF-8 bytes of all text; a token covers at least one. */
  bytes: number
  toolCalls: number
  /** Our own count of that text. Called only when needed. */
  countOutput: () => number
  /** Our own count of the request. Called only when needed. */
  countPrompt: () => number
}

// Tokens that leave no text: end and channel marks, the markup around a call, and what a parser trims from a piece.
// The buyer judges by the same figures.
const hiddenPerChoice = 16
const hiddenPerToolCall = 24

/** The most output tokens that a buyer can believe. */
function outputBound({ bytes, pieces, toolCalls }: Observed, { maxOutput, n }: UsageBounds): number {
  return Math.min(maxOutput * n, bytes + pieces + toolCalls * hiddenPerToolCall + hiddenPerChoice * n)
}

/** The engine's figures where they are possible, else our own; a buyer would refuse an implausible charge. */
export function correctUsage(reported: Usage | null, observed: Observed, bounds: UsageBounds): Usage {
  const outputTokens = correctOutput(reported, observed, bounds)
  if (reported !== null && reported.inputTokens <= bounds.promptBound) return { ...reported, outputTokens }
  return { inputTokens: Math.min(observed.countPrompt(), bounds.promptBound), cachedTokens: 0, outputTokens }
}

function correctOutput(reported: Usage | null, observed: Observed, bounds: UsageBounds): number {
  const most = outputBound(observed, bounds)
  const least = Math.min(observed.pieces, most)
  if (reported === null || reported.outputTokens > most) {
    return Math.min(Math.max(observed.countOutput(), least), most)
  }
  return Math.max(reported.outputTokens, least)
}

/** Our own count of a request's prompt: its text, its tools, and the chat template's few tokens per message. */
export function countPromptTokens(request: Record<string, unknown>, countTokens: TokenCounter): number {
  const messages = Array.isArray(request['messages']) ? request['messages'] : []
  const texts = messages.map(producedText)
  const { tools } = request
  if (Array.isArray(tools) && tools.length > 0) texts.push(JSON.stringify(tools))
  return countTokens(texts.join('\n')) + messages.length * templateTokensPerMessage
}

const templateTokensPerMessage = 4

/** All text of a message or delta that a model reads or writes: content, reasoning, refusal, tool calls. */
export function producedText(message: unknown): string {
  if (!isRecord(message)) return ''
  let text = contentText(message['content'])
  // Engines name the same text either way, some send both.
  const reasoning = message['reasoning_content'] ?? message['reasoning']
  if (typeof reasoning === 'string') text += reasoning
  if (typeof message['refusal'] === 'string') text += message['refusal']
  if (Array.isArray(message['tool_calls'])) {
    for (const call of message['tool_calls']) if (isRecord(call)) text += callText(call['function'])
  }
  return text + callText(message['function_call'])
}

/** How many tool calls a message or delta names; fragments that continue one have no name. */
export function countNamedCalls(message: unknown): number {
  if (!isRecord(message) || !Array.isArray(message['tool_calls'])) return 0
  return message['tool_calls'].filter(
    (call) => isRecord(call) && isRecord(call['function']) && call['function']['name'],
  ).length
}

function contentText(content: unknown): string {
  if (typeof content === 'string') return content
  if (!Array.isArray(content)) return ''
  return content
    .map((part) => (isRecord(part) && typeof part['text'] === 'string' ? part['text'] : ''))
    .join('')
}

function callText(call: unknown): string {
  if (!isRecord(call)) return ''
  const name = typeof call['name'] === 'string' ? call['name'] : ''
  // Ollama's own dialect sends arguments as an object.
  const args = call['arguments']
  return name + (typeof args === 'string' ? args : isRecord(args) ? JSON.stringify(args) : '')
}
