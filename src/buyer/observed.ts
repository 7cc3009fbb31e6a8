/** What a buyer can see of a reply's output: the free half of checking what it is charged for. */

export interface ObservedOutput {
  /** UTF-8 bytes of text, reasoning, refusals, and names and arguments of tool calls. */
  outputBytes: number
  /** Pieces that carried some of these bytes: deltas of a stream, fields of a whole message. */
  contentChunks: number
  toolCalls: number
}

export const nothingObserved = (): ObservedOutput => ({ outputBytes: 0, contentChunks: 0, toolCalls: 0 })

/** Adds one stream event (`delta`) or one whole reply (`message`). Whatever has another shape adds nothing. */
export function observe(json: unknown, total: ObservedOutput): void {
  for (const choice of listOf(json, 'choices')) {
    const piece = field(choice, 'delta') ?? field(choice, 'message')
    for (const name of ['content', 'reasoning_content', 'reasoning', 'refusal']) {
      observeText(field(piece, name), total)
    }
    for (const call of listOf(piece, 'tool_calls')) observeCall(field(call, 'function'), total)
    const legacyCall = field(piece, 'function_call')
    if (legacyCall !== undefined) observeCall(legacyCall, total)
  }
}

function observeCall(call: unknown, total: ObservedOutput): void {
  const name = field(call, 'name')
  // Only the first fragment of a streamed call names its function.
  if (typeof name === 'string' && name !== '') total.toolCalls += 1
  observeText(name, total)
  observeText(field(call, 'arguments'), total)
}

function observeText(text: unknown, total: ObservedOutput): void {
  if (typeof text !== 'string' || text === '') return
  total.outputBytes += Buffer.byteLength(text)
  total.contentChunks += 1
}

function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined
}

function listOf(value: unknown, name: string): readonly unknown[] {
  const list = field(value, name)
  return Array.isArray(list) ? list : []
}
